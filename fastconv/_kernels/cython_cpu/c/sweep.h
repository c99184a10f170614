/* grad_input of a pointwise convolution of few pixels: a few rows of weights at a time are read from one end to the other,
 * as they are, and added to the gradients of all pixels. */

#ifndef FASTCONV_SWEEP_H
#define FASTCONV_SWEEP_H
/* Pixels of a tile, whose sums are registers. */
enum { FC_SWEEP_PIXELS = 6 };
#define FC_FORESEE(o) \
    if (o < V) __builtin_prefetch(w_ + rows * w_step + o * FC_LANES, 0, 2);
#define FC_STORE_SUM(o, p) \
    if (o < V && p < P) *(vec *)(target + p * w_step + o * FC_LANES) = acc_##o##_##p;
#define FC_ADD_TARGET(o, p) \
    if (o < V && p < P) acc_##o##_##p += *(const vec *)(target + p * w_step + o * FC_LANES);
#endif

/* Some vectors of some rows of weights, w_step apart as the pixels of the target are: every pixel's grad_out, x_step
 * apart, times all rows. Meanwhile as much is asked for of the rows that come next. */
FC_INLINE void FC_FN(sweep_vectors)(const int V, const int P, ptrdiff_t rows, const real *grad_out, ptrdiff_t shift,
                                    const real *weight, real *target, ptrdiff_t w_step, int first) {
    const real *a_ = grad_out, *b_ = a_ + 3 * shift, *c_ = b_ + 3 * shift, *d_ = c_ + 3 * shift, *w_ = weight;
    FC_EACH(FC_DECLARE)
    FC_EACH(FC_CLEAR)
    for (ptrdiff_t t = rows; t > 0; t--) {
        FC_EACH_VECTOR(FC_LOAD)
        FC_COLUMNS(FC_BROADCAST)
        FC_EACH_VECTOR(FC_FORESEE)
        a_++, b_++, c_++, d_++, w_ += w_step;
    }
    if (!first) {
        FC_EACH(FC_ADD_TARGET)
    }
    FC_EACH(FC_STORE_SUM)
}

typedef void (*FC_FN(sweep_fn))(ptrdiff_t rows, const real *grad_out, ptrdiff_t shift, const real *weight, real *target,
                                ptrdiff_t w_step, ptrdiff_t vectors, int first);

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                                 \
    static __attribute__((noinline)) void FC_FN(sweep_##P)(ptrdiff_t rows, const real *grad_out, ptrdiff_t shift,     \
                                                           const real *weight, real *target, ptrdiff_t w_step,        \
                                                           ptrdiff_t vectors, int first) {                            \
        ptrdiff_t i = 0;                                                                                              \
        for (; i + V <= vectors; i += V)                                                                              \
            FC_FN(sweep_vectors)                                                                                      \
            (V, P, rows, grad_out, shift, weight + i * FC_LANES, target + i * FC_LANES, w_step, first);               \
        for (; i < vectors; i++)                                                                                      \
            FC_FN(sweep_vectors)                                                                                      \
            (1, P, rows, grad_out, shift, weight + i * FC_LANES, target + i * FC_LANES, w_step, first);               \
    }
#define FC_TILE_NAME(V, P) FC_FN(sweep_##P)
FC_6(FC_TILE, FC_MAX_VECTORS)
static const FC_FN(sweep_fn) FC_FN(sweeps)[FC_SWEEP_PIXELS] = {FC_6(FC_LISTED, FC_MAX_VECTORS)};

/* One item per `width` vectors of input channels. */
static void FC_FN(sweep)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_sweep_args *a = ctx;
    const ptrdiff_t all = a->C / FC_LANES, tiles = (a->pixels + FC_SWEEP_PIXELS - 1) / FC_SWEEP_PIXELS;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t first = item * a->width, vectors = all - first < a->width ? all - first : a->width;
        for (ptrdiff_t k = 0; k < a->K; k += a->rows) {
            const ptrdiff_t rows = a->K - k < a->rows ? a->K - k : a->rows;
            const real *weight = (const real *)a->weight + k * a->C + first * FC_LANES;
            for (ptrdiff_t t = 0; t < tiles; t++) {
                const ptrdiff_t p = t * a->pixels / tiles, end = (t + 1) * a->pixels / tiles;
                FC_FN(sweeps)[end - p - 1]
                (rows, (const real *)a->grad_out + p * a->K + k, a->K, weight,
                 (real *)a->grad_input + p * a->C + first * FC_LANES, a->C, vectors, k == 0);
            }
        }
    }
}

const fc_sweep_kernels FC_FN(fc_sweep) = {.lanes = FC_LANES, .sweep = FC_FN(sweep)};
