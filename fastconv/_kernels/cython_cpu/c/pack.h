/* Weights in the order in which the microkernel reads them. */

/* One block of channels for one range of input channels. */
static void FC_FN(pack_range)(const fc_pack_args *a, const real *weight, ptrdiff_t valid, ptrdiff_t width,
                              ptrdiff_t channels, real *packed) {
    for (ptrdiff_t tap = 0; tap < a->taps; tap++) {
        const real *from = weight + (a->flipped ? a->taps - 1 - tap : tap);
        for (ptrdiff_t c = 0; c < channels; c++, packed += width) {
            for (ptrdiff_t k = 0; k < valid; k++) packed[k] = from[c * a->c_stride + k * a->k_stride];
            for (ptrdiff_t k = valid; k < width; k++) packed[k] = 0;
        }
    }
}

/* One item per (group, block of output channels, range of input channels). */
static void FC_FN(pack)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pack_args *a = ctx;
    const ptrdiff_t all_vectors = (a->K + FC_LANES - 1) / FC_LANES, ranges = (a->C + a->c_range - 1) / a->c_range;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t c0 = item % ranges * a->c_range, block = item / ranges % a->k_block_count;
        const ptrdiff_t g = item / ranges / a->k_block_count, first = a->k_blocks[2 * block];
        const ptrdiff_t k0 = first * FC_LANES, width = a->k_blocks[2 * block + 1] * FC_LANES;
        FC_FN(pack_range)
        (a, (const real *)a->weight + g * a->group_stride + k0 * a->k_stride + c0 * a->c_stride,
         a->K - k0 < width ? a->K - k0 : width, width, a->C - c0 < a->c_range ? a->C - c0 : a->c_range,
         (real *)a->packed + ((g * all_vectors + first) * FC_LANES * a->C + c0 * width) * a->taps);
    }
}
