/* What every machine of this architecture runs. */
#define FC_LEVEL 0
#define FC_VECTOR_BYTES 16
#define FC_MAX_VECTORS 2
#include "instantiate.h"
