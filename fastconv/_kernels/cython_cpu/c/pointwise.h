/* Pointwise convolution of planes: vectors of pixels x output channels, nothing is reordered.
 *
 * target[n, g, k, pixel] = ending(sum over c of weight[k, c] * source[n, g, c, pixel]) */

/* Some vectors of pixels of one group of one image; the last may be a tail, copied so that whole vectors can be read. */
typedef struct {
    const real *source;
    ptrdiff_t plane, vectors, pixels;
} FC_FN(fc_pixels);

static FC_FN(fc_pixels) FC_FN(take_pixels)(const fc_pointwise_args *a, const real *source, ptrdiff_t first,
                                           ptrdiff_t vectors, real *scratch) {
    const ptrdiff_t left = a->pixels - first, width = vectors * FC_LANES;
    if (left >= width)
        return (FC_FN(fc_pixels)){source + first, a->pixels, vectors, width};
    for (ptrdiff_t c = 0; c < a->C; c++) {
        memcpy(scratch + c * width, source + c * a->pixels + first, (size_t)left * sizeof(real));
        memset(scratch + c * width + left, 0, (size_t)(width - left) * sizeof(real));
    }
    return (FC_FN(fc_pixels)){scratch, width, vectors, left};
}

/* One tile of output channels, over all ranges of input channels. */
static void FC_FN(sum_tile)(const fc_pointwise_args *a, const FC_FN(fc_pixels) *at, const real *weight, ptrdiff_t width,
                            const real *bias, real *sums, real *target) {
    static const int64_t entry[2] = {0, 0};
    fc_panel panel = {.entries = entry, .bias = bias, .entry_count = 1, .per_chunk = 1, .w_step = at->plane};
    panel.x_step = a->c_stride;
    panel.x_shift = a->k_stride;
    panel.target_step = a->pixels;
    panel.channels = at->pixels;
    panel.ending = (bias != NULL ? FC_BIAS_COLUMNS : 0) | a->activation;
    for (ptrdiff_t c = 0; c < a->C; c += a->c_range) {
        panel.count = a->C - c < a->c_range ? a->C - c : a->c_range;
        panel.first = c == 0;
        panel.last = c + panel.count == a->C;
        FC_FN(panels)[at->vectors - 1][width - 1]
        (&panel, weight + c * a->c_stride, at->source + c * at->plane, sums, target);
    }
}

/* Rows of the pixels that come next. */
FC_INLINE void FC_FN(prefetch_planes)(const real *source, ptrdiff_t plane, ptrdiff_t width, ptrdiff_t first,
                                      ptrdiff_t last) {
    for (ptrdiff_t c = first; c < last; c++)
        for (ptrdiff_t i = 0; i < width; i += FC_LINE) __builtin_prefetch(source + c * plane + i, 0, 2);
}

/* One item per (image, group, block of pixels, group of output channels). */
static void FC_FN(pointwise)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pointwise_args *a = ctx;
    real *sums = (real *)(a->scratch + slot * a->scratch_bytes), *tail = sums + FC_MOST_COLUMNS * FC_BLOCK;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t kg = item % a->k_groups, rest = item / a->k_groups, block = rest % a->block_count;
        const ptrdiff_t n = rest / a->block_count / a->groups, g = rest / a->block_count % a->groups;
        const ptrdiff_t first = a->blocks[2 * block] * FC_LANES, vectors = a->blocks[2 * block + 1];
        const real *source = (const real *)a->source + (n * a->groups + g) * a->C * a->pixels;
        const FC_FN(fc_pixels) at = FC_FN(take_pixels)(a, source, first, vectors, tail);
        const ptrdiff_t begin = kg * a->K / a->k_groups, count = (kg + 1) * a->K / a->k_groups - begin;
        const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (count + most - 1) / most;
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t k = begin + t * count / tiles, width = begin + (t + 1) * count / tiles - k;
            real *target = (real *)a->target + ((n * a->groups + g) * a->K + k) * a->pixels + first;
            FC_FN(prefetch_planes)
            (source + first + vectors * FC_LANES, a->pixels, FC_BLOCK, t * a->C / tiles, (t + 1) * a->C / tiles);
            FC_FN(prefetch_planes)(target + most * a->pixels, a->pixels, vectors * FC_LANES, 0, width);
            FC_FN(sum_tile)
            (a, &at, (const real *)a->weight + g * a->group_stride + k * a->k_stride, width,
             a->bias != NULL ? (const real *)a->bias + g * a->K + k : NULL, sums, target);
        }
    }
}

const fc_pointwise_kernels FC_FN(fc_pointwise) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .pointwise = FC_FN(pointwise),
};
