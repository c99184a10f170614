/* Sums over classes in lanes: of FC_SOFTMAX_LANES pixels or, where there is a single one, of as many of its classes. */
#include "exponential.h"
#include "softmax_args.h"

#ifndef FASTCONV_SOFTMAX_LANES_H
#define FASTCONV_SOFTMAX_LANES_H
/* Some pixels of one image: the first element in (N, C, pixels) and in (N, pixels), and how many there are. */
typedef struct {
    ptrdiff_t first, pixel, count;
} fc_softmax_item;

/* How an item is read: rounds of `lanes` values, `step` apart; `rest` values more where that is not 0. */
typedef struct {
    ptrdiff_t rounds, lanes, step, rest;
} fc_softmax_rounds;

FC_INLINE fc_softmax_item fc_softmax_item_of(const fc_softmax_args *a, ptrdiff_t item) {
    const ptrdiff_t runs = (a->pixels + FC_SOFTMAX_LANES - 1) / FC_SOFTMAX_LANES;
    const ptrdiff_t n = item / runs, p = item % runs * FC_SOFTMAX_LANES, left = a->pixels - p;
    const ptrdiff_t count = left < FC_SOFTMAX_LANES ? left : FC_SOFTMAX_LANES;
    return (fc_softmax_item){n * a->C * a->pixels + p, n * a->pixels + p, count};
}

/* Whether lanes are classes. */
FC_INLINE int fc_softmax_is_row(const fc_softmax_args *a) { return a->pixels == 1; }

FC_INLINE fc_softmax_rounds fc_softmax_rounds_of(const fc_softmax_args *a, const fc_softmax_item *item) {
    const ptrdiff_t lanes = FC_SOFTMAX_LANES;
    if (fc_softmax_is_row(a)) return (fc_softmax_rounds){a->C / lanes, lanes, lanes, a->C % lanes};
    return (fc_softmax_rounds){a->C, item->count, a->pixels, 0};
}
#endif

FC_INLINE void FC_FN(compare_round)(const real *restrict x, real *restrict largest, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) largest[j] = x[j] > largest[j] ? x[j] : largest[j];
}

/* The largest value of every pixel, or -inf where all are NaN: the sum of exponentials is NaN then, too. */
static void FC_FN(largest_of)(const fc_softmax_args *a, const fc_softmax_item *item, const real *x, real *largest) {
    const fc_softmax_rounds s = fc_softmax_rounds_of(a, item);
    const ptrdiff_t used = s.rounds ? s.lanes : s.rest;
    for (ptrdiff_t j = 0; j < used; j++) largest[j] = FC_MINUS_INFINITY;
    for (ptrdiff_t round = 0; round < s.rounds; round++, x += s.step) FC_FN(compare_round)(x, largest, s.lanes);
    if (s.rest) FC_FN(compare_round)(x, largest, s.rest);
    for (ptrdiff_t left = used; fc_softmax_is_row(a) && left > 1; left -= left / 2)
        FC_FN(compare_round)(largest + (left - left / 2), largest, left / 2);
}

/* Lane j has the largest value of its own pixel where `each` is 1, all have the same where it is 0. */
FC_INLINE void FC_FN(add_round)(const real *restrict x, const real *restrict largest, ptrdiff_t each,
                                double *restrict sums, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++)
        sums[j] += largest == NULL ? x[j] : FC_FN(exponential)(x[j] - largest[j * each]);
}

/* The sums of exp(x - largest), or of x where there is no largest, in double: most exponentials are small beside 1. */
FC_INLINE void FC_FN(sums_in_lanes)(fc_softmax_rounds s, const real *x, const real *largest, ptrdiff_t each,
                                    double *restrict sums) {
    for (ptrdiff_t j = 0; j < (s.rounds ? s.lanes : s.rest); j++) sums[j] = 0;
    for (ptrdiff_t round = 0; round < s.rounds; round++, x += s.step)
        FC_FN(add_round)(x, largest, each, sums, s.lanes);
    if (s.rest) FC_FN(add_round)(x, largest, each, sums, s.rest);
}

/* The sum of every pixel. */
static void FC_FN(sums_of)(const fc_softmax_args *a, const fc_softmax_item *item, const real *x, const real *largest,
                           double *sums) {
    const fc_softmax_rounds s = fc_softmax_rounds_of(a, item);
    if (largest == NULL) FC_FN(sums_in_lanes)(s, x, NULL, 0, sums);
    else if (fc_softmax_is_row(a)) FC_FN(sums_in_lanes)(s, x, largest, 0, sums);
    else FC_FN(sums_in_lanes)(s, x, largest, 1, sums);
    for (ptrdiff_t left = s.rounds ? s.lanes : s.rest; fc_softmax_is_row(a) && left > 1; left -= left / 2)
        for (ptrdiff_t j = 0; j < left / 2; j++) sums[j] += sums[j + left - left / 2];
}
