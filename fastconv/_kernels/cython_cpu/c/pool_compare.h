/* Comparisons of whole vectors, in the processor's own words where compilers find them hard to guess:
 * FC_UNORDERED(a, b): whether a lane has a NaN;
 * FC_POOL_WINNER(a, b, tap, winner): tap where a is larger, else winner; FC_POOL_LOAD(place, lanes, padding): what is at
 * a place where lanes are set, else padding. */
#include "larger.h"
#undef FC_UNORDERED
#undef FC_POOL_WINNER
#undef FC_POOL_LOAD
#undef FC_POOL_STORE
#undef FC_POOL_BYTES
#undef FC_POOL_ADD_WON
#undef FC_POOL_ADD_IF
#undef FC_POOL_LOAD_PLACES
typedef uint8_t FC_FN(pool_bytes) __attribute__((vector_size(FC_LANES), aligned(1), may_alias));
#undef FC_POOL_FOLD
#if defined(__x86_64__) && FC_VECTOR_BYTES == 64 && FC_REAL_BYTES == 4
#define FC_UNORDERED(a, b) ((int)_mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_UNORD_Q))
#define FC_POOL_WINNER(a, b, tap, winner)                                                                           \
    ((FC_FN(fc_mask))_mm512_mask_mov_epi32((__m512i)(winner), _mm512_cmp_ps_mask((__m512)(a), (__m512)(b), _CMP_GT_OQ), \
                                           (__m512i)(tap)))
#define FC_POOL_LOAD(place, lanes, padding) ((vec)_mm512_mask_loadu_ps(_mm512_set1_ps(padding), (__mmask16)(lanes), place))
#define FC_POOL_STORE(place, lanes, value) _mm512_mask_storeu_ps(place, (__mmask16)(lanes), (__m512)(value))
#define FC_POOL_BYTES(tap) ((FC_FN(pool_bytes))_mm512_cvtepi32_epi8((__m512i)(tap)))
#define FC_POOL_ADD_WON(sum, value, offsets, tap)                                                                       \
    ((vec)_mm512_mask_add_ps((__m512)(sum),                                                                             \
                             _mm_cmpeq_epi8_mask(_mm_loadu_si128((const __m128i *)(offsets)), _mm_set1_epi8((char)(tap))), \
                             (__m512)(sum), (__m512)(value)))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 64
#define FC_POOL_STORE(place, lanes, value) _mm512_mask_storeu_pd(place, (__mmask8)(lanes), (__m512d)(value))
#define FC_POOL_ADD_WON(sum, value, offsets, tap)                                                                       \
    ((vec)_mm512_mask_add_pd((__m512d)(sum),                                                                            \
                             (__mmask8)_mm_cmpeq_epi8_mask(_mm_loadl_epi64((const __m128i *)(offsets)),                  \
                                                           _mm_set1_epi8((char)(tap))),                                  \
                             (__m512d)(sum), (__m512d)(value)))
#define FC_POOL_LOAD(place, lanes, padding) ((vec)_mm512_mask_loadu_pd(_mm512_set1_pd(padding), (__mmask8)(lanes), place))
#define FC_UNORDERED(a, b) ((int)_mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_UNORD_Q))
#define FC_POOL_WINNER(a, b, tap, winner)                                                                             \
    ((FC_FN(fc_mask))_mm512_mask_mov_epi64((__m512i)(winner), _mm512_cmp_pd_mask((__m512d)(a), (__m512d)(b), _CMP_GT_OQ), \
                                           (__m512i)(tap)))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32 && FC_REAL_BYTES == 4
#define FC_UNORDERED(a, b) _mm256_movemask_ps(_mm256_cmp_ps((__m256)(a), (__m256)(b), _CMP_UNORD_Q))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 32
#define FC_UNORDERED(a, b) _mm256_movemask_pd(_mm256_cmp_pd((__m256d)(a), (__m256d)(b), _CMP_UNORD_Q))
#elif defined(__x86_64__) && FC_REAL_BYTES == 4
#define FC_UNORDERED(a, b) _mm_movemask_ps(_mm_cmpunord_ps((__m128)(a), (__m128)(b)))
#elif defined(__x86_64__)
#define FC_UNORDERED(a, b) _mm_movemask_pd(_mm_cmpunord_pd((__m128d)(a), (__m128d)(b)))
#else
static inline int FC_FN(pool_unordered)(vec a, vec b) {
    const FC_FN(fc_mask) found = (FC_FN(fc_mask))(a != a) | (FC_FN(fc_mask))(b != b);
    int any = 0;
    for (int lane = 0; lane < FC_LANES; lane++) any |= found[lane] != 0;
    return any;
}
#define FC_UNORDERED(a, b) FC_FN(pool_unordered)(a, b)
#endif
#ifndef FC_POOL_WINNER
static inline FC_FN(fc_mask) FC_FN(pool_replaced)(vec a, vec b, FC_FN(fc_mask) tap, FC_FN(fc_mask) winner) {
    const FC_FN(fc_mask) wins = (FC_FN(fc_mask))(a > b);
    return (wins & tap) | (~wins & winner);
}
#define FC_POOL_WINNER(a, b, tap, winner) FC_FN(pool_replaced)(a, b, tap, winner)
#endif
#ifndef FC_POOL_BYTES
#define FC_POOL_BYTES(tap) __builtin_convertvector(tap, FC_FN(pool_bytes))
#endif
/* Some winners, and the sum plus a value where they are a tap. */
#ifdef FC_POOL_ADD_WON
#define FC_POOL_LOAD_PLACES(place, lanes) _mm_maskz_loadu_epi8((__mmask16)(lanes), place)
#if FC_REAL_BYTES == 4
#define FC_POOL_ADD_IF(sum, value, places, tap)                                                                    \
    ((vec)_mm512_mask_add_ps((__m512)(sum), _mm_cmpeq_epi8_mask(places, _mm_set1_epi8((char)(tap))), (__m512)(sum), \
                             (__m512)(value)))
#else
#define FC_POOL_ADD_IF(sum, value, places, tap)                                                                 \
    ((vec)_mm512_mask_add_pd((__m512d)(sum), (__mmask8)_mm_cmpeq_epi8_mask(places, _mm_set1_epi8((char)(tap))), \
                             (__m512d)(sum), (__m512d)(value)))
#endif
#else
#define FC_POOL_ADD_IF(sum, value, places, tap) \
    ((sum) + (vec)((FC_FN(fc_mask))((places) == (tap)) & (FC_FN(fc_mask))(value)))
#endif

/* The sum of all lanes: that of their two halves, added lane by lane, and so on. */
#if defined(__x86_64__) && FC_VECTOR_BYTES == 64 && FC_REAL_BYTES == 4
#define FC_POOL_FOLD(value) _mm512_reduce_add_ps((__m512)(value))
#elif defined(__x86_64__) && FC_VECTOR_BYTES == 64
#define FC_POOL_FOLD(value) _mm512_reduce_add_pd((__m512d)(value))
#else
static inline real FC_FN(pool_fold)(vec value) {
    for (ptrdiff_t half = FC_LANES / 2; half > 0; half /= 2)
        for (ptrdiff_t lane = 0; lane < half; lane++) value[lane] += value[lane + half];
    return value[0];
}
#define FC_POOL_FOLD(value) FC_FN(pool_fold)(value)
#endif
