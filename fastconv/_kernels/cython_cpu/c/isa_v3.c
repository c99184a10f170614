/* x86-64-v3: AVX2 and FMA: 16 registers, tiles of 2 vectors x 6. */
#if defined(__x86_64__)
#define FC_LEVEL 3
#define FC_VECTOR_BYTES 32
#define FC_MAX_VECTORS 2
#include "instantiate.h"
#else
typedef int fc_no_x86_level_3;
#endif
