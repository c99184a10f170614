/* The pooling kernels of one dtype and one instruction set. Lanes are neighbours in memory: output columns in the
 * contiguous format, channels in channels_last. */
#include "max_pool2d_args.h"

#ifndef FASTCONV_MAX_POOL2D_H
#define FASTCONV_MAX_POOL2D_H

enum { FC_POOL_LANES = 64, FC_UNPOOL_CHANNELS = 16 };

static inline void fc_store_offsets(void *offsets, ptrdiff_t bytes, ptrdiff_t at, const uint32_t *winner, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) {
        if (bytes == 1) ((uint8_t *)offsets)[at + j] = (uint8_t)winner[j];
        else if (bytes == 2) ((uint16_t *)offsets)[at + j] = (uint16_t)winner[j];
        else ((uint32_t *)offsets)[at + j] = winner[j];
    }
}

static inline ptrdiff_t fc_load_offset(const void *offsets, ptrdiff_t bytes, ptrdiff_t at) {
    if (bytes == 1) return ((const uint8_t *)offsets)[at];
    return bytes == 2 ? (ptrdiff_t)((const uint16_t *)offsets)[at] : (ptrdiff_t)((const uint32_t *)offsets)[at];
}
#endif

/* best = max(best, x), where NaN wins and the first of equal values stays; winner = tap where x won. */
static inline __attribute__((always_inline)) void FC_FN(compare)(real *restrict best, uint32_t *restrict winner,
                                                                 const real *restrict x, ptrdiff_t step,
                                                                 ptrdiff_t count, uint32_t tap) {
    for (ptrdiff_t j = 0; j < count; j++) {
        const real value = x[j * step];
        const int wins = (value > best[j]) | (value != value);
        best[j] = wins ? value : best[j];
        winner[j] = wins ? tap : winner[j];
    }
}

static void FC_FN(compare_lanes)(real *best, uint32_t *winner, const real *x, ptrdiff_t step, ptrdiff_t count,
                                 uint32_t tap) {
    if (step == 1) FC_FN(compare)(best, winner, x, 1, count, tap);
    else if (step == 2) FC_FN(compare)(best, winner, x, 2, count, tap);
    else FC_FN(compare)(best, winner, x, step, count, tap);
}

/* count lanes whose windows have the taps of output (row, col); lane j reads x shifted by j * step. */
static void FC_FN(pool_lanes)(const fc_pool_args *a, const real *x, ptrdiff_t row, ptrdiff_t col, ptrdiff_t step,
                              ptrdiff_t count, ptrdiff_t at) {
    real best[FC_POOL_LANES];
    uint32_t winner[FC_POOL_LANES];
    int begun = 0;
    for (ptrdiff_t r = a->rows.first[row]; r < a->rows.first[row + 1]; r++)
        for (ptrdiff_t e = a->cols.first[col]; e < a->cols.first[col + 1]; e++) {
            const uint32_t tap = (uint32_t)(a->rows.taps[r] * a->tap_cols + a->cols.taps[e]);
            const real *from = x + a->rows.sources[r] * a->x_strides.h + a->cols.sources[e] * a->x_strides.w;
            if (begun) {
                FC_FN(compare_lanes)(best, winner, from, step, count, tap);
                continue;
            }
            begun = 1;
            for (ptrdiff_t j = 0; j < count; j++) {
                best[j] = from[j * step];
                winner[j] = tap;
            }
        }
    if (!begun) /* a window without any input */
        for (ptrdiff_t j = 0; j < count; j++) {
            best[j] = FC_MINUS_INFINITY;
            winner[j] = 0;
        }
    memcpy((real *)a->out + at, best, (size_t)count * sizeof(real));
    if (a->offsets != NULL) fc_store_offsets(a->offsets, a->offset_bytes, at, winner, count);
}

/* Contiguous: the lanes of a run of output columns, in pieces. */
static void FC_FN(pool_row)(const fc_pool_args *a, ptrdiff_t n, ptrdiff_t c, ptrdiff_t row) {
    const real *x = (const real *)a->x + n * a->x_strides.n + c * a->x_strides.c;
    const ptrdiff_t at = n * a->out_strides.n + c * a->out_strides.c + row * a->out_strides.h;
    for (ptrdiff_t r = 0; r < a->cols.run_count; r++) {
        const int64_t *run = a->cols.runs + 4 * r;
        const ptrdiff_t start = run[0], count = run[1], step = run[3];
        for (ptrdiff_t j = 0; j < count; j += FC_POOL_LANES)
            FC_FN(pool_lanes)(a, x + j * step, row, start, step, count - j < FC_POOL_LANES ? count - j : FC_POOL_LANES,
                              at + start + j);
    }
}

/* channels_last: the lanes are channels, in pieces. */
static void FC_FN(pool_pixels)(const fc_pool_args *a, ptrdiff_t n, ptrdiff_t row) {
    const real *x = (const real *)a->x + n * a->x_strides.n;
    for (ptrdiff_t col = 0; col < a->cols.targets; col++) {
        const ptrdiff_t at = n * a->out_strides.n + row * a->out_strides.h + col * a->out_strides.w;
        for (ptrdiff_t c = 0; c < a->C; c += FC_POOL_LANES)
            FC_FN(pool_lanes)(a, x + c, row, col, 1, a->C - c < FC_POOL_LANES ? a->C - c : FC_POOL_LANES, at + c);
    }
}

/* One item per (image, channel, output row), or per (image, output row) in channels_last. */
static void FC_FN(pool)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pool_args *a = ctx;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t row = item % a->rows.targets, outer = item / a->rows.targets;
        if (a->channels_last) FC_FN(pool_pixels)(a, outer, row);
        else FC_FN(pool_row)(a, outer / a->C, outer % a->C, row);
    }
}

/* Send the gradients of one channel's windows to their winners; an offset that leads outside leads nowhere. */
static void FC_FN(unpool_plane)(const fc_unpool_args *a, const real *grad_out, ptrdiff_t at, real *grad_input) {
    for (ptrdiff_t oh = 0; oh < a->OH; oh++)
        for (ptrdiff_t ow = 0; ow < a->OW; ow++) {
            const ptrdiff_t place = oh * a->out_strides.h + ow * a->out_strides.w;
            const ptrdiff_t offset = fc_load_offset(a->offsets, a->offset_bytes, at + place);
            if (offset >= a->taps) continue;
            const ptrdiff_t ih = oh * a->row_stride - a->row_low + a->tap_rows[offset];
            const ptrdiff_t iw = ow * a->col_stride - a->col_low + a->tap_cols[offset];
            if (ih >= 0 && ih < a->H && iw >= 0 && iw < a->W)
                grad_input[ih * a->x_strides.h + iw * a->x_strides.w] += grad_out[place];
        }
}

static void FC_FN(clear)(const fc_unpool_args *a, real *grad_input, ptrdiff_t channels) {
    for (ptrdiff_t pixel = 0; pixel < a->H * a->W; pixel++)
        for (ptrdiff_t c = 0; c < channels; c++) grad_input[pixel * a->x_strides.w + c] = 0;
}

/* One item per (image, block of channels). */
static void FC_FN(unpool)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_unpool_args *a = ctx;
    const ptrdiff_t width = a->channels, blocks = (a->C + width - 1) / width;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / blocks, c = item % blocks * width;
        const ptrdiff_t channels = a->C - c < width ? a->C - c : width;
        real *grad_input = (real *)a->grad_input + n * a->x_strides.n + c * a->x_strides.c;
        FC_FN(clear)(a, grad_input, channels);
        for (ptrdiff_t j = 0; j < channels; j++) {
            const ptrdiff_t at = n * a->out_strides.n + (c + j) * a->out_strides.c;
            FC_FN(unpool_plane)(a, (const real *)a->grad_out + at, at, grad_input + j * a->x_strides.c);
        }
    }
}

const fc_max_pool2d_kernels FC_FN(fc_max_pool2d) = {
    .channels_last_item = FC_UNPOOL_CHANNELS,
    .forward = FC_FN(pool),
    .grad_input = FC_FN(unpool),
};
