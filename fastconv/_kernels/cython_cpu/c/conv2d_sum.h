/* Forward and grad_input: tiles of output pixels x output channels, summed over taps and channels. */

#ifndef FASTCONV_CONV2D_SUM_H
#define FASTCONV_CONV2D_SUM_H
enum { FC_ROWS, FC_COLS, FC_IMAGES, FC_AXES };

/* What an item works on: images n .. n + images - 1 of group g, target rows lo .. hi - 1, blocks of channels. */
typedef struct {
    ptrdiff_t n, images, g, lo, hi, source_lo, source_hi, k_block, k_end;
} fc_item;

/* Targets that share their taps: count[axis] of them, with steps of source and target elements. */
typedef struct {
    ptrdiff_t count[FC_AXES], source_step[FC_AXES], target_step[FC_AXES];
} fc_region;

/* Targets start + first * step .. of a run that lie in lo .. hi - 1: returns how many. */
static inline ptrdiff_t fc_clip_run(const int64_t *run, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t *first) {
    const ptrdiff_t start = run[0], count = run[1], step = run[2];
    const ptrdiff_t begin = lo > start ? (lo - start + step - 1) / step : 0;
    const ptrdiff_t end = hi > start ? (hi - start + step - 1) / step : 0;
    *first = begin;
    return (end < count ? end : count) - begin;
}

/* The axis along which tiles are fewest. */
static inline int fc_tile_axis(const ptrdiff_t *count, ptrdiff_t columns) {
    const ptrdiff_t all = count[FC_ROWS] * count[FC_COLS] * count[FC_IMAGES];
    int best = FC_COLS;
    ptrdiff_t fewest = all / count[FC_COLS] * ((count[FC_COLS] + columns - 1) / columns);
    for (int axis = FC_ROWS; axis <= FC_IMAGES; axis += FC_IMAGES) {
        const ptrdiff_t tiles = all / count[axis] * ((count[axis] + columns - 1) / columns);
        if (tiles < fewest)
            fewest = tiles, best = axis;
    }
    return best;
}
#endif

/* What one slot works with, and what an item has prepared in it. */
typedef struct {
    int64_t *entries;
    real *packed_source, *sums, *packed_target, *packed_weight, *bias;
    const real *source; /* of the item's first image, its origin at row 0 */
    real *target;       /* of the item's first image and block of channels, its origin at row 0 */
    fc_strides source_strides, target_strides;
    const FC_FN(panel_fn) (*tiles)[FC_MOST_COLUMNS];
    const ptrdiff_t *columns; /* of the widest tiles */
    FC_FN(fc_mask) orders[FC_LANES / 2];
    ptrdiff_t column; /* number of the next tile's first column: the place of its sums */
    const real *next_weight, *next_end; /* of the range after this one: what no tile has asked for yet */
    ptrdiff_t next_weights;             /* for which each tile asks */
    int streams;      /* whether the target goes past the caches */
    int is_packed;    /* whether packed_weight has the weights of all items */
    int is_near;      /* whether the source was copied a moment ago: it need not be asked for */
} FC_FN(fc_work);

/* One entry per tap, or per row of taps where its inputs and its weights follow one another, or several per tap where
 * its channels are more than a block of terms. */
static void FC_FN(list_entries)(const fc_sum_args *a, const FC_FN(fc_work) *w, ptrdiff_t row, ptrdiff_t col,
                                ptrdiff_t c0, ptrdiff_t channels, ptrdiff_t step, fc_panel *panel) {
    const ptrdiff_t first = a->cols.first[col], taps = a->cols.first[col + 1] - first;
    ptrdiff_t merged = taps > 1 && channels == a->C && w->source_strides.w == channels &&
                       taps * channels <= a->range_terms;
    for (ptrdiff_t e = first + 1; merged && e < first + taps; e++)
        merged = a->cols.sources[e] == a->cols.sources[e - 1] + 1 &&
                 a->cols.taps[e] == a->cols.taps[e - 1] + (a->flipped ? -1 : 1);
    const ptrdiff_t blocks = merged || a->dots || a->joined > 1 ? 1 : (channels + a->block_terms - 1) / a->block_terms;
    const ptrdiff_t parts = channels % blocks == 0 ? blocks : 1, part = channels / parts;
    int64_t *entry = w->entries;
    for (ptrdiff_t r = a->rows.first[row]; r < a->rows.first[row + 1]; r++)
        for (ptrdiff_t e = first; e < (merged ? first + 1 : first + taps); e++) {
            const ptrdiff_t tap = a->rows.taps[r] * a->tap_cols + a->cols.taps[e];
            const ptrdiff_t pixel = a->rows.sources[r] * w->source_strides.h + a->cols.sources[e] * w->source_strides.w;
            const ptrdiff_t weight = c0 * a->taps + (a->flipped ? a->taps - 1 - tap : tap) * channels;
            for (ptrdiff_t c = 0; c < channels; c += part, entry += 2) {
                entry[0] = pixel + c0 + c;
                entry[1] = (weight + c) * (a->dots || a->rows_in_place ? 1 : step);
            }
        }
    panel->entry_count = (entry - w->entries) / 2;
    panel->count = (merged ? taps * channels : part) / (a->dots ? FC_LANES : 1);
    panel->per_chunk = panel->count < a->block_terms ? a->block_terms / panel->count : 1;
}

/* What the next tile reads with its last entry, which no earlier tile has read, and where it writes. */
FC_INLINE void FC_FN(prefetch_tile)(const fc_panel *panel, int is_near, const real *x, const real *target,
                                    ptrdiff_t width, ptrdiff_t size) {
    const real *pixel = x + (panel->entry_count > 0 ? panel->entries[2 * panel->entry_count - 2] : 0);
    for (ptrdiff_t p = 0; p < width && !is_near; p++, pixel += panel->x_shift)
        for (ptrdiff_t c = 0; c < panel->count; c += FC_LINE) __builtin_prefetch(pixel + c, 0, 2);
    if (panel->last && !(panel->ending & FC_STREAMS))
        for (ptrdiff_t p = 0; p < width; p++, target += panel->target_step)
            for (ptrdiff_t k = 0; k < size; k += FC_LINE) __builtin_prefetch(target + k, 1, 2);
}

/* The next tile asks for its part of the weights of the next range: the first one alone would wait for all of them. */
FC_INLINE void FC_FN(foresee_weights)(FC_FN(fc_work) *w, fc_panel *panel) {
    const ptrdiff_t left = w->next_end - w->next_weight, count = left < w->next_weights ? left : w->next_weights;
    const ptrdiff_t terms = panel->entry_count * panel->count, bytes = count * (ptrdiff_t)sizeof(real);
    panel->ending &= ~FC_FORESEES;
    if (count == 0 || terms == 0)
        return;
    panel->ending |= FC_FORESEES;
    panel->ahead = w->next_weight;
    panel->ahead_step = (bytes + terms - 1) / terms;
    w->next_weight += count;
}

/* All tiles of a region; columns of a tile lie along the axis that needs the fewest tiles. */
static void FC_FN(sum_region)(FC_FN(fc_work) *w, const fc_region *region, fc_panel *panel, const real *source,
                              const real *packed, real *target, ptrdiff_t vectors) {
    const FC_FN(panel_fn) *panels = w->tiles[vectors - 1];
    const int axis = fc_tile_axis(region->count, w->columns[vectors - 1]);
    const int other = axis == FC_ROWS ? FC_COLS : FC_ROWS, outer = axis == FC_IMAGES ? FC_COLS : FC_IMAGES;
    const ptrdiff_t count = region->count[axis], columns = w->columns[vectors - 1];
    const ptrdiff_t tiles = (count + columns - 1) / columns, size = vectors * FC_LANES;
    panel->x_shift = region->source_step[axis];
    panel->target_step = region->target_step[axis];
    for (ptrdiff_t i = 0; i < region->count[outer]; i++)
        for (ptrdiff_t j = 0; j < region->count[other]; j++) {
            const real *x = source + i * region->source_step[outer] + j * region->source_step[other];
            real *to = target + i * region->target_step[outer] + j * region->target_step[other];
            for (ptrdiff_t t = 0; t < tiles; t++) {
                const ptrdiff_t begin = t * count / tiles, end = (t + 1) * count / tiles, width = end - begin;
                FC_FN(prefetch_tile)
                (panel, w->is_near, x + end * panel->x_shift, to + end * panel->target_step, width, size);
                FC_FN(foresee_weights)(w, panel);
                panels[width - 1](panel, x + begin * panel->x_shift, packed, w->sums + w->column * size,
                                  to + begin * panel->target_step);
                if (!(panel->first && panel->last))
                    w->column += width;
            }
        }
}

/* The weights of a block of output channels for input channels from c0 on, whose offsets count from channel 0. */
static const real *FC_FN(take_weight)(const fc_sum_args *a, const FC_FN(fc_work) *w, const fc_item *item,
                                      ptrdiff_t block, ptrdiff_t c0) {
    const ptrdiff_t unit = a->dots ? 1 : FC_LANES, all = (a->K + unit - 1) / unit;
    const ptrdiff_t first = a->k_blocks[2 * block], width = a->k_blocks[2 * block + 1] * unit;
    if (a->packed != NULL)
        return (const real *)a->packed + (item->g * all + first) * unit * a->taps * a->C;
    if (a->in_place || a->rows_in_place)
        return (const real *)a->packing.weight + item->g * a->packing.group_stride + first * unit * a->packing.k_stride;
    const ptrdiff_t before = c0 * a->taps * width;
    real *packed = w->packed_weight - (a->holds ? 0 : before);
    if (!w->is_packed)
        FC_FN(pack_range)(&a->packing, item->g, block, c0, packed + before);
    return packed;
}

/* One block of output channels of an item: every region, once for each range of input channels. */
static void FC_FN(sum_block)(const fc_sum_args *a, FC_FN(fc_work) *w, const fc_item *item, ptrdiff_t block,
                             ptrdiff_t channels) {
    const ptrdiff_t vectors = a->k_blocks[2 * block + 1];
    const ptrdiff_t step = a->packed == NULL && a->in_place ? a->packing.c_stride : vectors * FC_LANES;
    fc_panel panel = {.entries = w->entries, .bias = w->bias, .orders = w->orders, .x_step = 1, .w_step = step};
    panel.w_shift = a->taps * a->C;
    panel.target_shift = w->target_strides.c;
    panel.channels = channels;
    panel.ending = (a->bias != NULL ? FC_BIAS_LANES : 0) | a->activation;
    if (w->streams && !a->packed_target)
        panel.ending |= FC_STREAMS;
    const ptrdiff_t pixels = item->images * (item->hi - item->lo) * a->cols.targets;
    const ptrdiff_t tiles = (pixels + w->columns[vectors - 1] - 1) / w->columns[vectors - 1];
    const int foresees = a->packed != NULL && a->far_weights && !a->dots && a->joined <= 1;
    for (ptrdiff_t c0 = 0; c0 < a->C; c0 += a->c_range) {
        const ptrdiff_t range = a->C - c0 < a->c_range ? a->C - c0 : a->c_range;
        const real *packed = FC_FN(take_weight)(a, w, item, block, c0);
        const ptrdiff_t weights = foresees ? range * a->taps * vectors * FC_LANES : 0;
        w->next_weight = packed + (c0 + range) * a->taps * vectors * FC_LANES;
        w->next_end = w->next_weight + weights;
        w->next_weights = weights / tiles;
        panel.first = c0 == 0;
        panel.last = c0 + range == a->C;
        w->column = 0;
        for (const int64_t *row = a->rows.runs; row < a->rows.runs + 4 * a->rows.run_count; row += 4) {
            ptrdiff_t j;
            const ptrdiff_t rows = fc_clip_run(row, item->lo, item->hi, &j);
            if (rows <= 0)
                continue;
            for (const int64_t *col = a->cols.runs; col < a->cols.runs + 4 * a->cols.run_count; col += 4) {
                const fc_region region = {
                    .count = {rows, col[1], item->images},
                    .source_step = {row[3] * w->source_strides.h, col[3] * w->source_strides.w, w->source_strides.n},
                    .target_step = {row[2] * w->target_strides.h, col[2] * w->target_strides.w, w->target_strides.n},
                };
                FC_FN(list_entries)(a, w, row[0], col[0], c0, range, step, &panel);
                FC_FN(sum_region)
                (w, &region, &panel, w->source + j * region.source_step[FC_ROWS], packed,
                 w->target + row[0] * w->target_strides.h + j * region.target_step[FC_ROWS] +
                     col[0] * w->target_strides.w,
                 vectors);
            }
        }
    }
    w->is_packed = a->holds;
}

/* Where the channels of joined groups are in a vector of their source. */
static void FC_FN(order_groups)(const fc_sum_args *a, FC_FN(fc_work) *w, ptrdiff_t first) {
    const ptrdiff_t start = a->packed_source ? first : FC_FN(vector_start)(first, a->groups * a->source_channels);
    w->source -= first - start;
    FC_FN(list_orders)(w->orders, a->C, a->K / a->joined, first - start);
}

/* The source of an item with its channels together: as it is, or copied from planes. */
static void FC_FN(take_source)(const fc_sum_args *a, FC_FN(fc_work) *w, const fc_item *item) {
    const real *source = (const real *)a->source + item->n * a->source_strides.n + item->g * a->source_channels * a->source_strides.c;
    w->source = source;
    w->source_strides = a->source_strides;
    if (a->joined > 1)
        FC_FN(order_groups)(a, w, item->g * a->source_channels);
    if (!a->packed_source)
        return;
    const ptrdiff_t cols = a->source_strides.h, rows = item->source_hi - item->source_lo;
    const ptrdiff_t together = a->row_step == 1 ? rows : 1; /* rows that are copied at once */
    w->source_strides = (fc_strides){.n = rows * cols * a->pixel_step, .c = 1, .h = cols * a->pixel_step, .w = a->pixel_step};
    for (ptrdiff_t i = 0; i < item->images; i++)
        for (ptrdiff_t row = 0; row < rows; row += together * a->row_step)
            FC_FN(transpose_any)
            (source + i * a->source_strides.n + (item->source_lo + row) * cols, NULL, a->source_strides.c,
             w->packed_source + i * w->source_strides.n + row * w->source_strides.h, NULL, a->pixel_step,
             a->source_channels, together * cols, (rows - row) * cols);
    w->source = w->packed_source - item->source_lo * w->source_strides.h;
}

/* Where an item's block of channels goes: to its place, or to scratch from which planes are filled. */
static void FC_FN(place_target)(const fc_sum_args *a, FC_FN(fc_work) *w, const fc_item *item, ptrdiff_t k0,
                                ptrdiff_t width) {
    w->target = (real *)a->target + item->n * a->target_strides.n + (item->g * a->K + k0) * a->target_strides.c;
    w->target_strides = a->target_strides;
    if (!a->packed_target)
        return;
    const ptrdiff_t cols = a->target_strides.h;
    w->target_strides = (fc_strides){.n = (item->hi - item->lo) * cols * width, .c = 1, .h = cols * width, .w = width};
    w->target = w->packed_target - item->lo * w->target_strides.h;
}

static void FC_FN(fill_planes)(const fc_sum_args *a, const FC_FN(fc_work) *w, const fc_item *item, ptrdiff_t k0,
                               ptrdiff_t channels) {
    const ptrdiff_t cols = a->target_strides.h;
    real *target = (real *)a->target + item->n * a->target_strides.n + (item->g * a->K + k0) * a->target_strides.c;
    for (ptrdiff_t i = 0; i < item->images; i++)
        (w->streams ? FC_FN(transpose_streaming) : FC_FN(transpose))
        (w->packed_target + i * w->target_strides.n, w->target_strides.w,
         target + i * a->target_strides.n + item->lo * cols, a->target_strides.c, (item->hi - item->lo) * cols,
         channels);
}

static void FC_FN(sum_item)(const fc_sum_args *a, FC_FN(fc_work) *w, const fc_item *item) {
    const ptrdiff_t unit = a->dots ? 1 : FC_LANES;
    FC_FN(take_source)(a, w, item);
    for (ptrdiff_t block = item->k_block; block < item->k_end; block++) {
        const ptrdiff_t k0 = a->k_blocks[2 * block] * unit, width = a->k_blocks[2 * block + 1] * unit;
        const ptrdiff_t channels = a->K - k0 < width ? a->K - k0 : width;
        if (a->bias != NULL)
            memcpy(w->bias, (const real *)a->bias + item->g * a->K + k0, (size_t)channels * sizeof(real));
        FC_FN(place_target)(a, w, item, k0, width);
        FC_FN(sum_block)(a, w, item, block, channels);
        if (a->packed_target)
            FC_FN(fill_planes)(a, w, item, k0, channels);
    }
}

/* One item per (group of images, group, block of target rows, group of blocks of channels). */
static void FC_FN(sum)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_sum_args *a = ctx;
    char *scratch = a->scratch + slot * a->scratch_bytes;
    FC_FN(fc_work) w = {.bias = (real *)scratch, .is_near = a->packed_source > 0};
    w.sums = w.bias + FC_BLOCK;
    w.packed_source = w.sums + a->sums;
    w.packed_target = w.packed_source + a->packed_source;
    w.packed_weight = w.packed_target + a->packed_target;
    w.entries = (int64_t *)(scratch + a->scratch_bytes) - 2 * a->entries; /* aligned, whatever lies before */
    w.tiles = a->dots ? FC_FN(dots_tiles) : a->joined > 1 ? FC_FN(group_tiles) : FC_FN(panels);
    w.columns = a->joined > 1 ? FC_FN(group_columns) : FC_FN(columns);
    if (a->rows_in_place)
        w.tiles = FC_FN(row_tiles), w.columns = FC_FN(row_columns);
    /* The plan says that lines are written whole if the first one is. */
    w.streams = a->streams && (uintptr_t)a->target % (FC_LINE * sizeof(real)) == 0;
    memset(w.bias, 0, FC_BLOCK * sizeof(real));
    const ptrdiff_t k_groups = (a->k_block_count + a->k_group - 1) / a->k_group;
    for (ptrdiff_t i = lo; i < hi; i++) {
        const ptrdiff_t kg = i % k_groups, rest = i / k_groups, b = rest % a->row_block_count;
        const int64_t *rows = a->row_blocks + 4 * b;
        fc_item item = {.lo = rows[0], .hi = rows[1], .source_lo = rows[2], .source_hi = rows[3]};
        item.g = rest / a->row_block_count % a->groups;
        item.n = rest / a->row_block_count / a->groups * a->images;
        item.images = a->N - item.n < a->images ? a->N - item.n : a->images;
        item.k_block = kg * a->k_group;
        item.k_end = item.k_block + a->k_group < a->k_block_count ? item.k_block + a->k_group : a->k_block_count;
        FC_FN(sum_item)(a, &w, &item);
    }
    if (w.streams)
        FC_STREAM_FENCE();
}
