/* FC_LARGER(a, b): a where it is larger, else b, also where either is NaN, and of zeros of either sign; in the processor's
 * own words, which compilers find hard to guess. */
#include "vector.h"
#undef FC_LARGER
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__x86_64__) && FC_VECTOR_BYTES == 64 && FC_REAL_BYTES == 4
#define FC_LARGER(a, b) ((vec)_mm512_max_ps((__m512)(a), (__m512)(b)))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 64
#define FC_LARGER(a, b) ((vec)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32 && FC_REAL_BYTES == 4
#define FC_LARGER(a, b) ((vec)_mm256_max_ps((__m256)(a), (__m256)(b)))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32
#define FC_LARGER(a, b) ((vec)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#elif defined(__x86_64__) && FC_REAL_BYTES == 4
#define FC_LARGER(a, b) ((vec)_mm_max_ps((__m128)(a), (__m128)(b)))
#elif defined(__x86_64__)
#define FC_LARGER(a, b) ((vec)_mm_max_pd((__m128d)(a), (__m128d)(b)))
#else
FC_INLINE vec FC_FN(larger)(vec a, vec b) {
    const FC_FN(fc_mask) wins = a > b;
    return (vec)((wins & (FC_FN(fc_mask))a) | (~wins & (FC_FN(fc_mask))b));
}
#define FC_LARGER(a, b) FC_FN(larger)(a, b)
#endif
