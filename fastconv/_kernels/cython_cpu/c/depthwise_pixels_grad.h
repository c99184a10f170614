/* grad_weight in channels_last: tiles of output columns; the sums of all taps stay in the cache. */

#ifndef FASTCONV_DEPTHWISE_PIXELS_GRAD_H
#define FASTCONV_DEPTHWISE_PIXELS_GRAD_H
/* Tiles in one block of a sum. */
enum { FC_BLOCK_TILES = 64 };
#endif

#define FC_GRAD_LOAD(p) const vec g_##p = p < P ? *(const vec *)(grad_out + p * a->grad_out_strides.w) : (vec){0};
#define FC_GRAD_USE(p, k) \
    if (p < P) acc_##k += g_##p * x_;

/* sums[tap] += those of one tile of the sweep, for one vector of channels. */
FC_INLINE void FC_FN(grad_sweep_vector)(const int P, const int S, const fc_pixel_grad_args *a,
                                        const fc_pixel_tile *tile, ptrdiff_t c, vec *sums) {
    const ptrdiff_t step = a->x_strides.w;
    const real *grad_out = (const real *)a->grad_out + tile->target + c;
    const real *source = (const real *)a->x + tile->source + c;
    const int skip_first = tile->skip_first, skip_last = tile->skip_last;
    FC_EACH_PIXEL(FC_GRAD_LOAD)
    for (ptrdiff_t r = tile->row_first; r < tile->row_last; r++) {
        const real *x = source + a->rows.sources[r] * a->x_strides.h;
        vec acc_0 = {0}, acc_1 = {0}, acc_2 = {0};
        FC_SWEEP(FC_SWEEP_SOURCE, FC_GRAD_USE)
        sums[a->rows.taps[r] * 3] += acc_0;
        sums[a->rows.taps[r] * 3 + 1] += acc_1;
        sums[a->rows.taps[r] * 3 + 2] += acc_2;
    }
}

#define FC_GRAD_TAP(p) \
    if (p < P) acc += g_##p * *(const vec *)(x + p * tile->source_step);

FC_INLINE void FC_FN(grad_entries_vector)(const int P, const fc_pixel_grad_args *a, const fc_pixel_tile *tile,
                                          ptrdiff_t c, vec *sums) {
    const real *grad_out = (const real *)a->grad_out + tile->target + c;
    const real *source = (const real *)a->x + tile->source + c;
    FC_EACH_PIXEL(FC_GRAD_LOAD)
    for (ptrdiff_t r = tile->row_first; r < tile->row_last; r++)
        for (ptrdiff_t e = tile->col_first; e < tile->col_last; e++) {
            const real *x = source + a->rows.sources[r] * a->x_strides.h + a->cols.sources[e] * a->x_strides.w;
            vec acc = {0};
            FC_EACH_PIXEL(FC_GRAD_TAP)
            sums[a->rows.taps[r] * a->tap_cols + a->cols.taps[e]] += acc;
        }
}

/* The vectors of channels of one item, their sums of the current block, and those of all blocks before. */
typedef struct {
    ptrdiff_t first, last, tiles;
    vec *sums, *total;
} FC_FN(grad_item);

FC_INLINE void FC_FN(grad_sweep_tile)(const int P, const int S, const fc_pixel_grad_args *a, const fc_pixel_tile *tile,
                                      const FC_FN(grad_item) *item) {
    for (ptrdiff_t v = item->first; v < item->last; v++) {
        const ptrdiff_t c = FC_FIRST_CHANNEL(v * FC_LANES, a->C);
        FC_FN(prefetch_rows)((const real *)a->x + tile->next_source + c, &a->x_strides, tile->next_rows, P * S);
        if (tile->next_rows > 0)
            FC_FN(prefetch_rows)
            ((const real *)a->grad_out + tile->target + a->grad_out_strides.h + c, &a->grad_out_strides, 1, P);
        FC_FN(grad_sweep_vector)(P, S, a, tile, c, item->sums + (v - item->first) * a->taps);
    }
}

FC_INLINE void FC_FN(grad_entries_tile)(const int P, const fc_pixel_grad_args *a, const fc_pixel_tile *tile,
                                        const FC_FN(grad_item) *item) {
    for (ptrdiff_t v = item->first; v < item->last; v++)
        FC_FN(grad_entries_vector)(P, a, tile, FC_FIRST_CHANNEL(v * FC_LANES, a->C),
                                   item->sums + (v - item->first) * a->taps);
}

/* total += sums, sums = 0: long sums are cut into blocks, which keeps their rounding error small. */
static void FC_FN(grad_flush)(const fc_pixel_grad_args *a, FC_FN(grad_item) *item) {
    const ptrdiff_t size = (item->last - item->first) * a->taps;
    for (ptrdiff_t i = 0; i < size; i++) {
        item->total[i] += item->sums[i];
        item->sums[i] = (vec){0};
    }
    item->tiles = 0;
}

static void FC_FN(grad_sweep_row)(const fc_pixel_grad_args *a, fc_pixel_tile tile, ptrdiff_t source, ptrdiff_t target,
                                  FC_FN(grad_item) *item) {
    const fc_sweep *sweep = &a->sweep;
    const ptrdiff_t width = fc_tile_width(sweep->count), next = fc_next_source(&tile, &a->rows, a->x_strides.h);
    for (ptrdiff_t j = 0; j < sweep->count; j += width) {
        const ptrdiff_t pixels = sweep->count - j < width ? sweep->count - j : width;
        tile.source = source + (sweep->source + j * sweep->step) * a->x_strides.w;
        tile.target = target + (sweep->start + j) * a->grad_out_strides.w;
        tile.next_source = tile.source + next;
        tile.skip_first = sweep->head && j == 0;
        tile.skip_last = sweep->tail && j + pixels == sweep->count;
        if (sweep->step == 1) {
            FC_WITH_PIXELS(FC_FN(grad_sweep_tile), pixels, 1, a, &tile, item)
        } else {
            FC_WITH_PIXELS(FC_FN(grad_sweep_tile), pixels, 2, a, &tile, item)
        }
        if (++item->tiles >= FC_BLOCK_TILES) FC_FN(grad_flush)(a, item);
    }
}

static void FC_FN(grad_entries_row)(const fc_pixel_grad_args *a, fc_pixel_tile tile, const int64_t *run,
                                    ptrdiff_t source, ptrdiff_t target, FC_FN(grad_item) *item) {
    const ptrdiff_t width = fc_tile_width(run[1]);
    tile.col_first = a->cols.first[run[0]];
    tile.col_last = a->cols.first[run[0] + 1];
    tile.source_step = run[3] * a->x_strides.w;
    for (ptrdiff_t j = 0; j < run[1]; j += width) {
        const ptrdiff_t pixels = run[1] - j < width ? run[1] - j : width;
        tile.source = source + j * tile.source_step;
        tile.target = target + (run[0] + j) * a->grad_out_strides.w;
        FC_WITH_PIXELS(FC_FN(grad_entries_tile), pixels, a, &tile, item)
        if (++item->tiles >= FC_BLOCK_TILES) FC_FN(grad_flush)(a, item);
    }
}

/* One output row against all input rows that it meets, in an image that begins at these elements. */
static void FC_FN(grad_row)(const fc_pixel_grad_args *a, ptrdiff_t source, ptrdiff_t target, ptrdiff_t row,
                            FC_FN(grad_item) *item) {
    target += row * a->grad_out_strides.h;
    fc_pixel_tile tile = {.row_first = a->rows.first[row], .row_last = a->rows.first[row + 1]};
    tile.next_rows = a->far && tile.row_last > tile.row_first ? a->row_step : 0;
    if (a->sweep.count > 0) FC_FN(grad_sweep_row)(a, tile, source, target, item);
    for (ptrdiff_t r = 0; r < a->cols.run_count; r++) {
        const int64_t *run = a->cols.runs + 4 * r;
        if (run[0] < a->sweep.start || run[0] >= a->sweep.start + a->sweep.count)
            FC_FN(grad_entries_row)(a, tile, run, source, target, item);
    }
}

/* One item per (chunk of output rows, some vectors of channels). */
static void FC_FN(pixel_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_pixel_grad_args *a = ctx;
    const ptrdiff_t vectors = (a->C + FC_LANES - 1) / FC_LANES, all_rows = a->N * a->rows.targets;
    const ptrdiff_t shares = (vectors + a->vectors_per_item - 1) / a->vectors_per_item;
    const size_t size = (size_t)(a->vectors_per_item * a->taps) * sizeof(vec);
    vec *sums = calloc(1, size);
    (void)slot;
    if (sums == NULL) {
        a->status = 1;
        return;
    }
    for (ptrdiff_t i = lo; i < hi; i++) {
        const ptrdiff_t chunk = i / shares, left = vectors - i % shares * a->vectors_per_item;
        FC_FN(grad_item) item = {.first = i % shares * a->vectors_per_item, .sums = sums};
        item.last = item.first + (left < a->vectors_per_item ? left : a->vectors_per_item);
        item.total = (vec *)a->partial + (chunk * vectors + item.first) * a->taps;
        memset(item.total, 0, (size_t)((item.last - item.first) * a->taps) * sizeof(vec));
        for (ptrdiff_t row = chunk * all_rows / a->chunks; row < (chunk + 1) * all_rows / a->chunks; row++)
            FC_FN(grad_row)
            (a, row / a->rows.targets * a->x_strides.n, row / a->rows.targets * a->grad_out_strides.n,
             row % a->rows.targets, &item);
        FC_FN(grad_flush)(a, &item);
    }
    free(sums);
}

/* Adds up the chunks in their order. One item per vector of channels. */
static void FC_FN(pixel_reduce)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pixel_grad_args *a = ctx;
    const ptrdiff_t vectors = (a->C + FC_LANES - 1) / FC_LANES;
    (void)slot;
    for (ptrdiff_t v = lo; v < hi; v++) {
        const ptrdiff_t c = FC_FIRST_CHANNEL(v * FC_LANES, a->C);
        for (ptrdiff_t tap = 0; tap < a->taps; tap++) {
            vec sum = {0};
            for (ptrdiff_t chunk = 0; chunk < a->chunks; chunk++)
                sum += ((const vec *)a->partial)[(chunk * vectors + v) * a->taps + tap];
            for (ptrdiff_t lane = v * FC_LANES - c; lane < FC_LANES; lane++)
                ((real *)a->grad_weight)[(c + lane) * a->taps + tap] = sum[lane];
        }
    }
}
