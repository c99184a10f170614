/* Products of tiles to targets. */

FC_INLINE void FC_FN(store_lanes)(real *to, vec value, ptrdiff_t lanes) {
    if (lanes >= FC_LANES)
        *(vec *)to = value;
    else
        memcpy(to, &value, (size_t)lanes * sizeof(real));
}

/* A tile of a vector of channels; returns what is NaN where a result is not finite. */
FC_INLINE vec FC_FN(transform_products)(const int size, const real *from, ptrdiff_t step, vec bias, int activation,
                                        ptrdiff_t rows, ptrdiff_t cols, FC_FN(fc_winograd_pixels) to, ptrdiff_t lanes,
                                        real *target) {
    const int count = size + 2;
    vec half[4][FC_WINOGRAD_SIZE], m[FC_WINOGRAD_SIZE], y[4], doubt = {0};
#pragma GCC unroll 6
    for (int j = 0; j < count; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) m[i] = *(const vec *)(from + (i * count + j) * step);
        FC_FN(target_transform)(size, m, y);
#pragma GCC unroll 4
        for (int i = 0; i < size; i++) half[i][j] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < size; i++) {
        FC_FN(target_transform)(size, half[i], y);
#pragma GCC unroll 4
        for (int j = 0; j < size; j++) {
            doubt += y[j] * (real)0;
            y[j] += bias;
            if (activation & FC_RELU)
                y[j] = FC_LARGER((vec){0}, y[j]);
            if (activation & FC_RELU6)
                y[j] = FC_SMALLER((real)6 - (vec){0}, y[j]);
            if (i < rows && j < cols)
                FC_FN(store_lanes)(target + i * to.h + j * to.w, y[j], lanes);
        }
    }
    return doubt;
}

FC_INLINE int FC_FN(has_nan)(vec value) {
    real sum = 0;
    for (int i = 0; i < FC_LANES; i++) sum += value[i];
    return sum != sum;
}

/* A run of tiles of a block of channels. */
FC_INLINE void FC_FN(finish_run)(const int size, const fc_winograd_args *a, FC_FN(fc_winograd_work) *w, ptrdiff_t g,
                                 FC_FN(fc_winograd_pixels) to, ptrdiff_t first, ptrdiff_t tiles, const real *products, ptrdiff_t k0,
                                 ptrdiff_t vectors) {
    const ptrdiff_t width = vectors * FC_LANES, channels = a->K - k0 < width ? a->K - k0 : width;
    for (ptrdiff_t t = 0; t < tiles; t++, products += width) {
        const fc_place at = fc_tile_place(&a->sources, first + t);
        const ptrdiff_t rows = a->target_rows - at.row, cols = a->target_cols - at.col;
        real *target = to.origin + at.n * to.n_step + at.row * to.h + at.col * to.w;
        vec doubt = {0};
        for (ptrdiff_t o = 0; o < vectors; o++)
            doubt += FC_FN(transform_products)(size, products + o * FC_LANES, a->sums_step,
                                               *(const vec *)(w->bias + o * FC_LANES), a->activation, rows, cols, to,
                                               channels - o * FC_LANES, target + o * FC_LANES);
        if (__builtin_expect(FC_FN(has_nan)(doubt), 0))
            FC_FN(sum_directly)(a, w, g, at, k0, vectors, to, target);
    }
}

/* All tiles of a block of channels, through the strip where the channels of the targets do not lie together. */
FC_INLINE void FC_FN(transform_targets)(const int size, const fc_winograd_args *a, FC_FN(fc_winograd_work) *w,
                                        ptrdiff_t g, ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t k0, ptrdiff_t vectors) {
    const fc_strides s = a->target_strides;
    const ptrdiff_t width = vectors * FC_LANES, channels = a->K - k0 < width ? a->K - k0 : width;
    real *target = (real *)a->target + (g * a->K + k0) * s.c;
    const FC_FN(fc_winograd_pixels) images = {target, s.n, s.h, s.w};
    for (ptrdiff_t t = 0, run; t < tiles; t += run) {
        const real *products = w->products + t * width;
        run = fc_run(&a->sources, s, first + t, tiles - t);
        if (s.c == 1) {
            FC_FN(finish_run)(size, a, w, g, images, first + t, run, products, k0, vectors);
            continue;
        }
        const fc_place at = fc_tile_place(&a->sources, first + t);
        const fc_span rows = fc_clipped(at.row, size, a->target_rows), cols = fc_clipped(at.col, run * size, a->target_cols);
        const FC_FN(fc_winograd_pixels) strip = FC_FN(strip_pixels)(w->strip, rows, cols, channels);
        FC_FN(finish_run)(size, a, w, g, strip, first + t, run, products, k0, vectors);
        const ptrdiff_t together = cols.count == a->target_cols ? rows.count : 1;
        for (ptrdiff_t i = 0; i < rows.count; i += together)
            FC_FN(transpose)
            (w->strip + i * strip.h, channels, target + at.n * s.n + (rows.first + i) * s.h + cols.first, s.c,
             together * cols.count, channels);
    }
}

