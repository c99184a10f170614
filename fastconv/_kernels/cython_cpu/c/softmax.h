/* Logarithms of probabilities, the loss they give, and both gradients: items are runs of pixels of one image. */
#include "softmax_lanes.h"

#ifndef FASTCONV_SOFTMAX_H
#define FASTCONV_SOFTMAX_H
enum { FC_LOSS_SMOOTHING };

FC_INLINE int fc_is_class(const fc_softmax_args *a, int64_t target) { return target >= 0 && target < a->C; }
#endif

/* In each of these lane j has the values of its own pixel where `each` is 1, all have the same where it is 0. */
FC_INLINE void FC_FN(write_logs)(const real *restrict x, const real *restrict largest, const real *restrict logs,
                                 ptrdiff_t each, real *restrict out, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) out[j] = x[j] - largest[j * each] - logs[j * each];
}

/* x - max - log(sum(exp(x - max))): no exponential overflows. */
static void FC_FN(log_probabilities)(const fc_softmax_args *a, const fc_softmax_item *item) {
    const real *x = (const real *)a->x + item->first;
    real *out = (real *)a->out + item->first, largest[FC_SOFTMAX_LANES], logs[FC_SOFTMAX_LANES];
    double sums[FC_SOFTMAX_LANES];
    FC_FN(largest_of)(a, item, x, largest);
    FC_FN(sums_of)(a, item, x, largest, sums);
    for (ptrdiff_t j = 0; j < item->count; j++) logs[j] = (real)fc_logarithm(sums[j]);
    if (fc_softmax_is_row(a)) FC_FN(write_logs)(x, largest, logs, 0, out, a->C);
    else
        for (ptrdiff_t at = 0; at < a->C * a->pixels; at += a->pixels)
            FC_FN(write_logs)(x + at, largest, logs, 1, out + at, item->count);
}

static void FC_FN(log_softmax)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(ctx, number);
        FC_FN(log_probabilities)(ctx, &item);
    }
}

FC_INLINE void FC_FN(write_slopes)(const real *restrict grad, const real *restrict out, const real *restrict sums,
                                   ptrdiff_t each, real *restrict grad_input, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) grad_input[j] = grad[j] - FC_FN(exponential)(out[j]) * sums[j * each];
}

/* grad - softmax * sum(grad) */
static void FC_FN(log_softmax_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        const real *grad = (const real *)a->grad_out + item.first, *out = (const real *)a->out + item.first;
        real *grad_input = (real *)a->grad_input + item.first, rounded[FC_SOFTMAX_LANES];
        double sums[FC_SOFTMAX_LANES];
        FC_FN(sums_of)(a, &item, grad, NULL, sums);
        for (ptrdiff_t j = 0; j < item.count; j++) rounded[j] = (real)sums[j];
        if (fc_softmax_is_row(a)) FC_FN(write_slopes)(grad, out, rounded, 0, grad_input, a->C);
        else
            for (ptrdiff_t at = 0; at < a->C * a->pixels; at += a->pixels)
                FC_FN(write_slopes)(grad + at, out + at, rounded, 1, grad_input + at, item.count);
    }
}

/* How much class c of a sample counts. */
FC_INLINE double FC_FN(share)(const fc_softmax_args *a, ptrdiff_t c, int64_t target) {
    const double smoothing = a->settings[FC_LOSS_SMOOTHING];
    return ((c == target) * (1 - smoothing) + smoothing / (double)a->C) * ((const real *)a->class_weight)[c];
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

static void FC_FN(cross_entropy)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    (void)slot;
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        FC_FN(log_probabilities)(a, &item);
        for (ptrdiff_t j = 0; j < item.count; j++) {
            const int64_t target = a->target[item.pixel + j];
            const int counts = fc_is_class(a, target);
            ((real *)a->losses)[item.pixel + j] =
                counts ? (real)FC_FN(loss_of)(a, (const real *)a->out + item.first + j, target) : 0;
        }
    }
}

/* What the gradient of the loss needs of every pixel: the gradient of its loss, 1 where it counts, the shares of all
 * classes together; of its target the share, the logarithm, then the gradient, and where it is. */
typedef struct {
    real grads[FC_SOFTMAX_LANES], counts[FC_SOFTMAX_LANES], shares[FC_SOFTMAX_LANES];
    real share[FC_SOFTMAX_LANES], value[FC_SOFTMAX_LANES];
    ptrdiff_t at[FC_SOFTMAX_LANES];
} FC_FN(fc_losses);

static void FC_FN(read_losses)(const fc_softmax_args *a, const fc_softmax_item *item, double smoothed_weights,
                               FC_FN(fc_losses) *losses) {
    const double whole = 1 - a->settings[FC_LOSS_SMOOTHING];
    for (ptrdiff_t j = 0; j < item->count; j++) {
        const int64_t target = a->target[item->pixel + j];
        const int counts = fc_is_class(a, target);
        losses->grads[j] = ((const real *)a->grad_out)[item->pixel + j];
        losses->counts[j] = (real)counts;
        losses->at[j] = counts ? target * a->pixels + j : j;
        losses->value[j] = ((const real *)a->out)[item->first + losses->at[j]];
        losses->shares[j] = counts ? (real)(whole * ((const real *)a->class_weight)[target] + smoothed_weights) : 0;
        losses->share[j] = counts ? (real)FC_FN(share)(a, target, target) : 0;
    }
}

/* (softmax * shares of all classes - share) * grad of the loss, where the sample counts. Where `each` is 1, lanes are
 * pixels of one class, where it is 0, classes of one pixel. */
FC_INLINE void FC_FN(write_loss_slopes)(const real *restrict out, const FC_FN(fc_losses) *restrict losses,
                                        ptrdiff_t each, const real *restrict weight, real smoothed,
                                        real *restrict grad_input, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) {
        const ptrdiff_t own = j * each;
        const real slope = FC_FN(exponential)(out[j]) * losses->shares[own] - smoothed * weight[j - own];
        const real grad = slope * losses->grads[own];
        grad_input[j] = losses->counts[own] == 0 ? 0 : grad;
    }
}

/* First as of classes that are nobody's target, then of the targets. */
static void FC_FN(loss_slopes)(const fc_softmax_args *a, const fc_softmax_item *item, FC_FN(fc_losses) *losses) {
    const real *out = (const real *)a->out + item->first, *weight = a->class_weight;
    const real smoothed = (real)(a->settings[FC_LOSS_SMOOTHING] / (double)a->C);
    real *grad_input = (real *)a->grad_input + item->first;
    if (fc_softmax_is_row(a)) FC_FN(write_loss_slopes)(out, losses, 0, weight, smoothed, grad_input, a->C);
    else
        for (ptrdiff_t c = 0, at = 0; c < a->C; c++, at += a->pixels)
            FC_FN(write_loss_slopes)(out + at, losses, 1, weight + c, smoothed, grad_input + at, item->count);
    for (ptrdiff_t j = 0; j < item->count; j++)
        losses->value[j] =
            (FC_FN(exponential)(losses->value[j]) * losses->shares[j] - losses->share[j]) * losses->grads[j];
    for (ptrdiff_t j = 0; j < item->count; j++)
        if (losses->counts[j] != 0) grad_input[losses->at[j]] = losses->value[j];
}

static void FC_FN(cross_entropy_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_softmax_args *a = ctx;
    const double smoothing = a->settings[FC_LOSS_SMOOTHING];
    double weights = 0;
    FC_FN(fc_losses) losses;
    (void)slot;
    for (ptrdiff_t c = 0; smoothing != 0 && c < a->C; c++) weights += ((const real *)a->class_weight)[c];
    for (ptrdiff_t number = lo; number < hi; number++) {
        const fc_softmax_item item = fc_softmax_item_of(a, number);
        FC_FN(read_losses)(a, &item, smoothing / (double)a->C * weights, &losses);
        FC_FN(loss_slopes)(a, &item, &losses);
    }
}

const fc_softmax_kernels FC_FN(fc_softmax) = {
    .log_softmax = FC_FN(log_softmax),
    .log_softmax_grad = FC_FN(log_softmax_grad),
    .cross_entropy = FC_FN(cross_entropy),
    .cross_entropy_grad = FC_FN(cross_entropy_grad),
};
