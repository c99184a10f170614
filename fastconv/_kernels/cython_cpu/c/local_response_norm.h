/* Normalisation across channels. With s = k + alpha * (the sum of the squares that a channel sees) it is x * s^-beta, and
 * its gradient grad * s^-beta - 2 * alpha * beta * x * (the sum of grad * x * s^(-beta - 1) over the channels that see
 * it). Loops run along pixels, or along the channels of single pixels; compilers make vectors of them. */
#include "local_response_norm_args.h"
#include "vector.h"

#ifndef FASTCONV_LOCAL_RESPONSE_NORM_H
#define FASTCONV_LOCAL_RESPONSE_NORM_H
/* The order of contract.RESPONSE_SETTINGS. */
enum { FC_RESPONSE_ALPHA, FC_RESPONSE_BETA, FC_RESPONSE_K };
/* Powers that are roots. */
enum { FC_POWER_THREE_QUARTERS, FC_POWER_HALF, FC_POWER_ONE, FC_POWER_ANY };

static inline int fc_power(double beta) {
    return beta == 0.75  ? FC_POWER_THREE_QUARTERS
           : beta == 0.5 ? FC_POWER_HALF
           : beta == 1.0 ? FC_POWER_ONE
                         : FC_POWER_ANY;
}

/* Calls function(POWER, ...) with a constant. */
#define FC_WITH_POWER(function, power, ...)                                                        \
    switch (power) {                                                                               \
        case FC_POWER_THREE_QUARTERS: function(FC_POWER_THREE_QUARTERS, __VA_ARGS__); break;       \
        case FC_POWER_HALF: function(FC_POWER_HALF, __VA_ARGS__); break;                           \
        case FC_POWER_ONE: function(FC_POWER_ONE, __VA_ARGS__); break;                             \
        default: function(FC_POWER_ANY, __VA_ARGS__);                                              \
    }
#endif

/* Some neighbouring values of one image: of a channel from some pixel on, or of a pixel from channel c on. Channels are
 * step elements apart. */
typedef struct {
    ptrdiff_t c, count, step;
    int along_channels;
} FC_FN(response_run);

FC_INLINE real FC_FN(to_power)(const int power, real s, double beta) {
    const real root = FC_SQRT(s);
    return power == FC_POWER_THREE_QUARTERS ? root * FC_SQRT(root)
           : power == FC_POWER_HALF         ? root
           : power == FC_POWER_ONE          ? s
                                            : (real)__builtin_pow((double)s, beta);
}

FC_INLINE void FC_FN(add_terms_of)(const int square, const real *restrict terms, real *restrict total, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) total[i] += square ? terms[i] * terms[i] : terms[i];
}

/* total = the sums of values, or of their squares, over the channels around those of the run. */
FC_INLINE void FC_FN(sum_around)(const int square, const FC_FN(response_run) *run, const real *values, ptrdiff_t C,
                                 ptrdiff_t before, ptrdiff_t behind, real *restrict total) {
    for (ptrdiff_t i = 0; i < run->count; i++) total[i] = 0;
    if (run->along_channels) {
        const ptrdiff_t end = run->c + run->count;
        const ptrdiff_t nearest = -before > 1 - end ? -before : 1 - end, furthest = behind < C - 1 - run->c ? behind : C - 1 - run->c;
        for (ptrdiff_t d = nearest; d <= furthest; d++) {
            const ptrdiff_t lo = run->c > -d ? run->c : -d, hi = end < C - d ? end : C - d;
            FC_FN(add_terms_of)(square, values + lo + d, total + lo - run->c, hi - lo);
        }
        return;
    }
    const ptrdiff_t first = run->c > before ? run->c - before : 0, last = run->c + behind < C ? run->c + behind : C - 1;
    for (ptrdiff_t c = first; c <= last; c++) FC_FN(add_terms_of)(square, values + c * run->step, total, run->count);
}

FC_INLINE void FC_FN(response_values)(const int power, const real *restrict x, const real *restrict total,
                                      const double *settings, real *restrict out, ptrdiff_t count) {
    const real alpha = (real)settings[FC_RESPONSE_ALPHA], k = (real)settings[FC_RESPONSE_K];
    const double beta = settings[FC_RESPONSE_BETA];
    for (ptrdiff_t i = 0; i < count; i++) out[i] = x[i] / FC_FN(to_power)(power, k + alpha * total[i], beta);
}

/* The first term of the gradient, and what others see of it. */
FC_INLINE void FC_FN(response_terms)(const int power, const real *restrict x, const real *restrict grad,
                                     const real *restrict total, const double *settings, real *restrict out,
                                     real *restrict terms, ptrdiff_t count) {
    const real alpha = (real)settings[FC_RESPONSE_ALPHA], k = (real)settings[FC_RESPONSE_K];
    const double beta = settings[FC_RESPONSE_BETA];
    for (ptrdiff_t i = 0; i < count; i++) {
        const real s = k + alpha * total[i], scaled = grad[i] / FC_FN(to_power)(power, s, beta);
        out[i] = scaled;
        terms[i] = scaled * x[i] / s;
    }
}

FC_INLINE void FC_FN(subtract_seen)(const real *restrict x, const real *restrict total, real factor, real *restrict out,
                                    ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i++) out[i] -= factor * x[i] * total[i];
}

/* The run of an image's channels from c on; of a single pixel, as many as there is room for. */
FC_INLINE FC_FN(response_run) FC_FN(response_run_at)(const fc_response_args *a, ptrdiff_t c, ptrdiff_t pixels) {
    const ptrdiff_t left = a->C - c, channels = left < FC_RESPONSE_LANES ? left : FC_RESPONSE_LANES;
    const int along_channels = a->pixels == 1;
    return (FC_FN(response_run)){c, along_channels ? channels : pixels, a->pixels, along_channels};
}

/* The pixels of one image from `at` on. */
FC_INLINE void FC_FN(response_forward)(const int power, const fc_response_args *a, ptrdiff_t at, ptrdiff_t pixels) {
    real total[FC_RESPONSE_LANES] __attribute__((aligned(64)));
    const real *x = (const real *)a->x + at;
    real *out = (real *)a->target + at;
    FC_FN(response_run) run;
    for (ptrdiff_t c = 0; c < a->C; c += run.along_channels ? run.count : 1) {
        run = FC_FN(response_run_at)(a, c, pixels);
        const ptrdiff_t place = c * run.step;
        FC_FN(sum_around)(1, &run, x, a->C, a->before, a->behind, total);
        FC_FN(response_values)(power, x + place, total, a->settings, out + place, run.count);
    }
}

FC_INLINE void FC_FN(response_grad)(const int power, const fc_response_args *a, real *terms, ptrdiff_t at,
                                    ptrdiff_t pixels) {
    real total[FC_RESPONSE_LANES] __attribute__((aligned(64)));
    const real *x = (const real *)a->x + at, *grad = (const real *)a->grad_out + at;
    const real factor = (real)(2 * a->settings[FC_RESPONSE_ALPHA] * a->settings[FC_RESPONSE_BETA]);
    real *out = (real *)a->target + at;
    FC_FN(response_run) run;
    for (ptrdiff_t c = 0; c < a->C; c += run.along_channels ? run.count : 1) {
        run = FC_FN(response_run_at)(a, c, pixels);
        const ptrdiff_t place = c * run.step, own = run.along_channels ? c : c * pixels;
        FC_FN(sum_around)(1, &run, x, a->C, a->before, a->behind, total);
        FC_FN(response_terms)
        (power, x + place, grad + place, total, a->settings, out + place, terms + own, run.count);
    }
    for (ptrdiff_t c = 0; c < a->C; c += run.along_channels ? run.count : 1) {
        run = FC_FN(response_run_at)(a, c, pixels);
        const ptrdiff_t place = c * run.step;
        run.step = run.along_channels ? 1 : pixels;
        /* Who sees a channel lies the other way round. */
        FC_FN(sum_around)(0, &run, terms, a->C, a->behind, a->before, total);
        FC_FN(subtract_seen)(x + place, total, factor, out + place, run.count);
    }
}

/* Calls DO(power, element at which an item's pixels of one image begin, how many they are). */
#define FC_EACH_RESPONSE(DO)                                                                                          \
    const fc_response_args *a = ctx;                                                                                  \
    const int power = fc_power(a->settings[FC_RESPONSE_BETA]);                                                        \
    const ptrdiff_t blocks = (a->pixels + FC_RESPONSE_LANES - 1) / FC_RESPONSE_LANES;                                 \
    for (ptrdiff_t item = lo; item < hi; item++) {                                                                    \
        const ptrdiff_t begin = item / blocks * a->images, first = item % blocks * FC_RESPONSE_LANES;                 \
        const ptrdiff_t end = begin + a->images < a->N ? begin + a->images : a->N, left = a->pixels - first;          \
        const ptrdiff_t pixels = left < FC_RESPONSE_LANES ? left : FC_RESPONSE_LANES;                                 \
        for (ptrdiff_t n = begin; n < end; n++) DO(n * a->C * a->pixels + first, pixels)                              \
    }

static void FC_FN(response_forward_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    (void)slot;
#define FC_RESPONSE_FORWARD(at, pixels) FC_WITH_POWER(FC_FN(response_forward), power, a, at, pixels)
    FC_EACH_RESPONSE(FC_RESPONSE_FORWARD)
#undef FC_RESPONSE_FORWARD
}

static void FC_FN(response_grad_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    real *terms = (real *)(((fc_response_args *)ctx)->scratch + slot * ((fc_response_args *)ctx)->scratch_bytes);
#define FC_RESPONSE_GRAD(at, pixels) FC_WITH_POWER(FC_FN(response_grad), power, a, terms, at, pixels)
    FC_EACH_RESPONSE(FC_RESPONSE_GRAD)
#undef FC_RESPONSE_GRAD
}
#undef FC_EACH_RESPONSE

const fc_response_kernels FC_FN(fc_response) = {
    .forward = FC_FN(response_forward_items),
    .grad_input = FC_FN(response_grad_items),
};
