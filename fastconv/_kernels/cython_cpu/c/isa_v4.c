/* x86-64-v4: AVX-512: 32 registers, tiles of 4 vectors x 6. */
#if defined(__x86_64__)
#define FC_LEVEL 4
#define FC_VECTOR_BYTES 64
#define FC_MAX_VECTORS 4
#include "instantiate.h"
#else
typedef int fc_no_x86_level_4;
#endif
