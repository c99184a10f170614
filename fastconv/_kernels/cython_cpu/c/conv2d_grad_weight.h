/* grad_weight: tiles of output channels x input channels, summed over pixels; and grad_bias. */

#ifndef FASTCONV_CONV2D_GRAD_WEIGHT_H
#define FASTCONV_CONV2D_GRAD_WEIGHT_H
/* Output columns in one block: what a thread packs at a time, and the terms of one block of a sum. */
enum { FC_BLOCK_COLUMNS = 128 };
#endif

/* Some columns of a row of grad_out as [ow][lane], zero beyond the valid channels. */
static void FC_FN(pack_row)(const fc_grad_weight_args *a, const real *row, ptrdiff_t columns, ptrdiff_t valid,
                            ptrdiff_t width, real *packed) {
    for (ptrdiff_t ow = 0; ow < columns; ow++) {
        for (ptrdiff_t k = 0; k < valid; k++)
            packed[ow * width + k] = row[k * a->grad_out_strides.c + ow * a->grad_out_strides.w];
        for (ptrdiff_t k = valid; k < width; k++) packed[ow * width + k] = 0;
    }
}

FC_INLINE void FC_FN(pixel_tile)(const int V, const int P, ptrdiff_t count, const real *grad_row, const real *x,
                                 ptrdiff_t step, ptrdiff_t channel_stride, real *sums) {
    FC_EACH(FC_ZERO)
    FC_PANEL(count, grad_row, x, step, channel_stride);
    FC_EACH(FC_FLUSH)
}

/* All taps of one input row against output columns begin .. end - 1 of one output row. sums: [tap][c][lane]. */
static void FC_FN(row_pair)(const fc_grad_weight_args *a, const real *grad_row, ptrdiff_t begin, ptrdiff_t end,
                            const real *x, ptrdiff_t channels, ptrdiff_t vectors, real *sums) {
    const ptrdiff_t width = vectors * FC_LANES, step = a->col_step * a->x_strides.w;
    for (ptrdiff_t kw = 0; kw < a->tap_cols; kw++)
        for (ptrdiff_t s = a->cols.first[kw]; s < a->cols.first[kw + 1]; s++) {
            const int64_t *segment = a->cols.segments + 3 * s;
            const ptrdiff_t first = segment[0] > begin ? segment[0] : begin;
            const ptrdiff_t last = segment[0] + segment[2] < end ? segment[0] + segment[2] : end;
            const real *from = x + segment[1] * a->x_strides.w + (first - segment[0]) * step;
            if (first >= last) continue;
            for (ptrdiff_t c = 0; c < channels; c += FC_TILE_COLUMNS) {
                const ptrdiff_t columns = channels - c < FC_TILE_COLUMNS ? channels - c : FC_TILE_COLUMNS;
                FC_WITH_CONSTANTS(FC_FN(pixel_tile), vectors, columns, last - first, grad_row + (first - begin) * width,
                                  from + c * a->x_strides.c, step, a->x_strides.c,
                                  sums + (kw * a->c_block + c) * width)
            }
        }
}

/* Add one image's sums to the total and clear them: sums of sums, so that errors stay small over many images. */
static void FC_FN(add_image)(real *total, real *sums, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < size; i++) {
        total[i] += sums[i];
        sums[i] = 0;
    }
}

/* The part of one item: group g, output channels from k0, input channels from c0, tap rows from kh0. */
typedef struct {
    ptrdiff_t g, k0, c0, kh0, k_count, channels, tap_rows, vectors;
} FC_FN(part);

/* Output row oh against every input row that it meets. */
static void FC_FN(sum_row_pairs)(const fc_grad_weight_args *a, const FC_FN(part) *p, ptrdiff_t oh, const real *grad_out,
                                 const real *x, real *grad_row, real *sums) {
    const ptrdiff_t width = p->vectors * FC_LANES;
    for (ptrdiff_t begin = 0; begin < a->out_cols; begin += FC_BLOCK_COLUMNS) {
        const ptrdiff_t left = a->out_cols - begin, columns = left < FC_BLOCK_COLUMNS ? left : FC_BLOCK_COLUMNS;
        int packed = 0;
        for (ptrdiff_t r = a->rows.first[oh]; r < a->rows.first[oh + 1]; r++) {
            const ptrdiff_t kh = a->rows.taps[r] - p->kh0;
            if (kh < 0 || kh >= p->tap_rows) continue;
            if (!packed)
                FC_FN(pack_row)(a, grad_out + begin * a->grad_out_strides.w, columns, p->k_count, width, grad_row);
            packed = 1;
            FC_FN(row_pair)(a, grad_row, begin, begin + columns, x + a->rows.sources[r] * a->x_strides.h, p->channels,
                            p->vectors, sums + kh * a->tap_cols * a->c_block * width);
        }
    }
}

static void FC_FN(sum_images)(const fc_grad_weight_args *a, const FC_FN(part) *p, real *grad_row, real *sums,
                              real *total) {
    const ptrdiff_t size = p->tap_rows * a->tap_cols * a->c_block * p->vectors * FC_LANES;
    for (ptrdiff_t n = 0; n < a->N; n++) {
        const real *x = (const real *)a->x + n * a->x_strides.n + (p->g * a->C + p->c0) * a->x_strides.c;
        const real *grad_out =
            (const real *)a->grad_out + n * a->grad_out_strides.n + (p->g * a->K + p->k0) * a->grad_out_strides.c;
        for (ptrdiff_t oh = 0; oh < a->rows.targets; oh++)
            FC_FN(sum_row_pairs)(a, p, oh, grad_out + oh * a->grad_out_strides.h, x, grad_row, sums);
        FC_FN(add_image)(total, sums, size);
    }
}

static void FC_FN(store_part)(const fc_grad_weight_args *a, const FC_FN(part) *p, const real *total) {
    const ptrdiff_t width = p->vectors * FC_LANES, taps = a->tap_rows * a->tap_cols;
    real *target = (real *)a->grad_weight + ((p->g * a->K + p->k0) * a->C + p->c0) * taps + p->kh0 * a->tap_cols;
    for (ptrdiff_t tap = 0; tap < p->tap_rows * a->tap_cols; tap++)
        for (ptrdiff_t c = 0; c < p->channels; c++)
            for (ptrdiff_t k = 0; k < p->k_count; k++)
                target[(k * a->C + c) * taps + tap] = total[(tap * a->c_block + c) * width + k];
}

/* One item per (group, block of output channels, block of input channels, block of tap rows). */
static void FC_FN(grad_weight)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_grad_weight_args *a = ctx;
    const ptrdiff_t k_blocks = FC_FN(blocks)(a->K);
    const ptrdiff_t c_blocks = (a->C + a->c_block - 1) / a->c_block;
    const ptrdiff_t row_blocks = (a->tap_rows + a->row_block - 1) / a->row_block;
    const ptrdiff_t size = a->row_block * a->tap_cols * a->c_block * FC_BLOCK;
    real *scratch = malloc((size_t)(2 * size + FC_BLOCK_COLUMNS * FC_BLOCK) * sizeof(real));
    (void)slot;
    if (scratch == NULL) {
        a->status = 1;
        return;
    }
    for (ptrdiff_t item = lo; item < hi; item++) {
        FC_FN(part) p = {.kh0 = item % row_blocks * a->row_block,
                            .c0 = item / row_blocks % c_blocks * a->c_block,
                            .k0 = item / row_blocks / c_blocks % k_blocks * FC_BLOCK,
                            .g = item / row_blocks / c_blocks / k_blocks};
        const ptrdiff_t left = (FC_FN(padded)(a->K) - p.k0) / FC_LANES;
        p.vectors = left < FC_MAX_VECTORS ? left : FC_MAX_VECTORS;
        p.k_count = a->K - p.k0 < FC_BLOCK ? a->K - p.k0 : FC_BLOCK;
        p.channels = a->C - p.c0 < a->c_block ? a->C - p.c0 : a->c_block;
        p.tap_rows = a->tap_rows - p.kh0 < a->row_block ? a->tap_rows - p.kh0 : a->row_block;
        memset(scratch, 0, (size_t)(2 * size) * sizeof(real));
        FC_FN(sum_images)(a, &p, scratch + 2 * size, scratch, scratch + size);
        FC_FN(store_part)(a, &p, scratch + size);
    }
    free(scratch);
}

/* One item per output channel. Sums run in double: there is no multiplication to hide the conversion behind, but
 * memory is slower still. */
static void FC_FN(grad_bias)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_bias_args *a = ctx;
    (void)slot;
    for (ptrdiff_t k = lo; k < hi; k++) {
        double total = 0;
        for (ptrdiff_t n = 0; n < a->N; n++) {
            const real *plane = (const real *)a->grad_out + n * a->grad_out_strides.n + k * a->grad_out_strides.c;
            double image = 0;
            for (ptrdiff_t h = 0; h < a->rows; h++) {
                double part[8] = {0};
                for (ptrdiff_t w = 0; w < a->cols; w++)
                    part[w & 7] += plane[h * a->grad_out_strides.h + w * a->grad_out_strides.w];
                image += ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
            }
            total += image;
        }
        ((real *)a->grad_bias)[k] = (real)total;
    }
}
