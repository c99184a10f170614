/* grad_input of small planes of many images: a vector holds one element of each of some images, and a tile pixels of a
 * row x input channels.
 *
 * target[c][pixel] = sum over taps and k of weight[k, c, tap] * source[k][pixel under the tap] */

/* The gradients of some images to vectors: pixel after pixel of a channel. */
static void FC_FN(take_images)(const fc_images_args *a, const real *source, ptrdiff_t images, real *to) {
    const ptrdiff_t pixels = a->source_rows * a->source_cols;
    if (a->source_strides.c == 1)
        for (ptrdiff_t i = 0; i < pixels; i++)
            FC_FN(transpose)(source + i * a->K, a->source_strides.n, to + i * FC_LANES, a->source_plane, images, a->K);
    else
        for (ptrdiff_t k = 0; k < a->K; k++)
            FC_FN(transpose)
            (source + k * pixels, a->source_strides.n, to + k * a->source_plane, FC_LANES, images, pixels);
}

/* Pixels begin .. end - 1 from vectors to some images. */
static void FC_FN(give_images)(const fc_images_args *a, const real *from, ptrdiff_t images, ptrdiff_t begin,
                               ptrdiff_t end, real *target) {
    if (a->target_strides.c == 1)
        for (ptrdiff_t i = begin; i < end; i++)
            FC_FN(transpose)
            (from + i * FC_LANES, a->target_plane, target + i * a->C, a->target_strides.n, a->C, images);
    else
        for (ptrdiff_t c = 0; c < a->C; c++)
            FC_FN(transpose)
            (from + c * a->target_plane + begin * FC_LANES, FC_LANES, target + c * a->target_strides.c + begin,
             a->target_strides.n, end - begin, images);
}

/* All input channels of some neighbours, from the first tap's gradients on. */
static void FC_FN(sum_neighbours)(const fc_images_args *a, fc_panel *panel, ptrdiff_t vectors, const real *source,
                                  real *sums, real *target) {
    const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (a->C + most - 1) / most;
    panel->channels = vectors * FC_LANES;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const ptrdiff_t c = t * a->C / tiles, width = (t + 1) * a->C / tiles - c;
        FC_FN(panels)[vectors - 1][width - 1]
        (panel, (const real *)a->weight + c * a->taps, source, sums, target + c * a->target_plane);
    }
}

/* Rows begin .. end - 1 of the pixels that share their taps. */
static void FC_FN(sum_image_region)(const fc_images_args *a, fc_panel *panel, const int64_t *region, ptrdiff_t begin,
                                    ptrdiff_t end, const real *source, real *sums, real *target) {
    const ptrdiff_t first = region[2], cols = region[5], tiles = (cols + FC_MAX_VECTORS - 1) / FC_MAX_VECTORS;
    const ptrdiff_t low = begin > first ? begin : first, high = end < first + region[3] ? end : first + region[3];
    panel->entries = a->entries + 2 * region[0], panel->entry_count = region[1];
    for (ptrdiff_t row = low; row < high; row++)
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t col = t * cols / tiles, vectors = (t + 1) * cols / tiles - col;
            FC_FN(sum_neighbours)
            (a, panel, vectors, source + ((row - first) * a->source_cols + col) * FC_LANES, sums,
             target + (row * a->target_cols + region[4] + col) * FC_LANES);
        }
}

/* One item per (vector of images, block of rows). */
static void FC_FN(images)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_images_args *a = ctx;
    real *sums = (real *)(a->scratch + slot * a->scratch_bytes), *source = sums + FC_MOST_COLUMNS * FC_BLOCK;
    real *target = source + a->K * a->source_plane;
    fc_panel panel = {.count = a->K, .per_chunk = a->per_chunk, .x_step = a->C * a->taps, .x_shift = a->taps};
    panel.w_step = a->source_plane, panel.target_step = a->target_plane;
    panel.first = panel.last = 1;
    /* Lanes without an image are multiplied, too. */
    memset(source, 0, (size_t)(a->K * a->source_plane) * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / a->row_blocks * FC_LANES, block = item % a->row_blocks;
        const ptrdiff_t begin = block * a->target_rows / a->row_blocks, end = (block + 1) * a->target_rows / a->row_blocks;
        const ptrdiff_t images = a->N - n < FC_LANES ? a->N - n : FC_LANES;
        if (block == 0 || item == lo)
            FC_FN(take_images)(a, (const real *)a->source + n * a->source_strides.n, images, source);
        for (ptrdiff_t r = 0; r < a->region_count; r++)
            FC_FN(sum_image_region)(a, &panel, a->regions + 6 * r, begin, end, source, sums, target);
        FC_FN(give_images)
        (a, target, images, begin * a->target_cols, end * a->target_cols, (real *)a->target + n * a->target_strides.n);
    }
}

const fc_images_kernels FC_FN(fc_images) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .images = FC_FN(images),
};
