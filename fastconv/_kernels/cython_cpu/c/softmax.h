/* Logarithms of probabilities, the loss they give, and both gradients: items are runs of pixels of one image. */
#include <math.h>

#include "softmax_args.h"
#include "vector.h"

#ifndef FASTCONV_SOFTMAX_H
#define FASTCONV_SOFTMAX_H
enum { FC_LOSS_SMOOTHING };

/* Where an item lies: its first element in (N, C, pixels) and in (N, pixels), and how many pixels it has. */
typedef struct {
    ptrdiff_t first, pixel, count;
} fc_softmax_item;

FC_INLINE fc_softmax_item fc_softmax_item_of(const fc_softmax_args *a, ptrdiff_t item) {
    const ptrdiff_t runs = (a->pixels + FC_SOFTMAX_PIXELS - 1) / FC_SOFTMAX_PIXELS;
    const ptrdiff_t n = item / runs, p = item % runs * FC_SOFTMAX_PIXELS, left = a->pixels - p;
    const ptrdiff_t count = left < FC_SOFTMAX_PIXELS ? left : FC_SOFTMAX_PIXELS;
    return (fc_softmax_item){n * a->C * a->pixels + p, n * a->pixels + p, count};
}
#endif

/* x - max - log(sum(exp(x - max))): no exponential overflows. */
static void FC_FN(log_probabilities)(const fc_softmax_args *a, fc_softmax_item item) {
    const real *x = (const real *)a->x + item.first;
    real *out = (real *)a->out + item.first, largest[FC_SOFTMAX_PIXELS];
    double sums[FC_SOFTMAX_PIXELS] = {0};
    memcpy(largest, x, (size_t)item.count * sizeof(real));
    for (ptrdiff_t c = 1; c < a->C; c++)
        for (ptrdiff_t j = 0; j < item.count; j++)
            largest[j] = x[c * a->pixels + j] > largest[j] ? x[c * a->pixels + j] : largest[j];
    for (ptrdiff_t c = 0; c < a->C; c++)
        for (ptrdiff_t j = 0; j < item.count; j++) sums[j] += FC_EXP(x[c * a->pixels + j] - largest[j]);
    for (ptrdiff_t j = 0; j < item.count; j++) sums[j] = log(sums[j]);
    for (ptrdiff_t c = 0; c < a->C; c++)
        for (ptrdiff_t j = 0; j < item.count; j++)
            out[c * a->pixels + j] = (real)(x[c * a->pixels + j] - largest[j] - sums[j]);
}

/* How much class c of a sample counts, and all classes together. */
FC_INLINE double FC_FN(share)(const fc_softmax_args *a, ptrdiff_t c, int64_t target) {
    const double smoothing = a->settings[FC_LOSS_SMOOTHING];
    return ((c == target) * (1 - smoothing) + smoothing / (double)a->C) * ((const real *)a->class_weight)[c];
}

static double FC_FN(all_shares)(const fc_softmax_args *a, int64_t target) {
    double total = 0;
    if (a->settings[FC_LOSS_SMOOTHING] == 0) return FC_FN(share)(a, target, target);
    for (ptrdiff_t c = 0; c < a->C; c++) total += FC_FN(share)(a, c, target);
    return total;
}

/* 0 times an infinite logarithm is nothing. */
static double FC_FN(loss_of)(const fc_softmax_args *a, const real *log_probability, int64_t target) {
    double loss = 0;
    const int whole = a->settings[FC_LOSS_SMOOTHING] != 0;
    for (ptrdiff_t c = whole ? 0 : target; c < (whole ? a->C : target + 1); c++) {
        const double share = FC_FN(share)(a, c, target);
        if (share != 0) loss -= share * log_probability[c * a->pixels];
    }
    return loss;
}

static void FC_FN(log_softmax)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) FC_FN(log_probabilities)(ctx, fc_softmax_item_of(ctx, item));
}

static void FC_FN(cross_entropy)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        FC_FN(log_probabilities)(a, item);
        for (ptrdiff_t j = 0; j < item.count; j++) {
            const int64_t target = a->target[item.pixel + j];
            const int counts = target >= 0 && target < a->C;
            ((real *)a->losses)[item.pixel + j] =
                counts ? (real)FC_FN(loss_of)(a, (const real *)a->out + item.first + j, target) : 0;
        }
    }
}

/* grad - softmax * sum(grad) */
static void FC_FN(log_softmax_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        const real *grad = (const real *)a->grad_out + item.first, *out = (const real *)a->out + item.first;
        real *grad_input = (real *)a->grad_input + item.first;
        double sums[FC_SOFTMAX_PIXELS] = {0};
        for (ptrdiff_t c = 0; c < a->C; c++)
            for (ptrdiff_t j = 0; j < item.count; j++) sums[j] += grad[c * a->pixels + j];
        for (ptrdiff_t c = 0; c < a->C; c++)
            for (ptrdiff_t j = 0; j < item.count; j++) {
                const ptrdiff_t at = c * a->pixels + j;
                grad_input[at] = (real)(grad[at] - FC_EXP(out[at]) * sums[j]);
            }
    }
}

/* (softmax * shares of all classes - share) * grad of the loss; what is ignored has none. */
static void FC_FN(cross_entropy_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        for (ptrdiff_t j = 0; j < item.count; j++) {
            const int64_t target = a->target[item.pixel + j];
            const int counts = target >= 0 && target < a->C;
            const real grad = ((const real *)a->grad_out)[item.pixel + j];
            const double shares = counts ? FC_FN(all_shares)(a, target) : 0;
            const real *out = (const real *)a->out + item.first + j;
            real *grad_input = (real *)a->grad_input + item.first + j;
            for (ptrdiff_t at = 0, c = 0; c < a->C; c++, at += a->pixels)
                grad_input[at] = counts ? (real)((FC_EXP(out[at]) * shares - FC_FN(share)(a, c, target)) * grad) : 0;
        }
    }
}

const fc_softmax_kernels FC_FN(fc_softmax) = {
    .log_softmax = FC_FN(log_softmax),
    .log_softmax_grad = FC_FN(log_softmax_grad),
    .cross_entropy = FC_FN(cross_entropy),
    .cross_entropy_grad = FC_FN(cross_entropy_grad),
};
