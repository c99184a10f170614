/* Dropout: whether an element stays is a hash of its position; contract.py has the hash and where it comes from. */
#include "elementwise_args.h"
#include "vector.h"

#ifndef FASTCONV_DROPOUT_H
#define FASTCONV_DROPOUT_H
enum { FC_DROP_THRESHOLD, FC_DROP_SCALE, FC_DROP_LOW, FC_DROP_HIGH };

FC_INLINE uint32_t fc_mix(uint32_t h) {
    h ^= h >> 16;
    h *= 0x7FEB352DU;
    h ^= h >> 15;
    h *= 0x846CA68BU;
    return h ^ h >> 16;
}
#endif

static void FC_FN(dropout)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_dropout_args *a = ctx;
    const uint32_t threshold = (uint32_t)a->settings[FC_DROP_THRESHOLD], seed = (uint32_t)a->settings[FC_DROP_LOW];
    const real scale = (real)a->settings[FC_DROP_SCALE];
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t at = item * FC_ELEMENTS, left = a->count - at, count = left < FC_ELEMENTS ? left : FC_ELEMENTS;
        /* No block goes over the edge of a word. */
        const uint32_t low = (uint32_t)at, high = (uint32_t)((uint64_t)at >> 32);
        const uint32_t offset = (uint32_t)a->settings[FC_DROP_HIGH] + 0x9E3779B9U * high;
        const real *restrict x = (const real *)a->x + at;
        real *restrict out = (real *)a->out + at;
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint32_t mixed = fc_mix(fc_mix((low + (uint32_t)i) ^ seed) + offset);
            const real scaled = x[i] * scale;
            out[i] = mixed < threshold ? 0 : scaled;
        }
    }
}
