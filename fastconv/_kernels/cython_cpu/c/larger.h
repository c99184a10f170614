/* FC_LARGER(a, b): a where it is larger, else b, also where either is NaN, and of zeros of either sign; FC_SMALLER the
 * same where a is smaller. In the processor's own words, which compilers find hard to guess. */
#include "vector.h"
#undef FC_LARGER
#undef FC_SMALLER
#undef FC_REGISTER
#undef FC_IN_REGISTERS
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__x86_64__) && FC_VECTOR_BYTES == 64 && FC_REAL_BYTES == 4
#define FC_REGISTER __m512
#define FC_IN_REGISTERS(name) _mm512_##name##_ps
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 64
#define FC_REGISTER __m512d
#define FC_IN_REGISTERS(name) _mm512_##name##_pd
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32 && FC_REAL_BYTES == 4
#define FC_REGISTER __m256
#define FC_IN_REGISTERS(name) _mm256_##name##_ps
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32
#define FC_REGISTER __m256d
#define FC_IN_REGISTERS(name) _mm256_##name##_pd
#elif defined(__x86_64__) && FC_REAL_BYTES == 4
#define FC_REGISTER __m128
#define FC_IN_REGISTERS(name) _mm_##name##_ps
#elif defined(__x86_64__)
#define FC_REGISTER __m128d
#define FC_IN_REGISTERS(name) _mm_##name##_pd
#endif
#if defined(__x86_64__)
#define FC_LARGER(a, b) ((vec)FC_IN_REGISTERS(max)((FC_REGISTER)(a), (FC_REGISTER)(b)))
#define FC_SMALLER(a, b) ((vec)FC_IN_REGISTERS(min)((FC_REGISTER)(a), (FC_REGISTER)(b)))
#else
FC_INLINE vec FC_FN(picked)(FC_FN(fc_mask) wins, vec a, vec b) {
    return (vec)((wins & (FC_FN(fc_mask))a) | (~wins & (FC_FN(fc_mask))b));
}
#define FC_LARGER(a, b) FC_FN(picked)((a) > (b), a, b)
#define FC_SMALLER(a, b) FC_FN(picked)((a) < (b), a, b)
#endif
