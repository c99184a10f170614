/* From a buffer in the first cache past the caches: target and buffer are aligned to vectors. */
#include "stream.h"
#include "vector.h"

FC_INLINE void FC_FN(stream_copy)(real *target, const real *buffer, ptrdiff_t count) {
    ptrdiff_t i = 0;
    for (; i + FC_LANES <= count; i += FC_LANES) FC_STREAM_STORE((vec *)(target + i), *(const vec *)(buffer + i));
    for (; i < count; i++) target[i] = buffer[i];
}
