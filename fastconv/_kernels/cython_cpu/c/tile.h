/* The microkernel: up to 4 vectors x 6 columns of sums in named registers (an indexed array of them would spill).
 *
 *   acc[o][p] += w[t][o] * broadcast(x[t * step + p * shift])   for t = 0 .. count - 1
 *
 * A function that uses it takes V and P as compile-time constants; unused registers vanish. */
#undef vec
#undef FC_LANES
#define vec FC_FN(fc_vec)
#define FC_LANES ((ptrdiff_t)(FC_VECTOR_BYTES / sizeof(real)))
/* Output channels that one tile owns at most. */
#define FC_BLOCK (FC_MAX_VECTORS * FC_LANES)

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#ifndef FASTCONV_TILE_H
#define FASTCONV_TILE_H

#define FC_TILE_COLUMNS 6
#define FC_INLINE static inline __attribute__((always_inline))

#define FC_COLUMNS(M, o) M(o, 0) M(o, 1) M(o, 2) M(o, 3) M(o, 4) M(o, 5)
#define FC_EACH(M) FC_COLUMNS(M, 0) FC_COLUMNS(M, 1) FC_COLUMNS(M, 2) FC_COLUMNS(M, 3)

#define FC_ZERO(o, p) vec acc_##o##_##p = {0};
#define FC_MULTIPLY_ADD(o, p) \
    if (o < V && p < P) acc_##o##_##p += w_##o * x_[p * shift_];
#define FC_LOAD(o) vec w_##o = o < V ? *(const vec *)(w_ + o * FC_LANES) : (vec){0};

#define FC_PANEL(count, w, x, step, shift)                              \
    do {                                                                \
        const real *w_ = (w), *x_ = (x);                                \
        const ptrdiff_t step_ = (step), shift_ = (shift);               \
        for (ptrdiff_t t_ = (count); t_ > 0; t_--) {                    \
            FC_LOAD(0) FC_LOAD(1) FC_LOAD(2) FC_LOAD(3)                 \
            FC_EACH(FC_MULTIPLY_ADD)                                    \
            w_ += V * FC_LANES;                                         \
            x_ += step_;                                                \
        }                                                               \
    } while (0)

/* sums[p][o] += acc, acc = 0: long sums are cut into blocks, which keeps their rounding error small. */
#define FC_FLUSH(o, p)                                     \
    if (o < V && p < P) {                                  \
        *(vec *)(sums + (p * V + o) * FC_LANES) += acc_##o##_##p; \
        acc_##o##_##p = (vec){0};                          \
    }

/* Calls function(V, P, ...) with constants. */
#define FC_WITH_COLUMNS(function, V, P, ...)              \
    switch (P) {                                          \
        case 1: function(V, 1, __VA_ARGS__); break;       \
        case 2: function(V, 2, __VA_ARGS__); break;       \
        case 3: function(V, 3, __VA_ARGS__); break;       \
        case 4: function(V, 4, __VA_ARGS__); break;       \
        case 5: function(V, 5, __VA_ARGS__); break;       \
        default: function(V, 6, __VA_ARGS__); break;      \
    }

#if FC_MAX_VECTORS == 4
#define FC_WITH_CONSTANTS(function, vectors, P, ...)                       \
    switch (vectors) {                                                     \
        case 1: FC_WITH_COLUMNS(function, 1, P, __VA_ARGS__) break;        \
        case 2: FC_WITH_COLUMNS(function, 2, P, __VA_ARGS__) break;        \
        case 3: FC_WITH_COLUMNS(function, 3, P, __VA_ARGS__) break;        \
        default: FC_WITH_COLUMNS(function, 4, P, __VA_ARGS__) break;       \
    }
#else
#define FC_WITH_CONSTANTS(function, vectors, P, ...)                       \
    switch (vectors) {                                                     \
        case 1: FC_WITH_COLUMNS(function, 1, P, __VA_ARGS__) break;        \
        default: FC_WITH_COLUMNS(function, 2, P, __VA_ARGS__) break;       \
    }
#endif

#endif
