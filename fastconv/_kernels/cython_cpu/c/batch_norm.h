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

/* The coefficients are those of lane j where `each` is 1, the same for all lanes where it is 0. */
FC_INLINE void FC_FN(normalise)(const real *restrict x, const real *restrict residual, const real *restrict mean,
                                ptrdiff_t C, ptrdiff_t each, int relu, real *restrict out, ptrdiff_t count) {
    const real *restrict scale = mean + FC_NORM_SCALE * C, *restrict shift = mean + FC_NORM_SHIFT * C;
    for (ptrdiff_t j = 0; j < count; j++) {
        const real y = (x[j] - mean[j * each]) * scale[j * each] + shift[j * each];
        const real sum = residual == NULL ? y : y + residual[j];
        out[j] = relu && sum < 0 ? 0 : sum;
    }
}

FC_INLINE void FC_FN(propagate)(const real *restrict grad_out, const real *restrict x, const real *restrict mean,
                                ptrdiff_t C, ptrdiff_t each, int relu, real *restrict grad_input, ptrdiff_t count) {
    const real *restrict scale = mean + FC_NORM_SCALE * C, *restrict shift = mean + FC_NORM_SHIFT * C;
    const real *restrict offset = mean + FC_NORM_OFFSET * C, *restrict slope = mean + FC_NORM_SLOPE * C;
    for (ptrdiff_t j = 0; j < count; j++) {
        if (x == NULL) {
            grad_input[j] = grad_out[j] * scale[j * each];
            continue;
        }
        const real d = x[j] - mean[j * each], there = grad_out[j];
        const real grad = relu && d * scale[j * each] + shift[j * each] <= 0 ? 0 : there;
        grad_input[j] = grad * scale[j * each] - offset[j * each] - d * slope[j * each];
    }
}

/* Compilers make a loop of each case. */
FC_INLINE void FC_FN(forward_run)(const fc_norm_args *a, ptrdiff_t at, const real *mean, ptrdiff_t each, real *out,
                                  ptrdiff_t count) {
    const real *x = (const real *)a->x + at, *residual = a->residual == NULL ? NULL : (const real *)a->residual + at;
    if (residual == NULL && a->relu) FC_FN(normalise)(x, NULL, mean, a->C, each, 1, out, count);
    else if (residual == NULL) FC_FN(normalise)(x, NULL, mean, a->C, each, 0, out, count);
    else if (a->relu) FC_FN(normalise)(x, residual, mean, a->C, each, 1, out, count);
    else FC_FN(normalise)(x, residual, mean, a->C, each, 0, out, count);
}

FC_INLINE void FC_FN(grad_run)(const fc_norm_args *a, ptrdiff_t at, const real *mean, ptrdiff_t each, real *out,
                               ptrdiff_t count) {
    const real *grad_out = (const real *)a->grad_out + at, *x = a->x == NULL ? NULL : (const real *)a->x + at;
    if (x == NULL) FC_FN(propagate)(grad_out, NULL, mean, a->C, each, 0, out, count);
    else if (a->relu) FC_FN(propagate)(grad_out, x, mean, a->C, each, 1, out, count);
    else FC_FN(propagate)(grad_out, x, mean, a->C, each, 0, out, count);
}

typedef void FC_FN(fc_norm_run)(const fc_norm_args *a, ptrdiff_t at, const real *mean, ptrdiff_t each, real *out,
                                ptrdiff_t count);

/* `count` values from `at` on, in runs. */
FC_INLINE void FC_FN(each_run)(const fc_norm_args *a, ptrdiff_t at, ptrdiff_t channel, ptrdiff_t each, ptrdiff_t count,
                               FC_FN(fc_norm_run) *run) {
    real buffer[FC_NORM_RUN] __attribute__((aligned(64)));
    for (ptrdiff_t j = 0; j < count; j += FC_NORM_RUN) {
        const ptrdiff_t length = count - j < FC_NORM_RUN ? count - j : FC_NORM_RUN;
        real *target = (real *)a->target + at + j;
        run(a, at + j, (const real *)a->coefficients + channel + j * each, each, a->streams ? buffer : target, length);
        if (a->streams) FC_FN(stream_copy)(target, buffer, length);
    }
}

/* Items of rows of channels. */
FC_INLINE void FC_FN(each_row)(const fc_norm_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_norm_run) *run) {
    for (ptrdiff_t row = lo * a->item_rows; row < FC_FN(item_end)(a, hi - 1); row++)
        FC_FN(each_run)(a, row * a->C, 0, 1, a->C, run);
    if (a->streams) FC_STREAM_FENCE();
}

/* Items are planes. */
FC_INLINE void FC_FN(each_plane)(const fc_norm_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_norm_run) *run) {
    for (ptrdiff_t plane = lo; plane < hi; plane++)
        FC_FN(each_run)(a, plane * a->pixels, plane % a->C, 0, a->pixels, run);
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
