/* Winograd's minimal filtering of 3 x 3 taps (A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks",
 * 2016): tiles of the source and the weight are transformed, so that a tile of size x size targets is a sum over
 * channels of (size + 2)^2 products instead of 9 size^2; each of these products is one of matrices, tiles x channels. */
#include "winograd_weight.h"
#include "winograd_direct.h"
#include "winograd_targets.h"

/* What is multiplied of a weight: input channels begin .., and where what is transformed of the group ends. */
typedef struct {
    const real *points, *end;
    ptrdiff_t step, begin, channels;
} FC_FN(fc_weight_points);

/* The products of one block of channels: one matrix for each point. What the next matrix reads is asked for. */
static void FC_FN(multiply_block)(const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w, ptrdiff_t points,
                                  ptrdiff_t vectors, ptrdiff_t tiles, FC_FN(fc_weight_points) weight) {
    const ptrdiff_t width = vectors * FC_LANES, columns = FC_FN(columns)[vectors - 1];
    const ptrdiff_t panels = (tiles + columns - 1) / columns, ahead = (width + panels - 1) / panels;
    fc_panel panel = {.entries = w->entries, .count = a->part, .x_step = 1, .x_shift = a->source_pitch};
    panel.entry_count = weight.channels / a->part;
    panel.per_chunk = 1;
    panel.w_step = panel.channels = panel.target_step = width;
    panel.ahead_step = ahead * (ptrdiff_t)sizeof(real);
    panel.first = weight.begin == 0;
    panel.last = weight.begin + weight.channels == a->C;
    for (ptrdiff_t e = 0; e < panel.entry_count; e++) {
        w->entries[2 * e] = e * a->part;
        w->entries[2 * e + 1] = e * a->part * width;
    }
    for (ptrdiff_t point = 0; point < points; point++, weight.points += weight.step)
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t begin = p * tiles / panels, count = (p + 1) * tiles / panels - begin;
            const real *source = w->sources + point * a->source_step + begin * a->source_pitch + weight.begin;
            const real *next = weight.points + weight.step + p * weight.channels * ahead;
            real *products = w->products + point * a->sums_step + begin * width;
            panel.ahead = next;
            panel.ending = next < weight.end ? FC_FORESEES : 0;
            FC_FN(panels)[vectors - 1][count - 1](&panel, source, weight.points, products, products);
        }
}

/* The same with a weight that is transformed on the way, a part of the input channels after the other. */
FC_INLINE void FC_FN(multiply_taps)(const int size, const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w,
                                    ptrdiff_t g, ptrdiff_t k0, ptrdiff_t vectors, ptrdiff_t tiles) {
    const ptrdiff_t points = (size + 2) * (size + 2);
    for (ptrdiff_t c = 0; c < a->C; c += a->part) {
        FC_FN(transform_block)(size, a, g, k0, vectors, c, a->part, w->points);
        FC_FN(multiply_block)
        (a, w, points, vectors, tiles,
         (FC_FN(fc_weight_points)){w->points, w->points + points * a->part_step, a->part_step, c, a->part});
    }
}

/* The tiles of an item for one group of blocks of channels. */
FC_INLINE void FC_FN(winograd_item)(const int size, const fc_winograd_args *a, FC_FN(fc_winograd_work) *w, ptrdiff_t g,
                                    ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t k_group, int is_transformed) {
    const ptrdiff_t points = (size + 2) * (size + 2), step = points * a->weight_step;
    const ptrdiff_t begin = k_group * a->k_group, end = begin + a->k_group;
    const FC_FN(fc_point_job) sources = {
        .tiled = &a->sources,
        .origin = (real *)a->source + g * a->C * a->sources.strides.c,
        .zeros = w->zeros,
        .strip = w->strip,
        .channels = a->C,
        .pitch = a->source_pitch,
        .step = a->source_step,
    };
    if (!is_transformed)
        FC_FN(transform_tiles)(FC_SOURCES, size, &sources, first, tiles, w->sources);
    for (ptrdiff_t block = begin; block < end && block < a->k_block_count; block++) {
        const ptrdiff_t vector = a->k_blocks[2 * block], vectors = a->k_blocks[2 * block + 1], k0 = vector * FC_LANES;
        const ptrdiff_t channels = a->K - k0 < vectors * FC_LANES ? a->K - k0 : vectors * FC_LANES;
        if (a->bias != NULL)
            memcpy(w->bias, (const real *)a->bias + g * a->K + k0, (size_t)channels * sizeof(real));
        if (a->transformed != NULL) {
            const real *group = (const real *)a->transformed + g * a->k_block_count * step;
            FC_FN(multiply_block)
            (a, w, points, vectors, tiles,
             (FC_FN(fc_weight_points)){group + block * step, group + a->k_block_count * step, a->weight_step, 0, a->C});
        } else {
            FC_FN(multiply_taps)(size, a, w, g, k0, vectors, tiles);
        }
        w->has_taps = 0;
        FC_FN(transform_targets)(size, a, w, g, first, tiles, k0, vectors);
    }
}

/* One item per (group, block of tiles, group of blocks of channels). */
static void FC_FN(winograd)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_winograd_args *a = ctx;
    const ptrdiff_t points = (a->sources.size + 2) * (a->sources.size + 2);
    const ptrdiff_t k_groups = (a->k_block_count + a->k_group - 1) / a->k_group, all = a->N * a->sources.tile_rows * a->sources.tile_cols;
    FC_FN(fc_winograd_work) w = {.sources = (real *)(a->scratch + slot * a->scratch_bytes)};
    w.products = w.sources + points * a->source_step;
    w.points = w.taps = w.products + points * a->sums_step;
    w.sums = w.points + a->shared;
    w.zeros = w.sums + FC_BLOCK;
    w.strip = w.zeros + a->C + FC_LANES;
    w.entries = (int64_t *)(a->scratch + (slot + 1) * a->scratch_bytes) - 18 * (a->C / a->part);
    memset(w.zeros, 0, (size_t)a->C * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t k_group = item % k_groups, block = item / k_groups % a->tile_blocks;
        const ptrdiff_t g = item / k_groups / a->tile_blocks, first = block * all / a->tile_blocks;
        const ptrdiff_t tiles = (block + 1) * all / a->tile_blocks - first;
        const int is_transformed = k_group > 0 && item > lo;
        if (a->sources.size == 2)
            FC_FN(winograd_item)(2, a, &w, g, first, tiles, k_group, is_transformed);
        else
            FC_FN(winograd_item)(4, a, &w, g, first, tiles, k_group, is_transformed);
    }
}

const fc_winograd_kernels FC_FN(fc_winograd) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .sum = FC_FN(winograd),
    .transform = FC_FN(transform_weight),
};
