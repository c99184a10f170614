/* Rows of weights times windows, whose terms lie together in both: sums along the lanes, V rows x P images.
 *
 *   sums[p][o] += w[t + o * w_shift] * x[t + p * x_shift] over whole vectors t, and a last one that overlaps them */

#ifndef FASTCONV_LOCAL_DOTS_H
#define FASTCONV_LOCAL_DOTS_H
#define FC_LOAD_TAIL_WEIGHTS(o)                                                                          \
    const vec w_##o = o < V ? FC_FN(masked)(*(const vec *)(w_ + o * w_shift), d->tail_mask) : (vec){0};
#define FC_LOAD_TAIL_PIXEL(p, base, times)                                                               \
    const vec x_##p = p < P ? FC_FN(masked)(*(const vec *)(base + times * shift), d->tail_mask) : (vec){0};
#define FC_DOT_PLACE(o, p) (*(vec *)(sums + (p * FC_LANES + o) * FC_LANES))
#define FC_KEEP_LANES(o, p) \
    if (o < V && p < P) FC_DOT_PLACE(o, p) = acc_##o##_##p;
#define FC_ADD_KEPT(o, p) \
    if (o < V && p < P) FC_DOT_PLACE(o, p) += acc_##o##_##p;
#define FC_FROM(origin) \
    const real *a_ = origin, *b_ = a_ + 3 * shift, *c_ = b_ + 3 * shift, *d_ = c_ + 3 * shift;
#endif

/* Terms in whole vectors, `block` of which are summed in one go; the last ones, `tail` elements behind the first, where
 * they fill none: only their lanes are set in the mask. */
typedef struct {
    ptrdiff_t w_shift, x_shift, whole, block, tail;
    int has_tail;
    FC_FN(fc_mask) tail_mask;
} FC_FN(local_dot);

FC_INLINE vec FC_FN(masked)(vec value, FC_FN(fc_mask) mask) { return (vec)((FC_FN(fc_mask))value & mask); }

FC_INLINE void FC_FN(local_dots)(const int V, const int P, const FC_FN(local_dot) *d, const real *w, const real *x,
                                 real *sums) {
    const ptrdiff_t shift = d->x_shift, w_shift = d->w_shift;
    FC_EACH(FC_DECLARE)
    for (ptrdiff_t begin = 0;; begin += d->block) {
        const ptrdiff_t left = d->whole - begin;
        FC_EACH(FC_CLEAR)
        {
            FC_FROM(x + begin * FC_LANES)
            const real *w_ = w + begin * FC_LANES;
            for (ptrdiff_t t = left < d->block ? left : d->block; t > 0; t--) {
                FC_EACH_VECTOR(FC_LOAD_WEIGHTS)
                FC_COLUMNS(FC_LOAD_PIXEL)
                a_ += FC_LANES, b_ += FC_LANES, c_ += FC_LANES, d_ += FC_LANES, w_ += FC_LANES;
            }
        }
        if (left <= d->block && d->has_tail) {
            FC_FROM(x + d->tail)
            const real *w_ = w + d->tail;
            FC_EACH_VECTOR(FC_LOAD_TAIL_WEIGHTS)
            FC_COLUMNS(FC_LOAD_TAIL_PIXEL)
        }
        if (begin == 0) {
            FC_EACH(FC_KEEP_LANES)
        } else {
            FC_EACH(FC_ADD_KEPT)
        }
        if (left <= d->block)
            return;
    }
}

/* The same, in the same order, of one image: row after row, as they lie in memory, since no processor foresees several
 * rows at once. */
static void FC_FN(local_rows)(const FC_FN(local_dot) *d, const real *w, const real *x, ptrdiff_t rows, real *sums) {
    const ptrdiff_t end = d->whole * FC_LANES, block = d->block * FC_LANES;
    for (ptrdiff_t r = 0; r < rows; r++, w += d->w_shift, sums += FC_LANES) {
        vec total = {0};
        for (ptrdiff_t begin = 0;; begin += block) {
            const ptrdiff_t stop = end - begin < block ? end : begin + block;
            vec acc = {0};
            for (ptrdiff_t t = begin; t < stop; t += FC_LANES) acc += *(const vec *)(w + t) * *(const vec *)(x + t);
            if (stop == end && d->has_tail)
                acc += FC_FN(masked)(*(const vec *)(w + d->tail), d->tail_mask) *
                       FC_FN(masked)(*(const vec *)(x + d->tail), d->tail_mask);
            total += acc;
            if (stop == end)
                break;
        }
        *(vec *)sums = total;
    }
}

typedef void (*FC_FN(local_dots_fn))(const FC_FN(local_dot) *, const real *w, const real *x, real *sums);

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                           \
    static __attribute__((noinline)) void FC_FN(local_dots_##V##x##P)(const FC_FN(local_dot) *d, const real *w, \
                                                                      const real *x, real *sums) {              \
        FC_FN(local_dots)(V, P, d, w, x, sums);                                                                 \
    }
#define FC_TILE_NAME(V, P) FC_FN(local_dots_##V##x##P)
FC_TILES
static const FC_FN(local_dots_fn) FC_FN(local_tiles)[FC_MAX_VECTORS][FC_MOST_COLUMNS] = {FC_TILE_NAMES};
