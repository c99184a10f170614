/* Which instruction set this machine has, as a level: 0 plain, 2 x86-64-v2, 3 v3 (AVX2), 4 v4 (AVX-512). */
#ifndef FASTCONV_ISA_H
#define FASTCONV_ISA_H

#include <stdlib.h>

#if defined(__x86_64__)
#define FC_HAS_X86_LEVELS 1
#else
#define FC_HAS_X86_LEVELS 0
#endif

static inline int fc_machine_level(void) {
#if FC_HAS_X86_LEVELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 4;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2"))
        return 3;
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
        return 2;
#endif
    return 0;
}

/* The level to use: FASTCONV_ISA (0, 2, 3 or 4) can only lower what the machine has. */
static inline int fc_isa_level(void) {
    const char *asked = getenv("FASTCONV_ISA");
    int level = fc_machine_level();
    if (asked != NULL && *asked >= '0' && *asked <= '4' && *asked - '0' < level)
        level = *asked - '0';
    return level == 1 ? 0 : level;
}

/* The tables of kernels of an operation, one per dtype and level, as name_float32_4 of type name_kernels, and
 * name_select(itemsize), the one of this machine's level. */
#define FC_TABLES(name)                                                      \
    FC_DECLARE_TABLES(name)                                                  \
    static inline const name##_kernels *name##_select(int itemsize) {        \
        const int level = fc_isa_level();                                    \
        return FC_SELECT(name, level, itemsize);                             \
    }
#define FC_CHOOSE(name, level, itemsize) (itemsize == 8 ? &name##_float64_##level : &name##_float32_##level)
#if FC_HAS_X86_LEVELS
#define FC_DECLARE_TABLES(name)                                                                         \
    extern const name##_kernels name##_float32_0, name##_float32_2, name##_float32_3, name##_float32_4; \
    extern const name##_kernels name##_float64_0, name##_float64_2, name##_float64_3, name##_float64_4;
#define FC_SELECT(name, level, itemsize)                 \
    (level == 4   ? FC_CHOOSE(name, 4, itemsize)         \
     : level == 3 ? FC_CHOOSE(name, 3, itemsize)         \
     : level == 2 ? FC_CHOOSE(name, 2, itemsize)         \
                  : FC_CHOOSE(name, 0, itemsize))
#else
#define FC_DECLARE_TABLES(name) extern const name##_kernels name##_float32_0, name##_float64_0;
#define FC_SELECT(name, level, itemsize) ((void)(level), FC_CHOOSE(name, 0, itemsize))
#endif

#endif
