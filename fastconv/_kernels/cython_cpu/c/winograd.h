/* Winograd's minimal filtering of 3 x 3 taps (A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks",
 * 2016): tiles of the source and the weight are transformed, so that a tile of size x size targets is a sum over
 * channels of (size + 2)^2 products instead of 9 size^2; each of these products is one of matrices, tiles x channels. */
#include "winograd_weight.h"

#ifndef FASTCONV_WINOGRAD_H
#define FASTCONV_WINOGRAD_H
/* Where a tile lies: its image, its first target. */
typedef struct {
    ptrdiff_t n, row, col;
} fc_place;

static inline fc_place fc_tile_place(const fc_winograd_args *a, ptrdiff_t tile) {
    const ptrdiff_t image = a->tile_rows * a->tile_cols, in_image = tile % image;
    return (fc_place){tile / image, in_image / a->tile_cols * a->size, in_image % a->tile_cols * a->size};
}
#endif

/* What one slot works with. */
typedef struct {
    real *sources; /* transformed[point][tile][c] */
    real *products; /* [point][tile][k] of a block of channels */
    real *sums, *zeros;
    int64_t *entries;
    real bias[FC_BLOCK];
} FC_FN(fc_winograd_work);

/* The pixels under a tile, row by row; those in the padding are zeros. */
static void FC_FN(list_pixels)(const fc_winograd_args *a, ptrdiff_t g, ptrdiff_t tile, const real *zeros,
                               const real **pixels) {
    const fc_place at = fc_tile_place(a, tile);
    const fc_strides s = a->source_strides;
    const real *image = (const real *)a->source + at.n * s.n + g * a->C * s.c;
    const ptrdiff_t row = at.row - a->pad_rows, col = at.col - a->pad_cols, count = a->size + 2;
    for (ptrdiff_t i = row; i < row + count; i++)
        for (ptrdiff_t j = col; j < col + count; j++)
            *pixels++ = i >= 0 && i < a->source_rows && j >= 0 && j < a->source_cols ? image + i * s.h + j * s.w : zeros;
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

/* All tiles of a block; those of the next tile's pixels that this one does not have are asked for. */
FC_INLINE void FC_FN(transform_sources)(const int size, const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w,
                                        ptrdiff_t g, ptrdiff_t first, ptrdiff_t tiles) {
    const int count = size + 2;
    const real *listed[2][FC_WINOGRAD_SIZE * FC_WINOGRAD_SIZE];
    FC_FN(list_pixels)(a, g, first, w->zeros, listed[0]);
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const real **pixels = listed[t % 2], **next = listed[(t + 1) % 2];
        real *to = w->sources + t * a->source_pitch;
        FC_FN(list_pixels)(a, g, first + (t + 1 < tiles ? t + 1 : t), w->zeros, next);
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

/* The products of one block of channels: one matrix for each point. What the next matrix reads is asked for. */
static void FC_FN(multiply_block)(const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w, ptrdiff_t points,
                                  ptrdiff_t vectors, ptrdiff_t tiles, const real *transformed, const real *end) {
    const ptrdiff_t width = vectors * FC_LANES, columns = FC_FN(columns)[vectors - 1];
    const ptrdiff_t panels = (tiles + columns - 1) / columns, ahead = (a->C * width + panels - 1) / panels;
    fc_panel panel = {.entries = w->entries, .count = a->part, .x_step = 1, .x_shift = a->source_pitch};
    panel.entry_count = a->C / a->part;
    panel.per_chunk = 1;
    panel.w_step = panel.channels = panel.target_step = width;
    panel.first = panel.last = 1;
    for (ptrdiff_t e = 0; e < panel.entry_count; e++) {
        w->entries[2 * e] = e * a->part;
        w->entries[2 * e + 1] = e * a->part * width;
    }
    for (ptrdiff_t point = 0; point < points; point++, transformed += a->weight_step)
        for (ptrdiff_t p = 0; p < panels; p++) {
            const ptrdiff_t begin = p * tiles / panels, count = (p + 1) * tiles / panels - begin;
            const real *next = transformed + a->weight_step + p * ahead;
            for (ptrdiff_t i = 0; i < ahead && next + i < end; i += FC_LINE) __builtin_prefetch(next + i, 0, 2);
            FC_FN(panels)[vectors - 1][count - 1](
                &panel, w->sources + point * a->source_step + begin * a->source_pitch, transformed, w->sums,
                w->products + point * a->sums_step + begin * width);
        }
}

/* One target as a plain sum, without what lies in the padding. */
static real FC_FN(sum_target)(const fc_winograd_args *a, ptrdiff_t g, fc_place at, ptrdiff_t k) {
    const fc_strides s = a->source_strides;
    const real *image = (const real *)a->source + at.n * s.n + g * a->C * s.c;
    const real *weight = (const real *)a->weight + g * a->group_stride + k * a->k_stride;
    real total = 0;
    for (ptrdiff_t tap = 0; tap < 9; tap++) {
        const ptrdiff_t row = at.row - a->pad_rows + tap / 3, col = at.col - a->pad_cols + tap % 3;
        if (row < 0 || row >= a->source_rows || col < 0 || col >= a->source_cols)
            continue;
        const real *pixel = image + row * s.h + col * s.w, *taps = weight + (a->flipped ? 8 - tap : tap);
        for (ptrdiff_t c = 0; c < a->C; c += FC_LANES) {
            real sum = 0;
            for (ptrdiff_t i = c; i < c + FC_LANES && i < a->C; i++) sum += pixel[i * s.c] * taps[i * a->c_stride];
            total += sum;
        }
    }
    return total;
}

FC_INLINE void FC_FN(store_lanes)(real *to, vec value, ptrdiff_t lanes) {
    if (lanes >= FC_LANES)
        *(vec *)to = value;
    else
        memcpy(to, &value, (size_t)lanes * sizeof(real));
}

/* A tile that holds what is not finite: transforms spread that over all of it, so each target is summed by itself. */
static void FC_FN(sum_tile_targets)(const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w, ptrdiff_t g, fc_place tile,
                            ptrdiff_t k0, ptrdiff_t channels, real *target) {
    for (ptrdiff_t i = 0; i < a->size && tile.row + i < a->target_rows; i++)
        for (ptrdiff_t j = 0; j < a->size && tile.col + j < a->target_cols; j++)
            for (ptrdiff_t k = 0; k < channels; k++) {
                const fc_place at = {tile.n, tile.row + i, tile.col + j};
                real sum = FC_FN(sum_target)(a, g, at, k0 + k) + w->bias[k];
                if (a->activation & FC_RELU && sum < 0) sum = 0;
                if (a->activation & FC_RELU6 && sum > 6) sum = 6;
                target[i * a->target_strides.h + j * a->target_strides.w + k] = sum;
            }
}

/* A tile of a vector of channels; returns what is NaN where a result is not finite. */
FC_INLINE vec FC_FN(transform_products)(const int size, const real *from, ptrdiff_t step, vec bias, int activation,
                                        ptrdiff_t rows, ptrdiff_t cols, fc_strides to, ptrdiff_t lanes, real *target) {
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

/* All tiles of a block of channels. */
FC_INLINE void FC_FN(transform_targets)(const int size, const fc_winograd_args *a, const FC_FN(fc_winograd_work) *w,
                                        ptrdiff_t g, ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t k0, ptrdiff_t vectors) {
    const fc_strides s = a->target_strides;
    const ptrdiff_t width = vectors * FC_LANES, channels = a->K - k0 < width ? a->K - k0 : width;
    for (ptrdiff_t t = 0; t < tiles; t++) {
        const fc_place at = fc_tile_place(a, first + t);
        const ptrdiff_t rows = a->target_rows - at.row, cols = a->target_cols - at.col;
        real *target = (real *)a->target + at.n * s.n + at.row * s.h + at.col * s.w + (g * a->K + k0) * s.c;
        vec doubt = {0};
        for (ptrdiff_t o = 0; o < vectors; o++)
            doubt += FC_FN(transform_products)(size, w->products + t * width + o * FC_LANES, a->sums_step,
                                               *(const vec *)(w->bias + o * FC_LANES), a->activation, rows, cols, s,
                                               channels - o * FC_LANES, target + o * FC_LANES);
        if (__builtin_expect(FC_FN(has_nan)(doubt), 0))
            FC_FN(sum_tile_targets)(a, w, g, at, k0, channels, target);
    }
}

/* The tiles of an item for one group of blocks of channels. */
FC_INLINE void FC_FN(winograd_item)(const int size, const fc_winograd_args *a, FC_FN(fc_winograd_work) *w, ptrdiff_t g,
                                    ptrdiff_t first, ptrdiff_t tiles, ptrdiff_t k_group, int is_transformed) {
    const ptrdiff_t points = (size + 2) * (size + 2), step = points * a->weight_step;
    const ptrdiff_t begin = k_group * a->k_group, end = begin + a->k_group;
    if (!is_transformed)
        FC_FN(transform_sources)(size, a, w, g, first, tiles);
    for (ptrdiff_t block = begin; block < end && block < a->k_block_count; block++) {
        const ptrdiff_t vector = a->k_blocks[2 * block], vectors = a->k_blocks[2 * block + 1], k0 = vector * FC_LANES;
        const real *group = (const real *)a->transformed + g * a->k_block_count * step;
        const ptrdiff_t channels = a->K - k0 < vectors * FC_LANES ? a->K - k0 : vectors * FC_LANES;
        if (a->bias != NULL)
            memcpy(w->bias, (const real *)a->bias + g * a->K + k0, (size_t)channels * sizeof(real));
        FC_FN(multiply_block)
        (a, w, points, vectors, tiles, group + block * step, group + a->k_block_count * step);
        FC_FN(transform_targets)(size, a, w, g, first, tiles, k0, vectors);
    }
}

/* One item per (group, block of tiles, group of blocks of channels). */
static void FC_FN(winograd)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_winograd_args *a = ctx;
    const ptrdiff_t points = (a->size + 2) * (a->size + 2), k_groups = (a->k_block_count + a->k_group - 1) / a->k_group;
    const ptrdiff_t all = a->N * a->tile_rows * a->tile_cols;
    FC_FN(fc_winograd_work) w = {.sources = (real *)(a->scratch + slot * a->scratch_bytes)};
    w.products = w.sources + points * a->source_step;
    w.sums = w.products + points * a->sums_step;
    w.zeros = w.sums + FC_BLOCK * FC_MOST_COLUMNS;
    w.entries = (int64_t *)(a->scratch + (slot + 1) * a->scratch_bytes) - 2 * (a->C / a->part);
    memset(w.zeros, 0, (size_t)a->C * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t k_group = item % k_groups, block = item / k_groups % a->tile_blocks;
        const ptrdiff_t g = item / k_groups / a->tile_blocks, first = block * all / a->tile_blocks;
        const ptrdiff_t tiles = (block + 1) * all / a->tile_blocks - first;
        const int is_transformed = k_group > 0 && item > lo;
        if (a->size == 2)
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
