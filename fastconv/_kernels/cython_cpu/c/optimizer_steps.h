/* Steps of the optimisers over blocks of FC_ELEMENTS elements: everything is read and written once. */
#include "elementwise_args.h"
#include "vector.h"

#ifndef FASTCONV_OPTIMIZER_STEPS_H
#define FASTCONV_OPTIMIZER_STEPS_H
/* The order of contract.SGD_SETTINGS and contract.ADAM_SETTINGS. */
enum { FC_SGD_LR, FC_SGD_DECAY, FC_SGD_MOMENTUM, FC_SGD_SHARE, FC_SGD_NESTEROV, FC_SGD_BEGINS };
enum { FC_ADAM_STEP, FC_ADAM_DECAY, FC_ADAM_SHRINK, FC_ADAM_SHARE, FC_ADAM_KEEP, FC_ADAM_SQUARE_SHARE, FC_ADAM_ROOT,
       FC_ADAM_EPS };
#endif

/* grad with the decay that belongs in it; without decay an infinite parameter must not make NaN. */
FC_INLINE void FC_FN(decayed)(const real *restrict grad, const real *restrict p, real decay, real *restrict out,
                              ptrdiff_t count) {
    if (decay == 0)
        memcpy(out, grad, (size_t)count * sizeof(real));
    else
        for (ptrdiff_t i = 0; i < count; i++) out[i] = grad[i] + decay * p[i];
}

FC_INLINE void FC_FN(with_momentum)(real *restrict grad, real *restrict momentum, const double *s, ptrdiff_t count) {
    const real keep = (real)s[FC_SGD_MOMENTUM], share = (real)s[FC_SGD_SHARE];
    if (s[FC_SGD_BEGINS] != 0)
        memcpy(momentum, grad, (size_t)count * sizeof(real));
    else
        for (ptrdiff_t i = 0; i < count; i++) momentum[i] = momentum[i] * keep + share * grad[i];
    if (s[FC_SGD_NESTEROV] != 0)
        for (ptrdiff_t i = 0; i < count; i++) grad[i] += keep * momentum[i];
    else
        memcpy(grad, momentum, (size_t)count * sizeof(real));
}

static void FC_FN(sgd_step)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_step_args *a = ctx;
    const real lr = (real)a->settings[FC_SGD_LR], decay = (real)a->settings[FC_SGD_DECAY];
    real grad[FC_ELEMENTS];
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t at = item * FC_ELEMENTS, left = a->count - at, count = left < FC_ELEMENTS ? left : FC_ELEMENTS;
        real *p = (real *)a->parameter + at;
        FC_FN(decayed)((const real *)a->grad + at, p, decay, grad, count);
        if (a->first != NULL) FC_FN(with_momentum)(grad, (real *)a->first + at, a->settings, count);
        for (ptrdiff_t i = 0; i < count; i++) p[i] -= lr * grad[i];
    }
}

/* The running means of grad and of its square. */
FC_INLINE void FC_FN(running_means)(const real *restrict grad, real *restrict mean, real *restrict square,
                                    const double *s, ptrdiff_t count) {
    const real share = (real)s[FC_ADAM_SHARE], keep = (real)s[FC_ADAM_KEEP], new_square = (real)s[FC_ADAM_SQUARE_SHARE];
    for (ptrdiff_t i = 0; i < count; i++) {
        mean[i] += share * (grad[i] - mean[i]);
        square[i] = square[i] * keep + new_square * (grad[i] * grad[i]);
    }
}

/* NaN stays, wherever it comes from. */
FC_INLINE void FC_FN(keep_largest)(const real *restrict square, real *restrict largest, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++)
        largest[i] = (square[i] > largest[i]) | (square[i] != square[i]) ? square[i] : largest[i];
}

static void FC_FN(adam_step)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_step_args *a = ctx;
    const double *s = a->settings;
    const real step = (real)s[FC_ADAM_STEP], shrink = (real)s[FC_ADAM_SHRINK];
    const real root = (real)s[FC_ADAM_ROOT], eps = (real)s[FC_ADAM_EPS];
    real grad[FC_ELEMENTS];
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t at = item * FC_ELEMENTS, left = a->count - at, count = left < FC_ELEMENTS ? left : FC_ELEMENTS;
        real *restrict p = (real *)a->parameter + at, *mean = (real *)a->first + at, *square = (real *)a->second + at;
        if (shrink != 1)
            for (ptrdiff_t i = 0; i < count; i++) p[i] *= shrink;
        FC_FN(decayed)((const real *)a->grad + at, p, (real)s[FC_ADAM_DECAY], grad, count);
        FC_FN(running_means)(grad, mean, square, s, count);
        if (a->largest != NULL) {
            real *largest = (real *)a->largest + at;
            FC_FN(keep_largest)(square, largest, count);
            square = largest;
        }
        for (ptrdiff_t i = 0; i < count; i++) p[i] -= step * (mean[i] / (FC_SQRT(square[i]) / root + eps));
    }
}
