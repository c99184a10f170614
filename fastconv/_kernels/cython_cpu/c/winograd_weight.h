/* The weight of Winograd's minimal filtering: points[block][point][c][k], once for all tiles or, for few, on the way. */

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

/* The next channels' taps, a row of them: asked for one by one, while others are transformed. */
FC_INLINE void FC_FN(foresee_taps)(const fc_winograd_args *a, const real *next, ptrdiff_t row) {
    const char *taps = (const char *)(next + row * (a->flipped ? a->c_stride : a->k_stride));
    for (ptrdiff_t line = 0; line < 9 * FC_TAKEN_CHANNELS * (ptrdiff_t)sizeof(real); line += FC_LINE_BYTES)
        __builtin_prefetch(taps + line, 0, 2);
}

/* A vector of output channels, from k0 on, of some input channels: the points of the next one are width further. */
FC_INLINE void FC_FN(transform_vector)(const int size, const fc_winograd_args *a, ptrdiff_t g, ptrdiff_t k0,
                                       ptrdiff_t begin, ptrdiff_t channels, ptrdiff_t width, ptrdiff_t step, real *to) {
    const ptrdiff_t lanes = a->K - k0 < FC_LANES ? a->K - k0 : FC_LANES;
    vec taps[9 * FC_TAKEN_CHANNELS] = {{0}};
    for (ptrdiff_t c0 = 0; c0 < channels; c0 += FC_TAKEN_CHANNELS) {
        const ptrdiff_t count = channels - c0 < FC_TAKEN_CHANNELS ? channels - c0 : FC_TAKEN_CHANNELS;
        const ptrdiff_t from = g * a->group_stride + k0 * a->k_stride + (begin + c0) * a->c_stride;
        const real *next = (const real *)a->weight + from;
        next += c0 + count < channels ? count * a->c_stride : FC_LANES * a->k_stride - c0 * a->c_stride;
        FC_FN(take_taps)
        (a, (const real *)a->weight + from, lanes, count, a->groups * a->group_stride - from, taps);
        for (ptrdiff_t c = 0; c < count; c++, to += width) {
            FC_FN(foresee_taps)(a, next, c);
            FC_FN(transform_taps)(size, taps + 9 * c, a->flipped, to, step);
        }
    }
}

/* A block of output channels of some input channels: points[point][c][k]. */
FC_INLINE void FC_FN(transform_block)(const int size, const fc_winograd_args *a, ptrdiff_t g, ptrdiff_t k0,
                                      ptrdiff_t vectors, ptrdiff_t begin, ptrdiff_t channels, real *points) {
    for (ptrdiff_t o = 0; o < vectors; o++)
        FC_FN(transform_vector)
        (size, a, g, k0 + o * FC_LANES, begin, channels, vectors * FC_LANES, a->part_step, points + o * FC_LANES);
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
        real *to = (real *)a->transformed + (g * a->k_block_count + block) * points * a->weight_step +
                   (vector - first) * FC_LANES;
        if (a->sources.size == 2)
            FC_FN(transform_vector)(2, a, g, k0, 0, a->C, width, a->weight_step, to);
        else
            FC_FN(transform_vector)(4, a, g, k0, 0, a->C, width, a->weight_step, to);
    }
}
