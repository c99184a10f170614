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
#define FC_INLINE static inline __attribute__((always_inline))
#endif
