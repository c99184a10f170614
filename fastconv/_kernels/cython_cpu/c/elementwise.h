/* Elementwise passes: items are blocks of FC_ELEMENTS elements. Compilers make vectors of these loops. */
#include "dropout.h"
#include "elementwise_args.h"
#include "optimizer_steps.h"
#include "stream_copy.h"

typedef void FC_FN(fc_pass)(const real *restrict a, const real *restrict b, real *restrict out, ptrdiff_t count,
                            const double *ends);

FC_INLINE void FC_FN(relu_block)(const real *restrict x, const real *restrict unused, real *restrict out,
                                 ptrdiff_t count, const double *ends) {
    (void)unused, (void)ends;
    for (ptrdiff_t i = 0; i < count; i++) out[i] = x[i] < 0 ? 0 : x[i];
}

/* The gradient passes where the output is not zero. */
FC_INLINE void FC_FN(relu_grad_block)(const real *restrict grad_out, const real *restrict rectified,
                                      real *restrict grad_input, ptrdiff_t count, const double *ends) {
    (void)ends;
    for (ptrdiff_t i = 0; i < count; i++) grad_input[i] = rectified[i] == 0 ? 0 : grad_out[i];
}

FC_INLINE void FC_FN(add_relu_block)(const real *restrict x, const real *restrict residual, real *restrict out,
                                     ptrdiff_t count, const double *ends) {
    (void)ends;
    for (ptrdiff_t i = 0; i < count; i++) {
        const real sum = x[i] + residual[i];
        out[i] = sum < 0 ? 0 : sum;
    }
}

FC_INLINE void FC_FN(hardtanh_block)(const real *restrict x, const real *restrict unused, real *restrict out,
                                     ptrdiff_t count, const double *ends) {
    const real low = (real)ends[0], high = (real)ends[1];
    (void)unused;
    for (ptrdiff_t i = 0; i < count; i++) {
        const real least = x[i] < low ? low : x[i];
        out[i] = least > high ? high : least;
    }
}

/* The gradient passes where the output is between the ends. */
FC_INLINE void FC_FN(hardtanh_grad_block)(const real *restrict grad_out, const real *restrict cut,
                                          real *restrict grad_input, ptrdiff_t count, const double *ends) {
    const real low = (real)ends[0], high = (real)ends[1];
    for (ptrdiff_t i = 0; i < count; i++) {
        const real inside = cut[i] > low ? grad_out[i] : 0;
        grad_input[i] = cut[i] < high ? inside : 0;
    }
}

FC_INLINE void FC_FN(each_block)(const fc_elementwise_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_pass) *pass) {
    real buffer[FC_ELEMENTS] __attribute__((aligned(64)));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t at = item * FC_ELEMENTS, left = a->count - at, count = left < FC_ELEMENTS ? left : FC_ELEMENTS;
        const real *b = a->b == NULL ? NULL : (const real *)a->b + at;
        real *target = (real *)a->target + at;
        pass((const real *)a->a + at, b, a->streams ? buffer : target, count, a->ends);
        if (a->streams) FC_FN(stream_copy)(target, buffer, count);
    }
    if (a->streams) FC_STREAM_FENCE();
}

static void FC_FN(relu_forward)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_block)(ctx, lo, hi, FC_FN(relu_block));
}

static void FC_FN(relu_grad_input)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_block)(ctx, lo, hi, FC_FN(relu_grad_block));
}

static void FC_FN(add_relu_forward)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_block)(ctx, lo, hi, FC_FN(add_relu_block));
}

static void FC_FN(hardtanh_forward)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_block)(ctx, lo, hi, FC_FN(hardtanh_block));
}

static void FC_FN(hardtanh_grad_input)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    FC_FN(each_block)(ctx, lo, hi, FC_FN(hardtanh_grad_block));
}

/* target += a: what is changed in place is in the caches. */
static void FC_FN(accumulate)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_elementwise_args *a = ctx;
    const ptrdiff_t end = hi * FC_ELEMENTS < a->count ? hi * FC_ELEMENTS : a->count;
    const real *restrict addend = a->a;
    real *restrict total = a->target;
    (void)slot;
    for (ptrdiff_t i = lo * FC_ELEMENTS; i < end; i++) total[i] += addend[i];
}

const fc_elementwise_kernels FC_FN(fc_elementwise) = {
    .relu_forward = FC_FN(relu_forward),
    .relu_grad_input = FC_FN(relu_grad_input),
    .add_relu_forward = FC_FN(add_relu_forward),
    .hardtanh_forward = FC_FN(hardtanh_forward),
    .hardtanh_grad_input = FC_FN(hardtanh_grad_input),
    .accumulate = FC_FN(accumulate),
    .dropout = FC_FN(dropout),
    .sgd_step = FC_FN(sgd_step),
    .adam_step = FC_FN(adam_step),
};
