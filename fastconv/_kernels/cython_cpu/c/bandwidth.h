/* Memory bandwidth: whole vectors, four at a time, nothing else in the loop. */
#ifndef FASTCONV_BANDWIDTH_H
#define FASTCONV_BANDWIDTH_H

#include "stream.h"

/* Between passes: the compiler must neither merge them nor make a library call of a loop. */
#define FC_FENCE() __asm__ volatile("" ::: "memory")

#define FC_BANDWIDTH(name, body)                                                                    \
    static void FC_FN(name)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {                \
        fc_bandwidth_args *a = ctx;                                                                 \
        const ptrdiff_t count = a->size / (ptrdiff_t)sizeof(vec);                                   \
        const vec value = (vec){0} + (real)1;                                                       \
        vec sum_0 = {0}, sum_1 = {0}, sum_2 = {0}, sum_3 = {0};                                     \
        (void)slot, (void)value;                                                                    \
        for (ptrdiff_t item = lo; item < hi; item++) {                                              \
            const vec *source = (const vec *)(a->source + item * a->size);                          \
            vec *target = (vec *)(a->target + item * a->size);                                      \
            (void)source, (void)target;                                                             \
            for (ptrdiff_t pass = 0; pass < a->passes; pass++) {                                    \
                for (ptrdiff_t i = 0; i < count; i += 4) {                                          \
                    body(0) body(1) body(2) body(3) FC_FENCE();                                     \
                }                                                                                   \
            }                                                                                       \
            FC_STREAM_FENCE();                                                                      \
        }                                                                                           \
        a->sink = (double)(sum_0 + sum_1 + sum_2 + sum_3)[0];                                       \
    }

#define FC_READ(k) sum_##k += source[i + k];
#define FC_WRITE(k) target[i + k] = value;
#define FC_COPY(k) target[i + k] = source[i + k];
#define FC_STREAM(k) FC_STREAM_STORE(target + i + k, source[i + k]);
#define FC_STREAM_WRITE(k) FC_STREAM_STORE(target + i + k, value);

/* As many bytes in and out as some pass has: block after block, so that reads and writes are mixed as they are there. */
#define FC_MOVE(name, store)                                                                        \
    static void FC_FN(name)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {                \
        fc_move_args *a = ctx;                                                                      \
        const ptrdiff_t reads = a->read / (ptrdiff_t)sizeof(vec), writes = a->written / (ptrdiff_t)sizeof(vec); \
        const vec value = (vec){0} + (real)1;                                                       \
        vec sum_0 = {0}, sum_1 = {0}, sum_2 = {0}, sum_3 = {0};                                     \
        (void)slot;                                                                                 \
        for (ptrdiff_t block = lo * a->blocks; block < hi * a->blocks; block++) {                   \
            const vec *source = (const vec *)(a->source + block * a->read);                         \
            vec *target = (vec *)(a->target + block * a->step);                                     \
            for (ptrdiff_t i = 0; i < reads; i += 4) {                                              \
                FC_READ(0) FC_READ(1) FC_READ(2) FC_READ(3) FC_FENCE();                             \
            }                                                                                       \
            for (ptrdiff_t i = 0; i < writes; i += 4) {                                             \
                store(0) store(1) store(2) store(3) FC_FENCE();                                     \
            }                                                                                       \
        }                                                                                           \
        FC_STREAM_FENCE();                                                                          \
        a->sink = (double)(sum_0 + sum_1 + sum_2 + sum_3)[0];                                       \
    }
#endif

FC_BANDWIDTH(read, FC_READ)
FC_BANDWIDTH(write, FC_WRITE)
FC_BANDWIDTH(copy, FC_COPY)
FC_BANDWIDTH(stream, FC_STREAM)
FC_MOVE(move, FC_WRITE)
FC_MOVE(move_stream, FC_STREAM_WRITE)
