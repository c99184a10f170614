/* Forward and grad_input: tiles of output pixels x output channels, summed over taps and channels. */

#ifndef FASTCONV_CONV2D_SUM_H
#define FASTCONV_CONV2D_SUM_H
/* Products in one block of a sum. */
enum { FC_BLOCK_TERMS = 128 };

/* Where one tile reads and writes: source and target at its first pixel, the row's and the run's taps. */
typedef struct {
    ptrdiff_t row_first, row_last, col_first, col_last;
    ptrdiff_t source_shift, source_step, target_step, channels;
} fc_tile;
#endif

/* Output channels rounded up to whole vectors, and how many blocks they make. */
static ptrdiff_t FC_FN(padded)(ptrdiff_t K) { return (K + FC_LANES - 1) / FC_LANES * FC_LANES; }
static ptrdiff_t FC_FN(blocks)(ptrdiff_t K) { return (K + FC_BLOCK - 1) / FC_BLOCK; }

/* One item per (group, block of output channels). */
static void FC_FN(pack)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pack_args *a = ctx;
    const ptrdiff_t blocks = FC_FN(blocks)(a->K), padded = FC_FN(padded)(a->K);
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t g = item / blocks, k0 = item % blocks * FC_BLOCK;
        const ptrdiff_t width = padded - k0 < FC_BLOCK ? padded - k0 : FC_BLOCK;
        const ptrdiff_t valid = a->K - k0 < width ? a->K - k0 : width;
        const real *weight = (const real *)a->weight + g * a->group_stride + k0 * a->k_stride;
        real *packed = (real *)a->packed + (g * padded + k0) * a->taps * a->C;
        for (ptrdiff_t tap = 0; tap < a->taps; tap++)
            for (ptrdiff_t c = 0; c < a->C; c++, packed += width) {
                const real *from = weight + c * a->c_stride + tap;
                for (ptrdiff_t k = 0; k < valid; k++) packed[k] = from[k * a->k_stride];
                for (ptrdiff_t k = valid; k < width; k++) packed[k] = 0;
            }
    }
}

FC_INLINE void FC_FN(store_tile)(const int V, const int P, real *target, const real *sums, const real *bias,
                                 ptrdiff_t channel_stride, const fc_tile *tile) {
    for (ptrdiff_t k = 0; k < tile->channels; k++) {
        const real offset = bias != NULL ? bias[k] : 0;
        for (int p = 0; p < P; p++)
            target[k * channel_stride + p * tile->target_step] = sums[p * V * FC_LANES + k] + offset;
    }
}

FC_INLINE void FC_FN(store_pixels)(const int V, const int P, real *target, const real *sums, const real *bias,
                                   const fc_tile *tile) {
    for (int p = 0; p < P; p++)
        for (ptrdiff_t k = 0; k < tile->channels; k++)
            target[p * tile->target_step + k] = sums[p * V * FC_LANES + k] + (bias != NULL ? bias[k] : 0);
}

FC_INLINE void FC_FN(sum_tile)(const int V, const int P, const fc_sum_args *a, const real *source, const real *packed,
                               const real *bias, real *target, const fc_tile *tile) {
    real sums[FC_BLOCK * FC_TILE_COLUMNS]
        __attribute__((aligned(FC_VECTOR_BYTES))) = {0};
    FC_EACH(FC_ZERO)
    ptrdiff_t terms = 0;
    for (ptrdiff_t r = tile->row_first; r < tile->row_last; r++)
        for (ptrdiff_t e = tile->col_first; e < tile->col_last; e++) {
            const ptrdiff_t tap = a->rows.taps[r] * a->tap_cols + a->cols.taps[e];
            const ptrdiff_t pixel = a->rows.sources[r] * a->source_strides.h +
                                    a->cols.sources[e] * a->source_strides.w + tile->source_shift;
            for (ptrdiff_t c = 0; c < a->C; c += FC_BLOCK_TERMS) {
                const ptrdiff_t count = a->C - c < FC_BLOCK_TERMS ? a->C - c : FC_BLOCK_TERMS;
                if (terms + count > FC_BLOCK_TERMS) {
                    FC_EACH(FC_FLUSH)
                    terms = 0;
                }
                FC_PANEL(count, packed + (tap * a->C + c) * V * FC_LANES, source + pixel + c * a->source_strides.c,
                         a->source_strides.c, tile->source_step);
                terms += count;
            }
        }
    FC_EACH(FC_FLUSH)
    if (a->target_strides.c == 1)
        FC_FN(store_pixels)(V, P, target, sums, bias, tile);
    else
        FC_FN(store_tile)(V, P, target, sums, bias, a->target_strides.c, tile);
}

/* One output row of one block of output channels. */
static void FC_FN(sum_row)(const fc_sum_args *a, ptrdiff_t n, ptrdiff_t g, ptrdiff_t block, ptrdiff_t row) {
    const ptrdiff_t padded = FC_FN(padded)(a->K), k0 = block * FC_BLOCK;
    const ptrdiff_t left = (padded - k0) / FC_LANES, vectors = left < FC_MAX_VECTORS ? left : FC_MAX_VECTORS;
    const ptrdiff_t room = vectors * FC_LANES, channel = g * a->K + k0;
    const real *packed = (const real *)a->packed + (g * padded + k0) * a->tap_rows * a->tap_cols * a->C;
    const real *source = (const real *)a->source + n * a->source_strides.n + g * a->C * a->source_strides.c;
    const real *bias = a->bias != NULL ? (const real *)a->bias + channel : NULL;
    real *target = (real *)a->target + n * a->target_strides.n + channel * a->target_strides.c + row * a->target_strides.h;
    fc_tile tile = {.row_first = a->rows.first[row], .row_last = a->rows.first[row + 1]};
    tile.channels = a->K - k0 < room ? a->K - k0 : room;
    for (ptrdiff_t r = 0; r < a->cols.run_count; r++) {
        const int64_t *run = a->cols.runs + 4 * r;
        const ptrdiff_t start = run[0], count = run[1];
        tile.col_first = a->cols.first[start];
        tile.col_last = a->cols.first[start + 1];
        tile.target_step = run[2] * a->target_strides.w;
        tile.source_step = run[3] * a->source_strides.w;
        for (ptrdiff_t j = 0; j < count; j += FC_TILE_COLUMNS) {
            const ptrdiff_t columns = count - j < FC_TILE_COLUMNS ? count - j : FC_TILE_COLUMNS;
            real *pixel = target + start * a->target_strides.w + j * tile.target_step;
            tile.source_shift = j * tile.source_step;
            FC_WITH_CONSTANTS(FC_FN(sum_tile), vectors, columns, a, source, packed, bias, pixel, &tile)
        }
    }
}

/* One item per (image, group, block of output channels, output row). */
static void FC_FN(sum)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_sum_args *a = ctx;
    const ptrdiff_t blocks = FC_FN(blocks)(a->K);
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t row = item % a->rows.targets, outer = item / a->rows.targets;
        FC_FN(sum_row)(a, outer / blocks / a->groups, outer / blocks % a->groups, outer % blocks, row);
    }
}
