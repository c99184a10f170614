/* grad_weight: tiles of output channels x input channels, summed over pixels. */
#include "grad_weight_args.h"
#include "panel.h"
#include "transpose.h"

#ifndef FASTCONV_CONV2D_GRAD_WEIGHT_H
#define FASTCONV_CONV2D_GRAD_WEIGHT_H
/* The part of grad_weight that an item owns: group g, channels k0 .., c0 .., rows of taps kh0 .. */
typedef struct {
    ptrdiff_t g, k0, c0, kh0, vectors, k_count, channels, tap_rows;
} fc_part;

/* Some outputs: images n .., rows row .., columns col .. */
typedef struct {
    ptrdiff_t n, images, row, rows, col, cols;
} fc_pixels;
#endif

/* What one slot works with: grad_out as the microkernel reads it, with its strides. */
typedef struct {
    int64_t *entries;
    real *sums, *total, *packed;
    const real *grad_out;
    fc_strides grad_out_strides;
} FC_FN(fc_slot);

/* The block's channels of some outputs, so that whole vectors can be read: as they are, or copied. */
static void FC_FN(take_grad_out)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, const fc_pixels *at) {
    const fc_strides *from = &a->grad_out_strides;
    const ptrdiff_t width = p->vectors * FC_LANES;
    const real *grad_out = (const real *)a->grad_out + at->n * from->n + (p->g * a->K + p->k0) * from->c +
                           at->row * from->h + at->col * from->w;
    s->grad_out = grad_out;
    s->grad_out_strides = *from;
    if (!a->packed)
        return;
    s->grad_out = s->packed;
    s->grad_out_strides = (fc_strides){.n = at->rows * at->cols * width, .c = 1, .h = at->cols * width, .w = width};
    for (ptrdiff_t i = 0; i < at->images; i++)
        for (ptrdiff_t r = 0; r < at->rows; r++) {
            const real *row = grad_out + i * from->n + r * from->h;
            real *to = s->packed + i * s->grad_out_strides.n + r * s->grad_out_strides.h;
            if (from->c != 1)
                FC_FN(transpose)(row, from->c, to, width, p->k_count, at->cols);
            else
                for (ptrdiff_t w = 0; w < at->cols; w++)
                    memcpy(to + w * width, row + w * from->w, (size_t)p->k_count * sizeof(real));
        }
}

/* One tap over a part of the outputs: entries are rows. x and grad_out begin at the first of them. */
static void FC_FN(sum_tap)(const fc_grad_weight_args *a, const fc_part *p, fc_panel *panel, const real *x,
                           const real *grad_out, real *sums) {
    const ptrdiff_t most = FC_FN(columns)[p->vectors - 1], tiles = (p->channels + most - 1) / most;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t c = t * p->channels / tiles, width = (t + 1) * p->channels / tiles - c;
        FC_FN(panels)[p->vectors - 1][width - 1]
        (panel, x + c * a->x_strides.c, grad_out, sums + c * p->vectors * FC_LANES, NULL);
    }
}

/* All columns of a row of taps: rows of outputs from `row` meet input rows from `source`. */
static void FC_FN(sum_tap_row)(const fc_grad_weight_args *a, const FC_FN(fc_slot) *s, const fc_part *p,
                               const fc_pixels *at, ptrdiff_t row, ptrdiff_t source, ptrdiff_t rows, const real *x,
                               real *sums) {
    fc_panel panel = {.entries = s->entries, .entry_count = rows * at->images, .x_step = a->col_step * a->x_strides.w};
    panel.x_shift = a->x_strides.c;
    panel.w_step = s->grad_out_strides.w;
    panel.per_chunk = panel.entry_count;
    for (ptrdiff_t i = 0; i < at->images; i++)
        for (ptrdiff_t r = 0; r < rows; r++) {
            s->entries[2 * (i * rows + r)] = i * a->x_strides.n + r * a->row_step * a->x_strides.h;
            s->entries[2 * (i * rows + r) + 1] = i * s->grad_out_strides.n + r * s->grad_out_strides.h;
        }
    for (ptrdiff_t kw = 0; kw < a->tap_cols; kw++)
        for (ptrdiff_t i = a->cols.first[kw]; i < a->cols.first[kw + 1]; i++) {
            const int64_t *segment = a->cols.segments + 3 * i;
            const ptrdiff_t low = segment[0] > at->col ? segment[0] : at->col;
            const ptrdiff_t end = segment[0] + segment[2] < at->col + at->cols ? segment[0] + segment[2] : at->col + at->cols;
            panel.count = end - low;
            if (panel.count > 0)
                FC_FN(sum_tap)
                (a, p, &panel,
                 x + source * a->x_strides.h + (segment[1] + (low - segment[0]) * a->col_step) * a->x_strides.w,
                 s->grad_out + (row - at->row) * s->grad_out_strides.h + (low - at->col) * s->grad_out_strides.w,
                 sums + kw * p->channels * p->vectors * FC_LANES);
        }
}

/* Some outputs against every input that they meet. sums: [tap][c][lane]. */
static void FC_FN(sum_pixels)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p, const fc_pixels *at) {
    const real *x = (const real *)a->x + at->n * a->x_strides.n + (p->g * a->C + p->c0) * a->x_strides.c;
    FC_FN(take_grad_out)(a, s, p, at);
    for (ptrdiff_t kh = p->kh0; kh < p->kh0 + p->tap_rows; kh++)
        for (ptrdiff_t i = a->rows.first[kh]; i < a->rows.first[kh + 1]; i++) {
            const int64_t *segment = a->rows.segments + 3 * i;
            const ptrdiff_t low = segment[0] > at->row ? segment[0] : at->row;
            const ptrdiff_t end = segment[0] + segment[2] < at->row + at->rows ? segment[0] + segment[2] : at->row + at->rows;
            if (low < end)
                FC_FN(sum_tap_row)
                (a, s, p, at, low, segment[1] + (low - segment[0]) * a->row_step, end - low, x,
                 s->sums + (kh - p->kh0) * a->tap_cols * p->channels * p->vectors * FC_LANES);
        }
}

static void FC_FN(add_sums)(real *total, real *sums, ptrdiff_t size) {
    for (ptrdiff_t i = 0; i < size; i++) {
        total[i] += sums[i];
        sums[i] = 0;
    }
}

/* Over all outputs; after every a->span parts the sums are added to the total, so that errors stay small. */
static void FC_FN(sum_all)(const fc_grad_weight_args *a, FC_FN(fc_slot) *s, const fc_part *p) {
    const ptrdiff_t size = p->tap_rows * a->tap_cols * p->channels * p->vectors * FC_LANES;
    ptrdiff_t done = 0;
    memset(s->sums, 0, (size_t)size * sizeof(real));
    memset(s->total, 0, (size_t)size * sizeof(real));
    for (ptrdiff_t n = 0; n < a->N; n += a->images)
        for (ptrdiff_t row = 0; row < a->out_rows; row += a->row_block)
            for (ptrdiff_t col = 0; col < a->out_cols; col += a->col_block) {
                const fc_pixels at = {
                    n, a->N - n < a->images ? a->N - n : a->images,
                    row, a->out_rows - row < a->row_block ? a->out_rows - row : a->row_block,
                    col, a->out_cols - col < a->col_block ? a->out_cols - col : a->col_block,
                };
                FC_FN(sum_pixels)(a, s, p, &at);
                if (++done % a->span == 0)
                    FC_FN(add_sums)(s->total, s->sums, size);
            }
    FC_FN(add_sums)(s->total, s->sums, size);
}

/* grad_weight[k][c][tap] = total[tap][c][k]; rows are first brought into the order (c, tap). */
static void FC_FN(store_part)(const fc_grad_weight_args *a, const FC_FN(fc_slot) *s, const fc_part *p) {
    const ptrdiff_t width = p->vectors * FC_LANES, taps = p->tap_rows * a->tap_cols, all_taps = a->tap_rows * a->tap_cols;
    real *target = (real *)a->grad_weight + ((p->g * a->K + p->k0) * a->C + p->c0) * all_taps + p->kh0 * a->tap_cols;
    for (ptrdiff_t tap = 0; tap < taps; tap++)
        for (ptrdiff_t c = 0; c < p->channels; c++)
            memcpy(s->sums + (c * taps + tap) * width, s->total + (tap * p->channels + c) * width,
                   (size_t)width * sizeof(real));
    if (taps == all_taps) {
        FC_FN(transpose)(s->sums, width, target, a->C * taps, p->channels * taps, p->k_count);
        return;
    }
    for (ptrdiff_t c = 0; c < p->channels; c++)
        FC_FN(transpose)(s->sums + c * taps * width, width, target + c * all_taps, a->C * all_taps, taps, p->k_count);
}

/* One item per (group, block of output channels, block of input channels, block of rows of taps). */
static void FC_FN(grad_weight)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_grad_weight_args *a = ctx;
    const ptrdiff_t c_blocks = (a->C + a->c_block - 1) / a->c_block;
    const ptrdiff_t tap_blocks = (a->tap_rows + a->tap_block - 1) / a->tap_block;
    FC_FN(fc_slot) s = {.sums = (real *)(a->scratch + slot * a->scratch_bytes)};
    s.total = s.sums + a->sums;
    s.packed = s.total + a->sums;
    s.entries = (int64_t *)(s.packed + a->packed);
    memset(s.packed, 0, (size_t)a->packed * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t rest = item / tap_blocks, block = rest / c_blocks % a->k_block_count;
        fc_part p = {.g = rest / c_blocks / a->k_block_count,
                     .k0 = a->k_blocks[2 * block] * FC_LANES,
                     .vectors = a->k_blocks[2 * block + 1],
                     .c0 = rest % c_blocks * a->c_block,
                     .kh0 = item % tap_blocks * a->tap_block};
        p.k_count = a->K - p.k0 < p.vectors * FC_LANES ? a->K - p.k0 : p.vectors * FC_LANES;
        p.channels = a->C - p.c0 < a->c_block ? a->C - p.c0 : a->c_block;
        p.tap_rows = a->tap_rows - p.kh0 < a->tap_block ? a->tap_rows - p.kh0 : a->tap_block;
        FC_FN(sum_all)(a, &s, &p);
        FC_FN(store_part)(a, &s, &p);
    }
}

const fc_grad_weight_kernels FC_FN(fc_grad_weight) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .grad_weight = FC_FN(grad_weight),
};
