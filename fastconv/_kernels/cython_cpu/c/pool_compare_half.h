/* What pool_compare.h says of whole vectors, of halves of those of 64 bytes: narrow planes do not fill more. */
#undef FC_UNORDERED
#undef FC_LARGER
#undef FC_POOL_WINNER
#undef FC_POOL_LOAD
#undef FC_POOL_STORE
#undef FC_POOL_BYTES
#undef FC_POOL_LOAD_PLACES
#undef FC_POOL_ADD_IF
#if FC_REAL_BYTES == 4
#define FC_UNORDERED(a, b) ((int)_mm256_cmp_ps_mask((__m256)(a), (__m256)(b), _CMP_UNORD_Q))
#define FC_LARGER(a, b) ((slid)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define FC_POOL_WINNER(a, b, tap, winner)                                                                              \
    ((FC_S(fc_slid_mask))_mm256_mask_mov_epi32((__m256i)(winner), _mm256_cmp_ps_mask((__m256)(a), (__m256)(b), _CMP_GT_OQ), \
                                               (__m256i)(tap)))
#define FC_POOL_LOAD(place, lanes, padding) ((slid)_mm256_mask_loadu_ps(_mm256_set1_ps(padding), (__mmask8)(lanes), place))
#define FC_POOL_STORE(place, lanes, value) _mm256_mask_storeu_ps(place, (__mmask8)(lanes), (__m256)(value))
#define FC_POOL_ADD_IF(sum, value, places, tap)                                                                     \
    ((slid)_mm256_mask_add_ps((__m256)(sum), (__mmask8)_mm_cmpeq_epi8_mask(places, _mm_set1_epi8((char)(tap))),     \
                              (__m256)(sum), (__m256)(value)))
#else
#define FC_UNORDERED(a, b) ((int)_mm256_cmp_pd_mask((__m256d)(a), (__m256d)(b), _CMP_UNORD_Q))
#define FC_LARGER(a, b) ((slid)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#define FC_POOL_WINNER(a, b, tap, winner)                                                                                \
    ((FC_S(fc_slid_mask))_mm256_mask_mov_epi64((__m256i)(winner), _mm256_cmp_pd_mask((__m256d)(a), (__m256d)(b), _CMP_GT_OQ), \
                                               (__m256i)(tap)))
#define FC_POOL_LOAD(place, lanes, padding) ((slid)_mm256_mask_loadu_pd(_mm256_set1_pd(padding), (__mmask8)(lanes), place))
#define FC_POOL_STORE(place, lanes, value) _mm256_mask_storeu_pd(place, (__mmask8)(lanes), (__m256d)(value))
#define FC_POOL_ADD_IF(sum, value, places, tap)                                                                     \
    ((slid)_mm256_mask_add_pd((__m256d)(sum), (__mmask8)_mm_cmpeq_epi8_mask(places, _mm_set1_epi8((char)(tap))),    \
                              (__m256d)(sum), (__m256d)(value)))
#endif
#define FC_POOL_BYTES(tap) __builtin_convertvector(tap, FC_S(pool_bytes))
#define FC_POOL_LOAD_PLACES(place, lanes) _mm_maskz_loadu_epi8((__mmask16)(lanes), place)
