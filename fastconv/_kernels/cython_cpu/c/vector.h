/* A vector of the instruction set that is compiled for. */
#undef vec
#undef FC_LANES
#undef FC_LINE
#define vec FC_FN(fc_vec)
#define FC_LANES ((ptrdiff_t)(FC_VECTOR_BYTES / sizeof(real)))
/* Elements of a cache line. */
#define FC_LINE (FC_LINE_BYTES / (ptrdiff_t)sizeof(real))

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef FC_INTEGER FC_FN(fc_mask) __attribute__((vector_size(FC_VECTOR_BYTES)));

#ifndef FASTCONV_VECTOR_H
#define FASTCONV_VECTOR_H
#define FC_LINE_BYTES ((ptrdiff_t)64)
#define FC_INLINE static inline __attribute__((always_inline))
/* Lanes of two vectors, numbered one after the other. */
#if defined(__clang__) || __GNUC__ >= 12
#define FC_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FC_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__((a) < (b))){__VA_ARGS__})
#endif
/* Where an instruction may take its operand from memory, compilers fold a load into each instruction that uses it. */
#if defined(__x86_64__) && FC_VECTOR_BYTES > 16
#define FC_LOAD_ONCE(value) __asm__("" : "+v"(value))
#else
#define FC_LOAD_ONCE(value) ((void)0)
#endif
#endif
