/* Batch normalisation: out = (x - mean) * scale + shift, and its gradient, in runs of values that lie together. */
#include "batch_norm_sums.h"
#include "stream_copy.h"

#ifndef FASTCONV_BATCH_NORM_H
#define FASTCONV_BATCH_NORM_H
/* Values of one run. */
enum { FC_NORM_RUN = 1024 };
/* Rows of the coefficients. */
enum { FC_NORM_MEAN, FC_NORM_SCALE, FC_NORM_SHIFT, FC_NORM_OFFSET, FC_NORM_SLOPE };
#endif

/* The coefficients are those of lane j where `each` is 1, the same for all lanes where it is 0; they are loaded once
 * for some rows of C values. */
FC_INLINE void FC_FN(normalise)(const int rows, const real *restrict x, const real *restrict residual,
                                const real *restrict mean, ptrdiff_t C, ptrdiff_t each, int relu, real *restrict out,
                                ptrdiff_t count) {
    const real *restrict scale = mean + FC_NORM_SCALE * C, *restrict shift = mean + FC_NORM_SHIFT * C;
    for (ptrdiff_t j = 0; j < count; j++) {
        const real m = mean[j * each], s = scale[j * each], h = shift[j * each];
#pragma GCC unroll 4
        for (ptrdiff_t at = j, row = 0; row < rows; row++, at += C) {
            const real y = (x[at] - m) * s + h;
            const real sum = residual == NULL ? y : y + residual[at];
            out[at] = relu && sum < 0 ? 0 : sum;
        }
    }
}

FC_INLINE void FC_FN(propagate)(const int rows, const real *restrict grad_out, const real *restrict x,
                                const real *restrict mean, ptrdiff_t C, ptrdiff_t each, int relu,
                                real *restrict grad_input, ptrdiff_t count) {
    const real *restrict scale = mean + FC_NORM_SCALE * C, *restrict shift = mean + FC_NORM_SHIFT * C;
    const real *restrict offset = mean + FC_NORM_OFFSET * C, *restrict slope = mean + FC_NORM_SLOPE * C;
    for (ptrdiff_t j = 0; j < count; j++) {
        const real m = mean[j * each], s = scale[j * each], h = shift[j * each];
        const real o = offset[j * each], k = slope[j * each];
#pragma GCC unroll 4
        for (ptrdiff_t at = j, row = 0; row < rows; row++, at += C) {
            const real d = x == NULL ? 0 : x[at] - m, there = grad_out[at];
            const real grad = x != NULL && relu && d * s + h <= 0 ? 0 : there;
            grad_input[at] = x == NULL ? grad * s : grad * s - o - d * k;
        }
    }
}

/* Compilers make a loop of each case. */
FC_INLINE void FC_FN(forward_run)(const int rows, const fc_norm_args *a, ptrdiff_t at, const real *mean,
                                  ptrdiff_t each, real *out, ptrdiff_t count) {
    const real *x = (const real *)a->x + at, *residual = a->residual == NULL ? NULL : (const real *)a->residual + at;
    if (residual == NULL && a->relu) FC_FN(normalise)(rows, x, NULL, mean, a->C, each, 1, out, count);
    else if (residual == NULL) FC_FN(normalise)(rows, x, NULL, mean, a->C, each, 0, out, count);
    else if (a->relu) FC_FN(normalise)(rows, x, residual, mean, a->C, each, 1, out, count);
    else FC_FN(normalise)(rows, x, residual, mean, a->C, each, 0, out, count);
}

FC_INLINE void FC_FN(grad_run)(const int rows, const fc_norm_args *a, ptrdiff_t at, const real *mean, ptrdiff_t each,
                               real *out, ptrdiff_t count) {
    const real *grad_out = (const real *)a->grad_out + at, *x = a->x == NULL ? NULL : (const real *)a->x + at;
    if (x == NULL) FC_FN(propagate)(rows, grad_out, NULL, mean, a->C, each, 0, out, count);
    else if (a->relu) FC_FN(propagate)(rows, grad_out, x, mean, a->C, each, 1, out, count);
    else FC_FN(propagate)(rows, grad_out, x, mean, a->C, each, 0, out, count);
}

typedef void FC_FN(fc_norm_run)(const int rows, const fc_norm_args *a, ptrdiff_t at, const real *mean, ptrdiff_t each,
                                real *out, ptrdiff_t count);

/* `count` values from `at` on, in runs; of several rows where nothing is written past the caches. */
FC_INLINE void FC_FN(each_run)(const int rows, const fc_norm_args *a, ptrdiff_t at, ptrdiff_t channel, ptrdiff_t each,
                               ptrdiff_t count, FC_FN(fc_norm_run) *run) {
    real buffer[FC_NORM_RUN] __attribute__((aligned(64)));
    for (ptrdiff_t j = 0; j < count; j += FC_NORM_RUN) {
        const ptrdiff_t length = count - j < FC_NORM_RUN ? count - j : FC_NORM_RUN;
        const int streams = rows == 1 && a->streams;
        const real *mean = (const real *)a->coefficients + channel + j * each;
        real *target = (real *)a->target + at + j;
        run(rows, a, at + j, mean, each, streams ? buffer : target, length);
        if (streams) FC_FN(stream_copy)(target, buffer, length);
    }
}

/* Items of rows of channels. */
FC_INLINE void FC_FN(each_row)(const fc_norm_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_norm_run) *run) {
    const ptrdiff_t end = FC_FN(item_end)(a, hi - 1);
    ptrdiff_t row = lo * a->item_rows;
    for (; !a->streams && row + FC_NORM_TOGETHER <= end; row += FC_NORM_TOGETHER)
        FC_FN(each_run)(FC_NORM_TOGETHER, a, row * a->C, 0, 1, a->C, run);
    for (; row < end; row++) FC_FN(each_run)(1, a, row * a->C, 0, 1, a->C, run);
    if (a->streams) FC_STREAM_FENCE();
}

/* Items are planes. */
FC_INLINE void FC_FN(each_plane)(const fc_norm_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_norm_run) *run) {
    for (ptrdiff_t plane = lo; plane < hi; plane++)
        FC_FN(each_run)(1, a, plane * a->pixels, plane % a->C, 0, a->pixels, run);
    if (a->streams) FC_STREAM_FENCE();
}

static void FC_FN(forward_rows)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_row)(ctx, lo, hi, FC_FN(forward_run));
}

static void FC_FN(forward_planes)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_plane)(ctx, lo, hi, FC_FN(forward_run));
}

static void FC_FN(grad_rows)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_row)(ctx, lo, hi, FC_FN(grad_run));
}

static void FC_FN(grad_planes)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_plane)(ctx, lo, hi, FC_FN(grad_run));
}

const fc_norm_kernels FC_FN(fc_norm) = {
    .moments_rows = FC_FN(moments_rows),
    .moments_planes = FC_FN(moments_planes),
    .moments_merge = FC_FN(moments_merge),
    .sums_rows = FC_FN(sums_rows),
    .sums_planes = FC_FN(sums_planes),
    .sums_merge = FC_FN(sums_merge),
    .forward_rows = FC_FN(forward_rows),
    .forward_planes = FC_FN(forward_planes),
    .grad_rows = FC_FN(grad_rows),
    .grad_planes = FC_FN(grad_planes),
};
