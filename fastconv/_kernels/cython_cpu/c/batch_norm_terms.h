/* What one round adds to the sums of batch normalisation. With d = x - origin, the sums are those of v and of v * d, where
 * v is d itself, or the gradient there: with a rectifier behind, only where its input is not below or at zero. */
#include "batch_norm_args.h"
#include "vector.h"

/* Lane j has the coefficients of its own channel where `each` is 1, all have the same where it is 0. */
FC_INLINE void FC_FN(add_each)(const real *restrict x, const real *restrict grad, const real *restrict origin,
                               ptrdiff_t C, ptrdiff_t each, int relu, real *restrict sums, real *restrict products,
                               ptrdiff_t count) {
    const real *restrict scale = origin + C, *restrict shift = scale + C;
    for (ptrdiff_t j = 0; j < count; j++) {
        const real d = x[j] - origin[j * each];
        const real v = grad == NULL ? d : relu && d * scale[j * each] + shift[j * each] <= 0 ? 0 : grad[j];
        sums[j] += v;
        products[j] += v * d;
    }
}

/* Compilers make a loop of each case. */
FC_INLINE void FC_FN(add_terms)(const real *x, const real *grad, const real *origin, ptrdiff_t C, ptrdiff_t each,
                                int relu, real *sums, real *products, ptrdiff_t count) {
    if (grad == NULL) FC_FN(add_each)(x, NULL, origin, C, each, 0, sums, products, count);
    else if (!relu) FC_FN(add_each)(x, grad, origin, C, each, 0, sums, products, count);
    else FC_FN(add_each)(x, grad, origin, C, each, 1, sums, products, count);
}

/* What was added in real numbers goes to the sums in double. */
static void FC_FN(settle)(real *restrict added, double *restrict sums, ptrdiff_t count) {
    for (ptrdiff_t j = 0; j < count; j++) sums[j] += added[j];
    memset(added, 0, (size_t)count * sizeof(real));
}
