/* Tiles of images to points, a vector of channels at a time: points[point][tile][channel]. */

/* Tiles of some channels. */
typedef struct {
    const fc_tiled *tiled;
    real *origin, *strip; /* the first image; a copy of a run's pixels, where channels do not lie together */
    const real *zeros;    /* of the padding */
    ptrdiff_t channels, pitch, step; /* elements from tile to tile, from point to point */
} FC_FN(fc_point_job);

/* The pixels under a run of tiles, each across x across of them: those of the images, or their copy in the strip. Rows
 * that are copied whole are copied together: they may be shorter than a vector. */
static FC_FN(fc_winograd_pixels) FC_FN(run_pixels)(const FC_FN(fc_point_job) *job, ptrdiff_t across, ptrdiff_t tile,
                                          ptrdiff_t run) {
    const fc_tiled *a = job->tiled;
    const fc_strides s = a->strides;
    const fc_place at = fc_tile_place(a, tile);
    if (s.c == 1)
        return (FC_FN(fc_winograd_pixels)){job->origin, s.n, s.h, s.w};
    const fc_span rows = fc_clipped(at.row - a->pad_rows, across, a->rows);
    const fc_span cols = fc_clipped(at.col - a->pad_cols, (run - 1) * a->size + across, a->cols);
    const ptrdiff_t together = cols.count == a->cols ? rows.count : 1, C = job->channels;
    for (ptrdiff_t i = 0; i < rows.count; i += together) {
        const ptrdiff_t from = (rows.first + i) * s.h + cols.first;
        FC_FN(transpose_any)
        (job->origin + at.n * s.n + from, NULL, s.c, job->strip + i * cols.count * C, NULL, C, C, together * cols.count,
         s.c - from);
    }
    return FC_FN(strip_pixels)(job->strip, rows, cols, C);
}

/* The pixels of a tile, row by row. */
static void FC_FN(list_pixels)(const FC_FN(fc_point_job) *job, ptrdiff_t across, ptrdiff_t tile,
                               FC_FN(fc_winograd_pixels) from, const real **pixels) {
    const fc_tiled *a = job->tiled;
    const fc_place at = fc_tile_place(a, tile);
    const ptrdiff_t row = at.row - a->pad_rows, col = at.col - a->pad_cols;
    const real *image = from.origin + at.n * from.n_step;
    for (ptrdiff_t i = row; i < row + across; i++)
        for (ptrdiff_t j = col; j < col + across; j++)
            *pixels++ = i >= 0 && i < a->rows && j >= 0 && j < a->cols ? image + i * from.h + j * from.w : job->zeros;
}

/* A branch that a compiler cannot foresee would part sums from their products, which were rounded in between. */
FC_INLINE vec FC_FN(load_lanes)(const int whole, const real *from, ptrdiff_t lanes) {
    vec value = {0};
    if (whole)
        return *(const vec *)from;
    memcpy(&value, from, (size_t)lanes * sizeof(real));
    return value;
}

/* Channels c .. c + lanes - 1 of a tile; whole: they fill a vector. */
FC_INLINE void FC_FN(transform_pixels)(const int kind, const int size, const int whole, const real **pixels, ptrdiff_t c,
                                       ptrdiff_t lanes, real *to, ptrdiff_t step) {
    const int count = size + 2, across = kind == FC_GRADIENTS ? size : count;
    vec half[FC_WINOGRAD_SIZE][FC_WINOGRAD_SIZE], d[FC_WINOGRAD_SIZE], t[FC_WINOGRAD_SIZE];
#pragma GCC unroll 6
    for (int j = 0; j < across; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < across; i++) d[i] = FC_FN(load_lanes)(whole, pixels[i * across + j] + c, lanes);
        FC_FN(point_transform)(kind, size, d, t);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) half[i][j] = t[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        FC_FN(point_transform)(kind, size, half[i], t);
#pragma GCC unroll 6
        for (int j = 0; j < count; j++) *(vec *)(to + (i * count + j) * step) = t[j];
    }
}

/* A run of tiles; those of the next tile's pixels that this one does not have are asked for. */
FC_INLINE void FC_FN(transform_run)(const int kind, const int size, const FC_FN(fc_point_job) *job, ptrdiff_t first,
                                    ptrdiff_t tiles, real *to) {
    const int across = kind == FC_GRADIENTS ? size : size + 2;
    const FC_FN(fc_winograd_pixels) from = FC_FN(run_pixels)(job, across, first, tiles);
    const real *listed[2][FC_WINOGRAD_SIZE * FC_WINOGRAD_SIZE];
    FC_FN(list_pixels)(job, across, first, from, listed[0]);
    for (ptrdiff_t t = 0; t < tiles; t++, to += job->pitch) {
        const real **pixels = listed[t % 2], **next = listed[(t + 1) % 2];
        FC_FN(list_pixels)(job, across, first + (t + 1 < tiles ? t + 1 : t), from, next);
        ptrdiff_t c = 0;
        for (; c + FC_LANES <= job->channels; c += FC_LANES) {
            for (int i = 0; i < across; i++)
                for (int j = across - size; j < across; j++) __builtin_prefetch(next[i * across + j] + c, 0, 3);
            FC_FN(transform_pixels)(kind, size, 1, pixels, c, FC_LANES, to + c, job->step);
        }
        if (c < job->channels)
            FC_FN(transform_pixels)(kind, size, 0, pixels, c, job->channels - c, to + c, job->step);
    }
}

/* Some tiles. */
FC_INLINE void FC_FN(transform_tiles)(const int kind, const int size, const FC_FN(fc_point_job) *job, ptrdiff_t first,
                                      ptrdiff_t tiles, real *points) {
    for (ptrdiff_t t = 0, run; t < tiles; t += run) {
        run = fc_run(job->tiled, job->tiled->strides, first + t, tiles - t);
        FC_FN(transform_run)(kind, size, job, first + t, run, points + t * job->pitch);
    }
}
