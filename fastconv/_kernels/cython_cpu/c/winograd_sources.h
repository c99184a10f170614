/* Tiles of the source to points: transformed[point][tile][c]. */

/* The pixels under a run of tiles: those of the images, or their copy in the strip. Rows that are copied whole are
 * copied together: they may be shorter than a vector. */
static FC_FN(fc_winograd_pixels) FC_FN(source_pixels)(const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w, ptrdiff_t g,
                                             ptrdiff_t tile, ptrdiff_t run) {
    const fc_strides s = a->source_strides;
    const fc_place at = fc_tile_place(a, tile);
    const real *image = (const real *)a->source + at.n * s.n + g * a->C * s.c;
    if (s.c == 1)
        return (FC_FN(fc_winograd_pixels)){(real *)a->source + g * a->C, s.n, s.h, s.w};
    const fc_span rows = fc_clipped(at.row - a->pad_rows, a->size + 2, a->source_rows);
    const fc_span cols = fc_clipped(at.col - a->pad_cols, run * a->size + 2, a->source_cols);
    const ptrdiff_t together = cols.count == a->source_cols ? rows.count : 1;
    for (ptrdiff_t i = 0; i < rows.count; i += together) {
        const ptrdiff_t from = (rows.first + i) * s.h + cols.first;
        FC_FN(transpose_any)
        (image + from, NULL, s.c, w->strip + i * cols.count * a->C, NULL, a->C, a->C, together * cols.count, s.c - from);
    }
    return FC_FN(strip_pixels)(w->strip, rows, cols, a->C);
}

/* The pixels under a tile, row by row; those in the padding are zeros. */
static void FC_FN(list_pixels)(const fc_winograd_args *a, ptrdiff_t tile, FC_FN(fc_winograd_pixels) source, const real *zeros,
                               const real **pixels) {
    const fc_place at = fc_tile_place(a, tile);
    const ptrdiff_t row = at.row - a->pad_rows, col = at.col - a->pad_cols, count = a->size + 2;
    const real *image = source.origin + at.n * source.n_step;
    for (ptrdiff_t i = row; i < row + count; i++)
        for (ptrdiff_t j = col; j < col + count; j++)
            *pixels++ = i >= 0 && i < a->source_rows && j >= 0 && j < a->source_cols ? image + i * source.h + j * source.w
                                                                                     : zeros;
}

FC_INLINE vec FC_FN(load_lanes)(const real *from, ptrdiff_t lanes) {
    vec value = {0};
    if (lanes >= FC_LANES)
        return *(const vec *)from;
    memcpy(&value, from, (size_t)lanes * sizeof(real));
    return value;
}

/* Channels c .. c + lanes - 1 of a tile. */
FC_INLINE void FC_FN(transform_pixels)(const int size, const real **pixels, ptrdiff_t c, ptrdiff_t lanes, real *to,
                                       ptrdiff_t step) {
    const int count = size + 2;
    vec half[FC_WINOGRAD_SIZE][FC_WINOGRAD_SIZE], d[FC_WINOGRAD_SIZE], t[FC_WINOGRAD_SIZE];
#pragma GCC unroll 6
    for (int j = 0; j < count; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) d[i] = FC_FN(load_lanes)(pixels[i * count + j] + c, lanes);
        FC_FN(source_transform)(size, d, t);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) half[i][j] = t[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        FC_FN(source_transform)(size, half[i], t);
#pragma GCC unroll 6
        for (int j = 0; j < count; j++) *(vec *)(to + (i * count + j) * step) = t[j];
    }
}

/* A run of tiles; those of the next tile's pixels that this one does not have are asked for. */
FC_INLINE void FC_FN(transform_run)(const int size, const fc_winograd_args *a, const real *zeros, FC_FN(fc_winograd_pixels) source,
                                    ptrdiff_t first, ptrdiff_t tiles, real *to) {
    const int count = size + 2;
    const real *listed[2][FC_WINOGRAD_SIZE * FC_WINOGRAD_SIZE];
    FC_FN(list_pixels)(a, first, source, zeros, listed[0]);
    for (ptrdiff_t t = 0; t < tiles; t++, to += a->source_pitch) {
        const real **pixels = listed[t % 2], **next = listed[(t + 1) % 2];
        FC_FN(list_pixels)(a, first + (t + 1 < tiles ? t + 1 : t), source, zeros, next);
        ptrdiff_t c = 0;
        for (; c + FC_LANES <= a->C; c += FC_LANES) {
            for (int i = 0; i < count; i++)
                for (int j = 2; j < count; j++) __builtin_prefetch(next[i * count + j] + c, 0, 3);
            FC_FN(transform_pixels)(size, pixels, c, FC_LANES, to + c, a->source_step);
        }
        if (c < a->C)
            FC_FN(transform_pixels)(size, pixels, c, a->C - c, to + c, a->source_step);
    }
}

/* All tiles of a block. */
FC_INLINE void FC_FN(transform_sources)(const int size, const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w,
                                        ptrdiff_t g, ptrdiff_t first, ptrdiff_t tiles) {
    for (ptrdiff_t t = 0, run; t < tiles; t += run) {
        run = fc_run(a, a->source_strides, first + t, tiles - t);
        const FC_FN(fc_winograd_pixels) source = FC_FN(source_pixels)(a, w, g, first + t, run);
        FC_FN(transform_run)(size, a, w->zeros, source, first + t, run, w->sources + t * a->source_pitch);
    }
}

