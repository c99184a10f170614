/* What some rows of values add to the sums of batch normalisation. With d = x - origin, the sums are those of v and of
 * v * d, where v is d itself, or the gradient there: with a rectifier behind, only where its input is not below or at
 * zero. */
#include "batch_norm_args.h"
#include "vector.h"

/* Rows are `step` apart. Lane j has the coefficients of its own channel where `each` is 1, all have the same where it
 * is 0. */
FC_INLINE void FC_FN(add_each)(const int rows, const real *restrict x, const real *restrict grad, ptrdiff_t step,
                               const real *restrict origin, ptrdiff_t C, ptrdiff_t each, int relu, real *restrict sums,
                               real *restrict products, ptrdiff_t count) {
    const real *restrict scale = origin + C, *restrict shift = scale + C;
    for (ptrdiff_t j = 0; j < count; j++) {
        real sum = sums[j], product = products[j];
#pragma GCC unroll 4
        for (int row = 0; row < rows; row++) {
            const real d = x[row * step + j] - origin[j * each];
            /* Read in any case: vectors have no branches. */
            const real there = grad == NULL ? d : grad[row * step + j];
            const real v = relu && d * scale[j * each] + shift[j * each] <= 0 ? 0 : there;
            sum += v;
            product += v * d;
        }
        sums[j] = sum;
        products[j] = product;
    }
}

/* Compilers make a loop of each case. */
FC_INLINE void FC_FN(add_rows)(const int rows, const real *x, const real *grad, ptrdiff_t step, const real *origin,
                               ptrdiff_t C, ptrdiff_t each, int relu, real *sums, real *products, ptrdiff_t count) {
    if (grad == NULL) FC_FN(add_each)(rows, x, NULL, step, origin, C, each, 0, sums, products, count);
    else if (!relu) FC_FN(add_each)(rows, x, grad, step, origin, C, each, 0, sums, products, count);
    else FC_FN(add_each)(rows, x, grad, step, origin, C, each, 1, sums, products, count);
}

/* Sums are in registers for FC_NORM_TOGETHER rows at a time. */
FC_INLINE void FC_FN(add_terms)(ptrdiff_t rows, const real *x, const real *grad, ptrdiff_t step, const real *origin,
                                ptrdiff_t C, ptrdiff_t each, int relu, real *sums, real *products, ptrdiff_t count) {
    ptrdiff_t row = 0;
    for (; row + FC_NORM_TOGETHER <= rows; row += FC_NORM_TOGETHER) {
        const real *there = grad == NULL ? NULL : grad + row * step;
        FC_FN(add_rows)(FC_NORM_TOGETHER, x + row * step, there, step, origin, C, each, relu, sums, products, count);
    }
    for (; row < rows; row++) {
        const real *there = grad == NULL ? NULL : grad + row * step;
        FC_FN(add_rows)(1, x + row * step, there, step, origin, C, each, relu, sums, products, count);
    }
}

/* What was added in real numbers goes to the sums in double. */
static void FC_FN(settle)(real *restrict added, double *restrict sums, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) sums[j] += added[j];
    memset(added, 0, (size_t)count * sizeof(real));
}

/* A sum over values about which others are summed must be a number: what is infinite stays in those. */
FC_INLINE real FC_FN(origin_of)(double sum, ptrdiff_t count) {
    const real origin = (real)(sum / (double)count);
    return origin - origin == 0 ? origin : 0;
}
