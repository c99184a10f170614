/* What every machine of this architecture runs. */
#define FC_LEVEL 0
#define FC_VECTOR_BYTES 16
#if defined(__aarch64__) /* NEON: 32 registers */
#define FC_MAX_VECTORS 4
#if !defined(__clang__)
/* GCC would load pixels and weights so early that some sums have no register left. */
#pragma GCC optimize("no-schedule-insns")
#endif
#else
#define FC_MAX_VECTORS 2
#endif
#include "instantiate.h"
