/* Sums over all values of a channel: mean and variance, and what the gradient needs. */
#include "batch_norm_terms.h"

/* Where channels are together: the sums of rows lo .. hi - 1. */
static void FC_FN(sum_rows)(const fc_norm_args *a, const real *grad_out, const real *origin, ptrdiff_t lo, ptrdiff_t hi,
                            real *added, double *sums) {
    const ptrdiff_t C = a->C;
    memset(added, 0, (size_t)(2 * C) * sizeof(real));
    memset(sums, 0, (size_t)(2 * C) * sizeof(double));
    for (ptrdiff_t first = lo; first < hi; first += FC_NORM_ROWS) {
        const ptrdiff_t last = hi - first < FC_NORM_ROWS ? hi : first + FC_NORM_ROWS;
        const real *x = (const real *)a->x + first * C, *grad = grad_out == NULL ? NULL : grad_out + first * C;
        FC_FN(add_terms)(last - first, x, grad, C, origin, C, 1, a->relu, added, added + C, C);
        FC_FN(settle)(added, sums, 2 * C);
    }
}

/* The mean of the first rows of an item, about which its variance is summed: one in FC_NORM_SHARE rows. */
static void FC_FN(origin_of_rows)(const fc_norm_args *a, ptrdiff_t lo, ptrdiff_t hi, real *restrict origin) {
    const ptrdiff_t rows = (hi - lo + FC_NORM_SHARE - 1) / FC_NORM_SHARE, C = a->C;
    const real *restrict x = (const real *)a->x + lo * C;
    ptrdiff_t row = 0;
    memset(origin, 0, (size_t)C * sizeof(real));
    for (; row + 4 <= rows; row += 4, x += 4 * C)
        for (ptrdiff_t c = 0; c < C; c++) origin[c] += (x[c] + x[c + C]) + (x[c + 2 * C] + x[c + 3 * C]);
    for (; row < rows; row++, x += C)
        for (ptrdiff_t c = 0; c < C; c++) origin[c] += x[c];
    for (ptrdiff_t c = 0; c < C; c++) origin[c] = FC_FN(origin_of)(origin[c], rows);
}

static ptrdiff_t FC_FN(item_end)(const fc_norm_args *a, ptrdiff_t item) {
    const ptrdiff_t rows = a->N * a->pixels, end = (item + 1) * a->item_rows;
    return end < rows ? end : rows;
}

/* Mean and sum of squares about it, of every item of rows. */
static void FC_FN(moments_rows)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    real *origin = (real *)(a->scratch + slot * a->scratch_bytes);
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t begin = item * a->item_rows, end = FC_FN(item_end)(a, item);
        const double count = (double)(end - begin);
        double *mean = a->partials + 2 * item * a->C, *square = mean + a->C;
        FC_FN(origin_of_rows)(a, begin, end, origin);
        FC_FN(sum_rows)(a, NULL, origin, begin, end, origin + a->C, mean);
        for (ptrdiff_t c = 0; c < a->C; c++) {
            square[c] -= mean[c] * mean[c] / count;
            mean[c] = origin[c] + mean[c] / count;
        }
    }
}

/* Means and sums of squares of two sets make those of both (Chan, Golub and LeVeque 1983); items in order. */
static void FC_FN(moments_merge)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    const ptrdiff_t begin = lo * FC_NORM_CHANNELS, end = hi * FC_NORM_CHANNELS < a->C ? hi * FC_NORM_CHANNELS : a->C;
    (void)slot;
    for (ptrdiff_t c = begin; c < end; c++) {
        double mean = 0, square = 0, total = 0, sum = 0;
        for (ptrdiff_t item = 0; item < a->items; item++) {
            const double *partial = a->partials + 2 * item * a->C + c;
            const double count = (double)(FC_FN(item_end)(a, item) - item * a->item_rows);
            const double distance = partial[0] - mean, share = count / (total + count);
            mean += distance * share;
            square += partial[a->C] + distance * distance * total * share;
            sum += partial[0] * count;
            total += count;
        }
        /* The distance from what is infinite is no number. */
        a->sums[c] = mean == mean ? mean : sum / total;
        a->other_sums[c] = square < 0 ? 0 : square / total;
    }
}

/* The sums that the gradient needs, of every item of rows. */
static void FC_FN(sums_rows)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    real *added = (real *)(a->scratch + slot * a->scratch_bytes);
    for (ptrdiff_t item = lo; item < hi; item++)
        FC_FN(sum_rows)(a, a->grad_out, a->coefficients, item * a->item_rows, FC_FN(item_end)(a, item), added,
                        a->partials + 2 * item * a->C);
}

static void FC_FN(sums_merge)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    const ptrdiff_t begin = lo * FC_NORM_CHANNELS, end = hi * FC_NORM_CHANNELS < a->C ? hi * FC_NORM_CHANNELS : a->C;
    (void)slot;
    for (ptrdiff_t c = begin; c < end; c++) {
        double sum = 0, product = 0;
        for (ptrdiff_t item = 0; item < a->items; item++) {
            sum += a->partials[2 * item * a->C + c];
            product += a->partials[(2 * item + 1) * a->C + c];
        }
        a->sums[c] = sum;
        a->sums[a->C + c] = product;
    }
}

/* The sum of all lanes: that of their two halves, added lane by lane, and so on. */
static double FC_FN(sum_lanes)(double *lanes) {
#pragma GCC unroll 8
    for (ptrdiff_t half = FC_NORM_LANES / 2; half > 0; half /= 2)
        for (ptrdiff_t j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return lanes[0];
}

/* Where pixels are together: the two sums of channel c. */
static void FC_FN(sum_planes)(const fc_norm_args *a, const real *grad_out, ptrdiff_t c, const real *origin,
                              double *sums) {
    real added[2 * FC_NORM_LANES] = {0};
    double lanes[2 * FC_NORM_LANES] = {0};
    const ptrdiff_t step = a->C * a->pixels;
    ptrdiff_t rounds = 0;
    for (ptrdiff_t n = 0; n < a->N; n += FC_NORM_TOGETHER) {
        const ptrdiff_t planes = a->N - n < FC_NORM_TOGETHER ? a->N - n : FC_NORM_TOGETHER;
        for (ptrdiff_t p = 0; p < a->pixels; p += FC_NORM_LANES, rounds += FC_NORM_TOGETHER) {
            const ptrdiff_t count = a->pixels - p < FC_NORM_LANES ? a->pixels - p : FC_NORM_LANES;
            const ptrdiff_t at = n * step + c * a->pixels + p;
            const real *grad = grad_out == NULL ? NULL : grad_out + at;
            if (rounds == FC_NORM_ROWS) {
                FC_FN(settle)(added, lanes, 2 * FC_NORM_LANES);
                rounds = 0;
            }
            FC_FN(add_terms)(planes, (const real *)a->x + at, grad, step, origin, a->C, 0, a->relu, added,
                             added + FC_NORM_LANES, count);
        }
    }
    FC_FN(settle)(added, lanes, 2 * FC_NORM_LANES);
    sums[0] = FC_FN(sum_lanes)(lanes), sums[1] = FC_FN(sum_lanes)(lanes + FC_NORM_LANES);
}

/* The mean of a channel's first values, about which its variance is summed. */
static real FC_FN(origin_of_planes)(const fc_norm_args *a, ptrdiff_t c) {
    double lanes[FC_NORM_LANES] = {0};
    ptrdiff_t count = 0;
    for (ptrdiff_t n = 0; n < a->N && count < FC_NORM_ORIGIN; n++) {
        const ptrdiff_t left = FC_NORM_ORIGIN - count, more = a->pixels < left ? a->pixels : left;
        const real *x = (const real *)a->x + (n * a->C + c) * a->pixels;
        for (ptrdiff_t p = 0; p < more; p++) lanes[p] += x[p];
        count += more;
    }
    return FC_FN(origin_of)(FC_FN(sum_lanes)(lanes), count);
}

static void FC_FN(moments_planes)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    const double count = (double)(a->N * a->pixels);
    (void)slot;
    for (ptrdiff_t c = lo; c < hi; c++) {
        const real origin = FC_FN(origin_of_planes)(a, c);
        double sums[2];
        FC_FN(sum_planes)(a, NULL, c, &origin, sums);
        const double square = sums[1] - sums[0] * sums[0] / count;
        a->sums[c] = origin + sums[0] / count;
        a->other_sums[c] = square < 0 ? 0 : square / count;
    }
}

static void FC_FN(sums_planes)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_norm_args *a = ctx;
    (void)slot;
    for (ptrdiff_t c = lo; c < hi; c++) {
        double sums[2];
        FC_FN(sum_planes)(a, a->grad_out, c, (const real *)a->coefficients + c, sums);
        a->sums[c] = sums[0];
        a->sums[a->C + c] = sums[1];
    }
}
