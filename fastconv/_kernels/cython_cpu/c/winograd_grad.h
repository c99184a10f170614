/* grad_weight of 3 x 3 layers, the adjoint of Winograd's minimal filtering: where forward multiplies points of a tile
 * with points of the weight, points of x are multiplied with those of grad_out and summed over all tiles. Each point is
 * a product of matrices, input channels x tiles x output channels. */

#ifndef FASTCONV_WINOGRAD_GRAD_H
#define FASTCONV_WINOGRAD_GRAD_H
/* Tiles of the microkernel from one that runs to the one of which the sums are asked for. */
enum { FC_SUMS_AHEAD = 4, FC_STORED_CHANNELS = 16 };

/* What an item owns of grad_weight: group g, blocks of output channels, input channels c0 .. */
typedef struct {
    ptrdiff_t g, k_block, k_end, k0, outputs, c0, channels;
} fc_winograd_part;

static inline ptrdiff_t fc_smaller(ptrdiff_t a, ptrdiff_t b) {
    return a < b ? a : b;
}
#endif

/* What one slot works with. */
typedef struct {
    real *x_points, *grad_points; /* [point][tile][c], [point][tile][k] */
    real *sums;                   /* [point][block of output channels][c][k] */
    real *zeros, *strip;          /* as those of a fc_point_job */
} FC_FN(fc_winograd_grad_work);

static fc_winograd_part FC_FN(winograd_part)(const fc_winograd_grad_args *a, ptrdiff_t part) {
    const ptrdiff_t k_groups = (a->k_block_count + a->k_group - 1) / a->k_group, c_block = part % a->c_blocks;
    fc_winograd_part p = {.g = part / a->c_blocks / k_groups,
                          .k_block = part / a->c_blocks % k_groups * a->k_group,
                          .c0 = c_block * a->C / a->c_blocks};
    p.k_end = fc_smaller(p.k_block + a->k_group, a->k_block_count);
    p.k0 = a->k_blocks[2 * p.k_block] * FC_LANES;
    p.outputs = fc_smaller((a->k_blocks[2 * p.k_end - 2] + a->k_blocks[2 * p.k_end - 1]) * FC_LANES, a->K) - p.k0;
    p.channels = (c_block + 1) * a->C / a->c_blocks - p.c0;
    return p;
}

/* The points of some tiles. */
FC_INLINE void FC_FN(take_points)(const int size, const fc_winograd_grad_args *a, const FC_FN(fc_winograd_grad_work) *w,
                                  const fc_winograd_part *p, ptrdiff_t first, ptrdiff_t tiles) {
    const FC_FN(fc_point_job) x = {
        .tiled = &a->inputs,
        .origin = (real *)a->x + (p->g * a->C + p->c0) * a->inputs.strides.c,
        .strip = w->strip,
        .zeros = w->zeros,
        .channels = p->channels,
        .pitch = a->x_pitch,
        .step = a->x_step,
    };
    const FC_FN(fc_point_job) grad_out = {
        .tiled = &a->outputs,
        .origin = (real *)a->grad_out + (p->g * a->K + p->k0) * a->outputs.strides.c,
        .strip = w->strip,
        .zeros = w->zeros,
        .channels = p->outputs,
        .pitch = a->grad_pitch,
        .step = a->grad_step,
    };
    FC_FN(transform_tiles)(FC_SOURCES, size, &x, first, tiles, w->x_points);
    FC_FN(transform_tiles)(FC_GRADIENTS, size, &grad_out, first, tiles, w->grad_points);
}

/* Products of the points of some tiles are added to the sums; fresh: these hold nothing yet. */
static void FC_FN(add_points)(const fc_winograd_grad_args *a, const FC_FN(fc_winograd_grad_work) *w,
                              const fc_winograd_part *p, ptrdiff_t points, ptrdiff_t tiles, int fresh, real *sums) {
    const int64_t entry[2] = {0, 0};
    const fc_panel panel = {
        .entries = entry,
        .entry_count = 1,
        .per_chunk = 1,
        .count = tiles,
        .x_step = a->x_pitch,
        .x_shift = 1,
        .w_step = a->grad_pitch,
        .first = fresh,
    };
    for (ptrdiff_t point = 0; point < points; point++) {
        const real *x = w->x_points + point * a->x_step, *grad_out = w->grad_points + point * a->grad_step;
        real *to = sums + point * a->sums_step;
        for (ptrdiff_t block = p->k_block; block < p->k_end; block++) {
            const ptrdiff_t vectors = a->k_blocks[2 * block + 1], width = vectors * FC_LANES;
            const ptrdiff_t most = FC_FN(columns)[vectors - 1], panels = (p->channels + most - 1) / most;
            for (ptrdiff_t i = 0, c = 0, end; i < panels; i++, c = end) {
                end = (i + 1) * p->channels / panels;
                for (ptrdiff_t next = 0; next < (end - c) * width; next += FC_LINE)
                    __builtin_prefetch(to + FC_SUMS_AHEAD * most * width + next, 1, 3);
                FC_FN(panels)[vectors - 1][end - c - 1](&panel, x + c, grad_out, to, NULL);
                to += (end - c) * width;
            }
            grad_out += width;
        }
    }
}

/* The taps of a vector of output channels and one input channel, from the sums of all segments in their order; returns
 * what is NaN where a result is not finite. */
FC_INLINE vec FC_FN(make_taps)(const int size, const real *sums, ptrdiff_t step, ptrdiff_t segments,
                               ptrdiff_t segment_step, vec *taps) {
    const int count = size + 2;
    vec half[3][FC_WINOGRAD_SIZE], u[FC_WINOGRAD_SIZE], g[3], doubt = {0};
#pragma GCC unroll 6
    for (int j = 0; j < count; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            const real *from = sums + (i * count + j) * step;
            u[i] = *(const vec *)from;
            for (ptrdiff_t segment = 1; segment < segments; segment++) u[i] += *(const vec *)(from + segment * segment_step);
        }
        FC_FN(tap_transform)(size, u, g);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) half[i][j] = g[i];
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        FC_FN(tap_transform)(size, half[i], g);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            taps[3 * i + j] = g[j];
            doubt += g[j] * (real)0;
        }
    }
    return doubt;
}

/* grad_weight of some input channels from c on, and all output channels of a part. */
FC_INLINE void FC_FN(store_channels)(const int size, const fc_winograd_grad_args *a, const fc_winograd_part *p,
                                     const real *sums, ptrdiff_t segments, ptrdiff_t c, ptrdiff_t channels) {
    vec taps[9 * FC_STORED_CHANNELS], doubt = {0};
    for (ptrdiff_t block = p->k_block; block < p->k_end; block++) {
        const ptrdiff_t vectors = a->k_blocks[2 * block + 1], width = vectors * FC_LANES;
        for (ptrdiff_t o = 0; o < vectors; o++) {
            const ptrdiff_t k0 = (a->k_blocks[2 * block] + o) * FC_LANES, lanes = fc_smaller(FC_LANES, a->K - k0);
            for (ptrdiff_t i = 0; i < channels; i++)
                doubt += FC_FN(make_taps)(size, sums + (c + i) * width + o * FC_LANES, a->sums_step, segments,
                                          a->parts * a->sums, taps + 9 * i);
            real *target = (real *)a->grad_weight + ((p->g * a->K + k0) * a->C + p->c0 + c) * 9;
            FC_FN(transpose_any)((const real *)taps, NULL, FC_LANES, target, NULL, a->C * 9, 9 * channels, lanes, FC_LANES);
        }
        sums += p->channels * width;
    }
    real doubts = 0;
    for (ptrdiff_t lane = 0; lane < FC_LANES; lane++) doubts += doubt[lane];
    if (doubts != doubts)
        __atomic_store_n(a->doubt, 1, __ATOMIC_RELAXED);
}

static void FC_FN(store_sums)(const fc_winograd_grad_args *a, const fc_winograd_part *p, const real *sums,
                              ptrdiff_t segments, ptrdiff_t c, ptrdiff_t channels) {
    if (a->size == 2)
        FC_FN(store_channels)(2, a, p, sums, segments, c, channels);
    else
        FC_FN(store_channels)(4, a, p, sums, segments, c, channels);
}

/* One item per (segment of the blocks of tiles, part). */
static void FC_FN(winograd_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_winograd_grad_args *a = ctx;
    const ptrdiff_t points = (a->size + 2) * (a->size + 2), all = a->N * a->inputs.tile_rows * a->inputs.tile_cols;
    FC_FN(fc_winograd_grad_work) w = {.x_points = (real *)(a->scratch + slot * a->scratch_bytes)};
    w.grad_points = w.x_points + points * a->x_step;
    w.zeros = w.grad_points + points * a->grad_step;
    w.strip = w.zeros + a->x_pitch + a->grad_pitch;
    real *own_sums = w.strip + a->strip;
    memset(w.zeros, 0, (size_t)(a->x_pitch + a->grad_pitch) * sizeof(real));
    for (ptrdiff_t item = lo; item < hi; item++) {
        const fc_winograd_part p = FC_FN(winograd_part)(a, item % a->parts);
        const ptrdiff_t segment = item / a->parts, begin = segment * a->tile_blocks / a->segments;
        const ptrdiff_t end = (segment + 1) * a->tile_blocks / a->segments;
        real *sums = a->segments > 1 ? (real *)a->partials + item * a->sums : own_sums;
        for (ptrdiff_t block = begin; block < end; block++) {
            const ptrdiff_t first = block * all / a->tile_blocks, tiles = (block + 1) * all / a->tile_blocks - first;
            if (a->size == 2)
                FC_FN(take_points)(2, a, &w, &p, first, tiles);
            else
                FC_FN(take_points)(4, a, &w, &p, first, tiles);
            FC_FN(add_points)(a, &w, &p, points, tiles, block == begin, sums);
        }
        if (a->segments == 1)
            for (ptrdiff_t c = 0; c < p.channels; c += FC_STORED_CHANNELS)
                FC_FN(store_sums)(a, &p, sums, 1, c, fc_smaller(FC_STORED_CHANNELS, p.channels - c));
    }
}

/* One item per (part, some input channels of it): the sums of all segments. */
static void FC_FN(reduce_winograd_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_winograd_grad_args *a = ctx;
    const ptrdiff_t most = (a->C + a->c_blocks - 1) / a->c_blocks;
    const ptrdiff_t pieces = (most + FC_STORED_CHANNELS - 1) / FC_STORED_CHANNELS;
    (void)slot;
    for (ptrdiff_t item = lo; item < hi; item++) {
        const fc_winograd_part p = FC_FN(winograd_part)(a, item / pieces);
        const ptrdiff_t c = item % pieces * FC_STORED_CHANNELS;
        if (c < p.channels)
            FC_FN(store_sums)(a, &p, (const real *)a->partials + item / pieces * a->sums, a->segments, c,
                              fc_smaller(FC_STORED_CHANNELS, p.channels - c));
    }
}

const fc_winograd_grad_kernels FC_FN(fc_winograd_grad) = {
    .stored_channels = FC_STORED_CHANNELS,
    .sum = FC_FN(winograd_grad),
    .reduce = FC_FN(reduce_winograd_grad),
};
