/* A vector of the instruction set that is compiled for. */
#undef vec
#undef FC_LANES
#undef FC_LINE
#define vec FC_FN(fc_vec)
#define FC_LANES ((ptrdiff_t)(FC_VECTOR_BYTES / sizeof(real)))
/* Elements of a cache line. */
#define FC_LINE ((ptrdiff_t)(64 / sizeof(real)))

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef FC_INTEGER FC_FN(fc_mask) __attribute__((vector_size(FC_VECTOR_BYTES)));

#ifndef FASTCONV_VECTOR_H
#define FASTCONV_VECTOR_H
/* Lanes of two vectors, which are numbered one after the other. */
#if defined(__clang__) || __GNUC__ >= 12
#define FC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__((a) < (b))){__VA_ARGS__})
#endif
#define FC_INLINE static inline __attribute__((always_inline))
#endif
