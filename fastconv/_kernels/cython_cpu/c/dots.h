/* The microkernel for few target channels: sums along the lanes instead of one sum per lane.
 *
 *   out[o][p] = sum over lanes of acc[o][p];  acc[o][p] += w[e + t * w_step + o * w_shift] * x[e + t * x_step + p * x_shift]
 *
 * for whole vectors of w and x. With a vector of target channels most lanes would be empty. */

#undef FC_MOST_SUMS
#define FC_MOST_SUMS ((24 + FC_LANES - 1) / FC_LANES * FC_LANES)

#ifndef FASTCONV_DOTS_H
#define FASTCONV_DOTS_H
/* A compiler would rather load a vector once for each product than keep it. */
#if FC_VECTOR_BYTES == 64
#define FC_IN_REGISTER(value) __asm__("" : "+v"(value))
#elif defined(__x86_64__)
#define FC_IN_REGISTER(value) __asm__("" : "+x"(value))
#elif defined(__aarch64__)
#define FC_IN_REGISTER(value) __asm__("" : "+w"(value))
#else
#define FC_IN_REGISTER(value) (void)(value)
#endif
#define FC_LOAD_WEIGHTS(o)                                          \
    vec w_##o = o < V ? *(const vec *)(w_ + o * w_shift) : (vec){0}; \
    if (o < V)                                                      \
        FC_IN_REGISTER(w_##o);
#define FC_LOAD_PIXEL(p, base, times)                                   \
    vec x_##p = p < P ? *(const vec *)(base + times * shift) : (vec){0}; \
    if (p < P)                                                          \
        FC_IN_REGISTER(x_##p);
#define FC_KEEP_DOT(o, p) \
    if (o < V && p < P) sums[p * V + o] = acc_##o##_##p;
#endif

/* Sum i of the result is the sum of all lanes of values[i]: halves are interleaved and added until one vector is left. */
FC_INLINE vec FC_FN(lane_sums)(vec *values) {
#pragma GCC unroll 4
    for (ptrdiff_t half = FC_LANES / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (ptrdiff_t i = 0; i < half; i++)
            values[i] = FC_LOW(values[i], values[i + half]) + FC_HIGH(values[i], values[i + half]);
    return values[0];
}

/* Sum i belongs to column i / V and output channel i % V. */
FC_INLINE void FC_FN(store_dots)(const int V, const int P, const fc_panel *a, const real *sums, real *target) {
    const real *bias = a->bias;
    const int adds = a->ending & FC_BIAS_LANES, rectifies = a->ending & FC_RELU, caps = a->ending & FC_RELU6;
#pragma GCC unroll 12
    for (int p = 0; p < P; p++, target += a->target_step)
#pragma GCC unroll 4
        for (int o = 0; o < V; o++) {
            const real sum = adds ? sums[p * V + o] + bias[o] : sums[p * V + o];
            target[o * a->target_shift] = rectifies && sum < 0 ? 0 : caps && sum > 6 ? 6 : sum;
        }
}

FC_INLINE void FC_FN(dots)(const int V, const int P, const fc_panel *a, const real *x, const real *w, real *target) {
    const ptrdiff_t shift = a->x_shift, w_shift = a->w_shift;
    const int64_t *entry = a->entries;
    FC_EACH(FC_DECLARE)
    FC_EACH(FC_CLEAR)
    for (ptrdiff_t e = 0; e < a->entry_count; e++, entry += 2) {
        const real *a_ = x + entry[0], *b_ = a_ + 3 * shift, *c_ = b_ + 3 * shift, *d_ = c_ + 3 * shift;
        const real *w_ = w + entry[1];
        for (ptrdiff_t t = a->count; t > 0; t--) {
            FC_EACH_VECTOR(FC_LOAD_WEIGHTS)
            FC_COLUMNS(FC_LOAD_PIXEL)
            a_ += FC_LANES, b_ += FC_LANES, c_ += FC_LANES, d_ += FC_LANES, w_ += FC_LANES;
        }
    }
    vec sums[FC_MOST_SUMS] = {{0}};
    FC_EACH(FC_KEEP_DOT)
#pragma GCC unroll 12
    for (ptrdiff_t i = 0; i < V * P; i += FC_LANES) sums[i / FC_LANES] = FC_FN(lane_sums)(sums + i);
    FC_FN(store_dots)(V, P, a, (const real *)sums, target);
}

#undef FC_TILE
#undef FC_TILE_NAME
#define FC_TILE(V, P)                                                                                            \
    static __attribute__((noinline)) void FC_FN(dots_##V##x##P)(const fc_panel *a, const real *x, const real *w, \
                                                                real *sums, real *target) {                      \
        (void)sums;                                                                                              \
        FC_FN(dots)(V, P, a, x, w, target);                                                                      \
    }
#define FC_TILE_NAME(V, P) FC_FN(dots_##V##x##P)
FC_TILES
static const FC_FN(panel_fn) FC_FN(dots_tiles)[FC_MAX_VECTORS][FC_MOST_COLUMNS] = {FC_TILE_NAMES};
