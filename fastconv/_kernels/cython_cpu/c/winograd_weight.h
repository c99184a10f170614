/* The weight of Winograd's minimal filtering: points[block][point][c][k], once for all tiles. */

#ifndef FASTCONV_WINOGRAD_WEIGHT_H
#define FASTCONV_WINOGRAD_WEIGHT_H
/* Channels of which the taps are transposed at once. */
enum { FC_TAKEN_CHANNELS = 16 };
#endif

/* A vector of output channels of one input channel: nine taps, each a vector, become points. */
FC_INLINE void FC_FN(transform_taps)(const int size, const vec *taps, int flipped, real *to, ptrdiff_t step) {
    const int count = size + 2;
    vec half[FC_WINOGRAD_SIZE][3], column[3], u[FC_WINOGRAD_SIZE];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) column[i] = taps[flipped ? 8 - 3 * i - j : 3 * i + j];
        FC_FN(weight_transform)(size, column, u);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) half[i][j] = u[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        FC_FN(weight_transform)(size, half[i], u);
#pragma GCC unroll 6
        for (int j = 0; j < count; j++) *(vec *)(to + (i * count + j) * step) = u[j];
    }
}

/* The taps of a vector of output channels and of some input channels, each tap a vector: [c][tap][k]. */
FC_INLINE void FC_FN(take_taps)(const fc_winograd_args *a, const real *weight, ptrdiff_t lanes, ptrdiff_t channels,
                                ptrdiff_t readable, vec *taps) {
    if (a->c_stride == 9) {
        FC_FN(transpose_any)
        (weight, NULL, a->k_stride, (real *)taps, NULL, FC_LANES, lanes, 9 * channels, readable - (lanes - 1) * a->k_stride);
        return;
    }
    for (ptrdiff_t c = 0; c < channels; c++)
        FC_FN(transpose_any)
        (weight + c * a->c_stride, NULL, 9, (real *)(taps + 9 * c), NULL, FC_LANES, lanes, 9,
         readable - c * a->c_stride - (lanes - 1) * 9);
}

/* One item per (group, vector of output channels). */
static void FC_FN(transform_weight)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_winograd_args *a = ctx;
    const ptrdiff_t points = (a->sources.size + 2) * (a->sources.size + 2), all = (a->K + FC_LANES - 1) / FC_LANES;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t g = item / all, vector = item % all, k0 = vector * FC_LANES;
        ptrdiff_t block = 0;
        while (a->k_blocks[2 * block] + a->k_blocks[2 * block + 1] <= vector) block++;
        const ptrdiff_t first = a->k_blocks[2 * block], width = a->k_blocks[2 * block + 1] * FC_LANES;
        const ptrdiff_t lanes = a->K - k0 < FC_LANES ? a->K - k0 : FC_LANES;
        const ptrdiff_t at = g * a->group_stride + k0 * a->k_stride;
        real *to = (real *)a->transformed + (g * a->k_block_count + block) * points * a->weight_step +
                   (vector - first) * FC_LANES;
        vec taps[9 * FC_TAKEN_CHANNELS] = {{0}};
        for (ptrdiff_t c0 = 0; c0 < a->C; c0 += FC_TAKEN_CHANNELS) {
            const ptrdiff_t channels = a->C - c0 < FC_TAKEN_CHANNELS ? a->C - c0 : FC_TAKEN_CHANNELS;
            const ptrdiff_t from = at + c0 * a->c_stride;
            FC_FN(take_taps)
            (a, (const real *)a->weight + from, lanes, channels, a->groups * a->group_stride - from, taps);
            for (ptrdiff_t c = 0; c < channels; c++, to += width)
                if (a->sources.size == 2)
                    FC_FN(transform_taps)(2, taps + 9 * c, a->flipped, to, a->weight_step);
                else
                    FC_FN(transform_taps)(4, taps + 9 * c, a->flipped, to, a->weight_step);
        }
    }
}
