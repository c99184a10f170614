/* The gradients of convolutions without shared weights. */

/* Rows of weights, some terms of each, `row` elements apart and zero behind these terms and where the mask is not set:
 * whole vectors of them can be read. */
static void FC_FN(copy_weights)(const fc_local_args *a, const real *w, ptrdiff_t terms, ptrdiff_t rows, const real *mask,
                                real *to) {
    const ptrdiff_t whole = terms / FC_LANES * FC_LANES;
    for (ptrdiff_t r = 0; r < rows; r++, w += a->terms, to += a->row) {
        for (ptrdiff_t t = 0; t < whole; t += FC_LANES) *(vec *)(to + t) = *(const vec *)(w + t);
        if (whole < terms)
            *(vec *)(to + whole) = (vec){0};
        for (ptrdiff_t t = whole; t < terms; t++) to[t] = w[t];
        for (ptrdiff_t t = 0; mask != NULL && t < terms; t += FC_LANES)
            *(vec *)(to + t) = FC_FN(masked)(*(const vec *)(to + t), (FC_FN(fc_mask))*(const vec *)(mask + t));
    }
}

/* Vectors of a tile for the terms from t on. */
FC_INLINE ptrdiff_t FC_FN(vectors_at)(ptrdiff_t t, ptrdiff_t terms) {
    const ptrdiff_t left = (terms - t + FC_LANES - 1) / FC_LANES;
    return left < FC_MAX_VECTORS ? left : FC_MAX_VECTORS;
}

/* Zero where windows leave the input: what an infinite gradient makes of padding is no number. */
static void FC_FN(mask_grads)(const fc_local_args *a, const real *mask, ptrdiff_t rows, real *target) {
    for (ptrdiff_t r = 0; r < rows; r++, target += a->terms)
        for (ptrdiff_t t = 0; t < a->terms; t++) {
            FC_UNSIGNED kept;
            memcpy(&kept, mask + t, sizeof kept);
            target[t] = kept ? target[t] : 0;
        }
}

/* Where gradients are computed, as far from an aligned place as the target is. */
FC_INLINE real *FC_FN(beside)(real *scratch, const real *target) {
    return scratch + (uintptr_t)target % FC_VECTOR_BYTES / sizeof(real);
}

/* So many of them to the target, in one run: added to those of the images before, or past the caches. */
static void FC_FN(give_grads)(const fc_local_args *a, const real *found, ptrdiff_t count, int adds, real *target) {
    if (adds) {
        for (ptrdiff_t i = 0; i < count; i++) target[i] += found[i];
        return;
    }
    ptrdiff_t lead = a->streams ? (ptrdiff_t)(-(uintptr_t)target % FC_VECTOR_BYTES / sizeof(real)) : count;
    lead = lead < count ? lead : count;
    memcpy(target, found, (size_t)lead * sizeof(real));
    FC_FN(stream_copy)(target + lead, found + lead, count - lead);
}

/* Gradients of some output channels at one place, of one image: row after row, in whole vectors, of which the next row
 * replaces what is too much. */
static void FC_FN(multiply_image)(const real *window, const real *grads, ptrdiff_t terms, ptrdiff_t rows, real *target) {
    for (ptrdiff_t r = 0; r < rows; r++, target += terms)
        for (ptrdiff_t t = 0; t < terms; t += FC_LANES)
            *(vec *)(target + t) = (vec){0} + *(const vec *)(window + t) * grads[r];
}

/* The same of several images. */
static void FC_FN(multiply_rows)(const fc_local_args *a, ptrdiff_t images, const real *windows, const real *grads,
                                 ptrdiff_t rows, real *sums, real *target) {
    fc_panel panel = {.entry_count = 1, .per_chunk = 1, .count = images, .x_step = a->grads, .x_shift = 1};
    const int64_t entry[2] = {0, 0};
    panel.entries = entry, panel.w_step = a->window, panel.target_step = a->terms, panel.first = panel.last = 1;
    for (ptrdiff_t t = 0, vectors; t < a->terms; t += vectors * FC_LANES) {
        vectors = FC_FN(vectors_at)(t, a->terms);
        panel.channels = a->terms - t < vectors * FC_LANES ? a->terms - t : vectors * FC_LANES;
        const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (rows + most - 1) / most;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) {
            const ptrdiff_t k = fc_part(tile, tiles, rows), count = fc_part(tile + 1, tiles, rows) - k;
            FC_FN(panels)[vectors - 1][count - 1](&panel, grads + k, windows + t, sums, target + k * a->terms + t);
        }
    }
}

/* The output channels of a run at one place. */
static void FC_FN(multiply_place)(const fc_local_args *a, const fc_local_run *run, ptrdiff_t place,
                                  const FC_FN(local_desk) *desk) {
    const ptrdiff_t first = (run->row * a->cols.out + place) * a->K, group = a->K / a->groups;
    const int leaves = FC_FN(take_windows)(a, run, place, desk);
    FC_FN(take_grads)(a, run->n, run->images, run->row, place, desk->grads);
    for (ptrdiff_t k = run->k_begin, rows; k < run->k_end; k += rows) {
        rows = FC_FN(rows_at)(a, run, k);
        real *target = (real *)a->weight + (first + k) * a->terms, *found = FC_FN(beside)(desk->rows, target);
        const real *windows = desk->windows + k / group * a->terms;
        if (run->images == 1)
            FC_FN(multiply_image)(windows, desk->grads + k, a->terms, rows, found);
        else
            FC_FN(multiply_rows)(a, run->images, windows, desk->grads + k, rows, desk->sums, found);
        if (leaves)
            FC_FN(mask_grads)(a, desk->mask, rows, found);
        FC_FN(give_grads)(a, found, rows * a->terms, run->n > 0, target);
    }
}

/* One item per (row of the output, part of it, part of the output channels). */
static void FC_FN(grad_weight_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_local_args *a = ctx;
    const FC_FN(local_desk) desk = FC_FN(desk_of)(a, slot);
    for (ptrdiff_t item = lo; item < hi; item++) {
        fc_local_run run = fc_local_run_at(a, item);
        while (fc_next_images(a, &run)) {
            FC_FN(take_strips)(a, &run, &desk);
            for (ptrdiff_t place = run.begin; place < run.end; place++) FC_FN(multiply_place)(a, &run, place, &desk);
        }
    }
    FC_STREAM_FENCE();
}

/* An item of grad_input: some images, rows of the output, input channels of a group. */
typedef struct {
    ptrdiff_t n, images, begin, end, group, c_begin, c_end, t, terms, plane;
    real *strips;
} FC_FN(local_band);

/* Items go from channels to groups, to bands, to images. */
FC_INLINE FC_FN(local_band) FC_FN(band_at)(const fc_local_args *a, ptrdiff_t item) {
    const ptrdiff_t taps = a->rows.kernel * a->cols.kernel, channels = a->C / a->groups;
    const ptrdiff_t part = item % a->channel_blocks, band = item / a->channel_blocks / a->groups % a->bands;
    FC_FN(local_band) b = {.group = item / a->channel_blocks % a->groups, .plane = a->band_height * a->band_width};
    b.n = item / a->channel_blocks / a->groups / a->bands * a->images;
    b.images = a->N - b.n < a->images ? a->N - b.n : a->images;
    b.begin = fc_part(band, a->bands, a->rows.out), b.end = fc_part(band + 1, a->bands, a->rows.out);
    const ptrdiff_t c = fc_part(part, a->channel_blocks, channels);
    b.t = c * taps, b.terms = (fc_part(part + 1, a->channel_blocks, channels) - c) * taps;
    b.c_begin = b.group * channels + c, b.c_end = b.c_begin + b.terms / taps;
    b.strips = (real *)a->shared + (band * a->N + b.n) * a->C * b.plane;
    return b;
}

/* Terms t .. of the gradients of the windows of all images: sums over some output channels, which go on where others
 * were summed before. */
static void FC_FN(sum_terms)(const fc_local_args *a, ptrdiff_t all, fc_panel *panel, ptrdiff_t vectors, const real *w,
                             const real *grads, real *sums, real *windows) {
    const ptrdiff_t most = FC_FN(columns)[vectors - 1], tiles = (all + most - 1) / most;
    panel->channels = vectors * FC_LANES;
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        const ptrdiff_t n = fc_part(tile, tiles, all), images = fc_part(tile + 1, tiles, all) - n;
        FC_FN(panels)[vectors - 1][images - 1](panel, grads + n * a->grads, w, sums + n * panel->channels, windows + n * a->window);
    }
}

/* The gradient of the window of one image over some output channels: row after row, as they lie in memory. */
static void FC_FN(sum_image)(const real *w, ptrdiff_t w_step, ptrdiff_t terms, const real *grads, ptrdiff_t K,
                             real *restrict window) {
    const ptrdiff_t whole = terms / FC_LANES * FC_LANES, left = terms - whole;
    vec last = {0};
    for (ptrdiff_t k = 0; k < K; k++, w += w_step) {
        for (ptrdiff_t t = 0; t < whole; t += FC_LANES)
            *(vec *)(window + t) = (k ? *(const vec *)(window + t) : (vec){0}) + *(const vec *)(w + t) * grads[k];
        if (left)
            last += *(const vec *)(w + terms - FC_LANES) * grads[k];
    }
    for (ptrdiff_t i = 0; i < left; i++) window[whole + i] = last[FC_LANES - left + i];
}

/* The same, a block of output channels after the other. */
static void FC_FN(sum_image_blocks)(const fc_local_args *a, const real *w, ptrdiff_t terms, const real *grads,
                                    real *part, real *window) {
    const ptrdiff_t K = a->K / a->groups;
    for (ptrdiff_t k = 0; k < K; k += a->block_terms) {
        const ptrdiff_t count = K - k < a->block_terms ? K - k : a->block_terms;
        FC_FN(sum_image)(w + k * a->terms, a->terms, terms, grads + k, count, k ? part : window);
        for (ptrdiff_t t = 0; k && t < terms; t++) window[t] += part[t];
    }
}

/* The gradients of the windows of all images over the output channels of a group. */
static void FC_FN(sum_channels)(const fc_local_args *a, const FC_FN(local_band) *b, const real *w,
                                const FC_FN(local_desk) *desk) {
    const ptrdiff_t K = a->K / a->groups, terms = b->terms;
    const real *grads = desk->grads + b->group * K;
    const int copies = terms < FC_LANES;
    if (b->images == 1 && !copies) {
        FC_FN(sum_image_blocks)(a, w, terms, grads, desk->rows, desk->windows);
        return;
    }
    const ptrdiff_t most = copies ? FC_LANES : a->block_terms;
    fc_panel panel = {.entry_count = 1, .per_chunk = 1, .x_step = 1, .x_shift = a->grads, .target_step = a->window};
    const int64_t entry[2] = {0, 0};
    panel.entries = entry, panel.w_step = copies ? a->row : a->terms;
    for (ptrdiff_t t = 0, vectors; t < terms; t += vectors * FC_LANES) {
        vectors = FC_FN(vectors_at)(t, terms);
        if (vectors * FC_LANES > terms && !copies)
            vectors = terms / FC_LANES;
        /* The last vector ends where the terms do: behind them the array may end, too. */
        const ptrdiff_t over = copies ? 0 : t + vectors * FC_LANES - terms, at = over > 0 ? t - over : t;
        for (ptrdiff_t k = 0; k < K; k += most) {
            panel.count = K - k < most ? K - k : most;
            panel.first = k == 0, panel.last = k + panel.count == K;
            if (copies)
                FC_FN(copy_weights)(a, w + k * a->terms, terms, panel.count, NULL, desk->rows);
            FC_FN(sum_terms)
            (a, b->images, &panel, vectors, copies ? desk->rows : w + k * a->terms + at, grads + k, desk->sums, desk->windows + at);
        }
    }
}

/* Adds the gradients of the windows at a place to those of the input rows under it. */
static void FC_FN(add_windows)(const fc_local_args *a, const FC_FN(local_band) *b, const real *windows, ptrdiff_t row,
                               ptrdiff_t place) {
    const ptrdiff_t kernel = a->cols.kernel, step = a->rows.dilation * a->band_width, dilation = a->cols.dilation;
    const ptrdiff_t at = (row - b->begin) * a->rows.stride * a->band_width + place * a->cols.stride;
    for (ptrdiff_t i = 0; i < b->images; i++) {
        const real *restrict window = windows + i * a->window;
        for (ptrdiff_t c = b->c_begin; c < b->c_end; c++) {
            real *restrict strip = b->strips + (i * a->C + c) * b->plane + at;
            for (ptrdiff_t kh = 0; kh < a->rows.kernel; kh++, strip += step, window += kernel)
                if (dilation == 1)
                    for (ptrdiff_t kw = 0; kw < kernel; kw++) strip[kw] += window[kw];
                else
                    for (ptrdiff_t kw = 0; kw < kernel; kw++) strip[kw * dilation] += window[kw];
        }
    }
}

/* One item per (images, band of rows, group, part of its input channels): gradients of padded input rows. */
static void FC_FN(grad_band_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_local_args *a = ctx;
    const FC_FN(local_desk) desk = FC_FN(desk_of)(a, slot);
    for (ptrdiff_t item = lo; item < hi; item++) {
        const FC_FN(local_band) b = FC_FN(band_at)(a, item);
        const real *first = (const real *)a->weight + b.group * (a->K / a->groups) * a->terms + b.t;
        for (ptrdiff_t i = 0; i < b.images; i++)
            memset(b.strips + (i * a->C + b.c_begin) * b.plane, 0, (size_t)((b.c_end - b.c_begin) * b.plane) * sizeof(real));
        for (ptrdiff_t row = b.begin; row < b.end; row++)
            for (ptrdiff_t place = 0; place < a->cols.out; place++) {
                FC_FN(take_grads)(a, b.n, b.images, row, place, desk.grads);
                FC_FN(sum_channels)(a, &b, first + (row * a->cols.out + place) * a->K * a->terms, &desk);
                FC_FN(add_windows)(a, &b, desk.windows, row, place);
            }
    }
}

/* The sums over all bands of one input row of a channel. */
static void FC_FN(add_bands)(const fc_local_args *a, ptrdiff_t n, ptrdiff_t c, ptrdiff_t h, real *target) {
    const ptrdiff_t plane = a->band_height * a->band_width, W = a->cols.size, at = h + a->rows.low;
    const real *strips = (const real *)a->shared + (n * a->C + c) * plane + a->cols.low;
    memset(target, 0, (size_t)W * sizeof(real));
    for (ptrdiff_t band = 0; band < a->bands; band++, strips += a->N * a->C * plane) {
        const ptrdiff_t begin = fc_part(band, a->bands, a->rows.out), end = fc_part(band + 1, a->bands, a->rows.out);
        const ptrdiff_t row = at - begin * a->rows.stride;
        if (row >= 0 && row <= (end - 1 - begin) * a->rows.stride + a->rows.dilation * (a->rows.kernel - 1))
            for (ptrdiff_t w = 0; w < W; w++) target[w] += strips[row * a->band_width + w];
    }
}

/* One item per (image, input row). */
static void FC_FN(add_band_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_local_args *a = ctx;
    const ptrdiff_t W = a->cols.size;
    const int is_plane = a->x_strides.w == 1;
    real *rows = FC_FN(desk_of)(a, slot).strips;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t n = item / a->rows.size, h = item % a->rows.size;
        real *target = (real *)a->x + n * a->x_strides.n + h * a->x_strides.h;
        for (ptrdiff_t c = 0; c < a->C; c++)
            FC_FN(add_bands)(a, n, c, h, is_plane ? target + c * a->x_strides.c : rows + c * W);
        if (!is_plane)
            FC_FN(transpose)(rows, W, target, a->x_strides.w, a->C, W);
    }
}
