/* Includes the kernels of one operation (FC_KERNELS) for every dtype, under names that carry dtype and level.
 * The including file has set FC_LEVEL, FC_VECTOR_BYTES and FC_MAX_VECTORS. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FC_JOIN_(name, type, level) name##_##type##_##level
#define FC_JOIN(name, type, level) FC_JOIN_(name, type, level)
#define FC_FN(name) FC_JOIN(name, FC_TYPE, FC_LEVEL)

#define FC_TYPE float32
#define real float
#define FC_REAL_BYTES 4
#define FC_INTEGER int32_t
#define FC_UNSIGNED uint32_t
#define FC_MINUS_INFINITY (-__builtin_inff())
#define FC_SQRT(value) __builtin_sqrtf(value)
#include FC_KERNELS
#undef FC_TYPE
#undef real
#undef FC_REAL_BYTES
#undef FC_INTEGER
#undef FC_UNSIGNED
#undef FC_MINUS_INFINITY
#undef FC_SQRT

#define FC_TYPE float64
#define real double
#define FC_REAL_BYTES 8
#define FC_INTEGER int64_t
#define FC_UNSIGNED uint64_t
#define FC_MINUS_INFINITY (-__builtin_inf())
#define FC_SQRT(value) __builtin_sqrt(value)
#include FC_KERNELS
