/* grad_input of a pointwise convolution of few pixels: a few rows of weights at a time are read from one end to the
 * other, as they are, and added to the gradients of all pixels. */

#ifndef FASTCONV_SWEEP_H
#define FASTCONV_SWEEP_H
/* Pixels of a tile, whose sums are registers. */
enum { FC_SWEEP_PIXELS = 6 };
#define FC_FORESEE(o) \
    if (o < V) __builtin_prefetch(w_ + rows * step + o * FC_LANES, 0, 2);
#define FC_SWEPT(place, step, o, p) (*(vec *)(place + p * step + o * FC_LANES))
#define FC_ADD_SWEPT(o, p) \
    if (o < V && p < P) acc_##o##_##p += FC_SWEPT(sums, a->sums_step, o, p);
#define FC_KEEP_SWEPT(o, p) \
    if (o < V && p < P) FC_SWEPT(sums, a->sums_step, o, p) = acc_##o##_##p;
#define FC_ADD_TARGET(o, p) \
    if (o < V && p < P) acc_##o##_##p += FC_SWEPT(target, step, o, p);
#define FC_STORE_TARGET(o, p) \
    if (o < V && p < P) FC_SWEPT(target, step, o, p) = acc_##o##_##p;

/* One sweep: `step` leads from row to row of weights and from pixel to pixel of the target, `shift` and `sums_step` to
 * the next pixel of grad_out and of the sums. first, last: of a block of rows; fresh: nothing is in the target yet. */
typedef struct {
    ptrdiff_t rows, step, shift, sums_step, vectors;
    int first, last, fresh;
} fc_row_sweep;
#endif

/* Some vectors of all rows, times the rows' grad_out of every pixel. As much is asked for of what comes next. */
FC_INLINE void FC_FN(sweep_vectors)(const int V, const int P, const fc_row_sweep *a, const real *grad_out,
                                    const real *weight, real *sums, real *target) {
    const ptrdiff_t rows = a->rows, shift = a->shift, step = a->step;
    const real *a_ = grad_out, *b_ = a_ + 3 * shift, *c_ = b_ + 3 * shift, *d_ = c_ + 3 * shift, *w_ = weight;
    FC_EACH(FC_DECLARE)
    FC_EACH(FC_CLEAR)
    for (ptrdiff_t t = rows; t > 0; t--) {
        FC_EACH_VECTOR(FC_LOAD)
        FC_COLUMNS(FC_BROADCAST)
        FC_EACH_VECTOR(FC_FORESEE)
        a_++, b_++, c_++, d_++, w_ += step;
    }
    if (!a->first) {
        FC_EACH(FC_ADD_SWEPT)
    }
    if (!a->last) {
        FC_EACH(FC_KEEP_SWEPT)
        return;
    }
    if (!a->fresh) {
        FC_EACH(FC_ADD_TARGET)
    }
    FC_EACH(FC_STORE_TARGET)
}

typedef void (*FC_FN(sweep_fn))(const fc_row_sweep *, const real *grad_out, const real *weight, real *sums,
                                real *target);

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                                \
    static __attribute__((noinline)) void FC_FN(sweep_##P)(const fc_row_sweep *a, const real *grad_out,              \
                                                           const real *weight, real *sums, real *target) {           \
        ptrdiff_t i = 0;                                                                                             \
        const ptrdiff_t end = a->vectors * FC_LANES, size = V * FC_LANES;                                            \
        for (; i + size <= end; i += size)                                                                           \
            FC_FN(sweep_vectors)(V, P, a, grad_out, weight + i, sums + i, target + i);                               \
        for (; i < end; i += FC_LANES)                                                                               \
            FC_FN(sweep_vectors)(1, P, a, grad_out, weight + i, sums + i, target + i);                               \
    }
#define FC_TILE_NAME(V, P) FC_FN(sweep_##P)
FC_6(FC_TILE, FC_MAX_VECTORS)
static const FC_FN(sweep_fn) FC_FN(sweeps)[FC_SWEEP_PIXELS] = {FC_6(FC_LISTED, FC_MAX_VECTORS)};

/* One item per `width` vectors of input channels. */
static void FC_FN(sweep)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_sweep_args *a = ctx;
    const ptrdiff_t all = a->C / FC_LANES, tiles = (a->pixels + FC_SWEEP_PIXELS - 1) / FC_SWEEP_PIXELS;
    real *sums = (real *)(a->scratch + slot * a->scratch_bytes);
    fc_row_sweep s = {.step = a->C, .shift = a->K, .sums_step = a->width * FC_LANES};
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t first = item * a->width;
        s.vectors = all - first < a->width ? all - first : a->width;
        for (ptrdiff_t k = 0; k < a->K; k += a->rows) {
            const real *weight = (const real *)a->weight + k * a->C + first * FC_LANES;
            s.rows = a->K - k < a->rows ? a->K - k : a->rows;
            s.first = k % a->block == 0;
            s.last = (k + s.rows) % a->block == 0 || k + s.rows == a->K;
            s.fresh = k < a->block;
            for (ptrdiff_t t = 0; t < tiles; t++) {
                const ptrdiff_t p = t * a->pixels / tiles, end = (t + 1) * a->pixels / tiles;
                FC_FN(sweeps)[end - p - 1]
                (&s, (const real *)a->grad_out + p * a->K + k, weight, sums + p * s.sums_step,
                 (real *)a->grad_input + p * a->C + first * FC_LANES);
            }
        }
    }
}

const fc_sweep_kernels FC_FN(fc_sweep) = {.lanes = FC_LANES, .sweep = FC_FN(sweep)};
