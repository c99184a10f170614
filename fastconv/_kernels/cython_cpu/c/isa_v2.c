/* x86-64-v2: SSE 4.2, no FMA. */
#if defined(__x86_64__)
#define FC_LEVEL 2
#define FC_VECTOR_BYTES 16
#define FC_MAX_VECTORS 2
#include "instantiate.h"
#else
typedef int fc_no_x86_level_2;
#endif
