/* Elementwise passes: items are blocks of FC_ELEMENTS elements. Compilers make vectors of these loops. */
#include "dropout.h"
#include "elementwise_args.h"
#include "optimizer_steps.h"
#include "stream_copy.h"

typedef void FC_FN(fc_pass)(const real *restrict a, const real *restrict b, real *restrict out, ptrdiff_t count);

FC_INLINE void FC_FN(relu_block)(const real *restrict x, const real *restrict unused, real *restrict out,
                                 ptrdiff_t count) {
    (void)unused;
    for (ptrdiff_t i = 0; i < count; i++) out[i] = x[i] < 0 ? 0 : x[i];
}

/* The gradient passes where the output is not zero. */
FC_INLINE void FC_FN(relu_grad_block)(const real *restrict grad_out, const real *restrict rectified,
                                      real *restrict grad_input, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) grad_input[i] = rectified[i] == 0 ? 0 : grad_out[i];
}

FC_INLINE void FC_FN(add_relu_block)(const real *restrict x, const real *restrict residual, real *restrict out,
                                     ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const real sum = x[i] + residual[i];
        out[i] = sum < 0 ? 0 : sum;
    }
}

FC_INLINE void FC_FN(each_block)(const fc_elementwise_args *a, ptrdiff_t lo, ptrdiff_t hi, FC_FN(fc_pass) *pass) {
    real buffer[FC_ELEMENTS] __attribute__((aligned(64)));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t at = item * FC_ELEMENTS, left = a->count - at, count = left < FC_ELEMENTS ? left : FC_ELEMENTS;
        const real *b = a->b == NULL ? NULL : (const real *)a->b + at;
        real *target = (real *)a->target + at;
        pass((const real *)a->a + at, b, a->streams ? buffer : target, count);
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
    .accumulate = FC_FN(accumulate),
    .dropout = FC_FN(dropout),
    .sgd_step = FC_FN(sgd_step),
    .adam_step = FC_FN(adam_step),
};
