/* Weights in the order in which the microkernel reads them. */

#ifndef FASTCONV_PACK_H
#define FASTCONV_PACK_H
enum { FC_PACKED_ROWS = 64 };
#endif

/* Forward: a row of the weight holds the (c, tap) of one output channel, and a row of the packed weight the output
 * channels of one (tap, c). */
static void FC_FN(pack_forward)(const fc_pack_args *a, const real *weight, ptrdiff_t valid, ptrdiff_t width,
                                ptrdiff_t channels, real *packed) {
    const ptrdiff_t all = channels * a->taps;
    int64_t rows[FC_PACKED_ROWS];
    /* From the second time on at a cache line's begin, so that each line is read once. */
    ptrdiff_t tap = 0, c = 0, most = FC_PACKED_ROWS - (ptrdiff_t)((uintptr_t)weight % 64 / sizeof(real));
    for (ptrdiff_t first = 0, count; first < all; first += count, most = FC_PACKED_ROWS) {
        count = all - first < most ? all - first : most;
        for (ptrdiff_t j = 0; j < count; j++) {
            rows[j] = (tap * channels + c) * width;
            if (++tap == a->taps)
                tap = 0, c++;
        }
        FC_FN(transpose_any)(weight + first, NULL, a->k_stride, packed, rows, 0, valid, count, all - first);
    }
}

/* grad_input: input channels are the lanes, output channels are summed over, and the taps are in reverse order. */
static void FC_FN(pack_flipped)(const fc_pack_args *a, const real *weight, ptrdiff_t valid, ptrdiff_t width,
                                ptrdiff_t channels, ptrdiff_t readable, real *packed) {
    real *last = packed + (a->taps - 1) * channels * width;
    for (ptrdiff_t c = 0; c < channels; c++, weight += a->c_stride, last += width, readable -= a->c_stride) {
        for (ptrdiff_t i = 0; i < valid * a->taps; i += FC_LINE) __builtin_prefetch(weight + 2 * a->c_stride + i, 0, 2);
        if (a->taps == 1)
            memcpy(last, weight, (size_t)valid * sizeof(real));
        else
            FC_FN(transpose_any)
            (weight, NULL, a->taps, last, NULL, -channels * width, valid, a->taps, readable - (valid - 1) * a->taps);
    }
}

/* For sums along the lanes: a few target channels, each with its (tap, c). */
static void FC_FN(pack_dots)(const fc_pack_args *a, const real *weight, ptrdiff_t channels, real *packed) {
    for (ptrdiff_t k = 0; k < channels; k++)
        for (ptrdiff_t tap = 0; tap < a->taps; tap++)
            for (ptrdiff_t c = 0; c < a->C; c++, packed++)
                *packed = weight[k * a->k_stride + c * a->c_stride + (a->flipped ? a->taps - 1 - tap : tap)];
}

/* Joined groups: each lane has the weights of its own group. */
static void FC_FN(pack_groups)(const fc_pack_args *a, const real *weight, real *packed) {
    const ptrdiff_t targets = a->K / a->joined;
    for (ptrdiff_t tap = 0; tap < a->taps; tap++)
        for (ptrdiff_t c = 0; c < a->C; c++, packed += FC_LANES)
            for (ptrdiff_t lane = 0; lane < a->K; lane++)
                packed[lane] = weight[lane / targets * a->group_stride + lane % targets * a->k_stride + c * a->c_stride +
                                      (a->flipped ? a->taps - 1 - tap : tap)];
}

/* The weights of one group, block of output channels and range of input channels from c0 on. */
static void FC_FN(pack_range)(const fc_pack_args *a, ptrdiff_t g, ptrdiff_t block, ptrdiff_t c0, real *packed) {
    const ptrdiff_t unit = a->dots ? 1 : FC_LANES, group_stride = a->joined * a->group_stride;
    const ptrdiff_t k0 = a->k_blocks[2 * block] * unit, width = a->k_blocks[2 * block + 1] * unit;
    const ptrdiff_t channels = a->C - c0 < a->c_range ? a->C - c0 : a->c_range;
    const ptrdiff_t valid = a->K - k0 < width ? a->K - k0 : width;
    const ptrdiff_t at = g * group_stride + k0 * a->k_stride + c0 * a->c_stride;
    const real *weight = (const real *)a->weight + at;
    if (valid < width)
        memset(packed, 0, (size_t)(a->taps * channels * width) * sizeof(real));
    if (a->joined > 1)
        FC_FN(pack_groups)(a, weight, packed);
    else if (a->dots)
        FC_FN(pack_dots)(a, weight, valid, packed);
    else if (a->flipped)
        FC_FN(pack_flipped)(a, weight, valid, width, channels, a->groups * group_stride - at, packed);
    else
        FC_FN(pack_forward)(a, weight, valid, width, channels, packed);
}

/* One item per (group, block of output channels, range of input channels). */
static void FC_FN(pack)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pack_args *a = ctx;
    const ptrdiff_t unit = a->dots ? 1 : FC_LANES, all = (a->K + unit - 1) / unit, ranges = (a->C + a->c_range - 1) / a->c_range;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t c0 = item % ranges * a->c_range, block = item / ranges % a->k_block_count;
        const ptrdiff_t g = item / ranges / a->k_block_count;
        const ptrdiff_t first = a->k_blocks[2 * block], width = a->k_blocks[2 * block + 1] * unit;
        FC_FN(pack_range)(a, g, block, c0, (real *)a->packed + ((g * all + first) * unit * a->C + c0 * width) * a->taps);
    }
}
