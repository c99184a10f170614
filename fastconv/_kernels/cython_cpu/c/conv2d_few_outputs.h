/* Forward and grad_input with few target channels: vectors of target pixels x target channels.
 *
 * With a vector of target channels most lanes would be empty. Rows of the source go to scratch as planes with zeros
 * around them, so that a vector reads beyond the border what adds nothing: the weights must be finite. */
#include "few_outputs_args.h"
#include "panel.h"
#include "transpose.h"

/* What one slot works with: source planes from row first_row on, and one tile of the result. */
typedef struct {
    int64_t *entries;
    real *planes, *sums, *tile;
    ptrdiff_t first_row, plane;
} FC_FN(fc_work);

/* Source rows first .. first + rows - 1 of a group of an image, one after another in each plane. */
static void FC_FN(take_rows)(const fc_few_outputs_args *a, const FC_FN(fc_work) *w, const real *source) {
    const fc_strides *from = &a->source_strides;
    const ptrdiff_t low = w->first_row > 0 ? w->first_row : 0;
    const ptrdiff_t end = w->first_row + a->scratch_rows < a->rows.sources ? w->first_row + a->scratch_rows : a->rows.sources;
    memset(w->planes, 0, (size_t)(a->C * w->plane) * sizeof(real));
    for (ptrdiff_t row = low; row < end; row++) {
        real *to = w->planes + (row - w->first_row) * a->pitch - a->cols.lowest;
        if (from->w != 1)
            FC_FN(transpose)(source + row * from->h, from->w, to, w->plane, a->cols.sources, a->C);
        else
            for (ptrdiff_t c = 0; c < a->C; c++)
                memcpy(to + c * w->plane, source + c * from->c + row * from->h, (size_t)a->cols.sources * sizeof(real));
    }
}

/* One entry per tap of the two phases and range of source channels. */
static void FC_FN(list_taps)(const fc_few_outputs_args *a, const FC_FN(fc_work) *w, ptrdiff_t row_phase,
                             ptrdiff_t col_phase, fc_panel *panel) {
    int64_t *entry = w->entries;
    for (ptrdiff_t r = a->rows.first[row_phase]; r < a->rows.first[row_phase + 1]; r++)
        for (ptrdiff_t e = a->cols.first[col_phase]; e < a->cols.first[col_phase + 1]; e++)
            for (ptrdiff_t c = 0; c < a->C; c += a->c_range, entry += 2) {
                entry[0] = a->rows.pairs[2 * r] * a->tap_cols + a->cols.pairs[2 * e] + c * a->c_stride;
                entry[1] = c * w->plane + a->rows.pairs[2 * r + 1] * a->pitch + a->cols.pairs[2 * e + 1] - a->cols.lowest;
            }
    panel->entry_count = (entry - w->entries) / 2;
}

/* The tile's valid pixels, which lie `step` elements apart. */
static void FC_FN(spread)(const fc_few_outputs_args *a, const real *tile, ptrdiff_t width, ptrdiff_t valid, real *target,
                          ptrdiff_t step) {
    for (ptrdiff_t k = 0; k < a->K; k++)
        for (ptrdiff_t i = 0; i < valid; i++) target[k * a->target_strides.c + i * step] = tile[k * width + i];
}

/* One target row: its columns phase by phase. */
static void FC_FN(sum_row)(const fc_few_outputs_args *a, const FC_FN(fc_work) *w, ptrdiff_t row, const real *weight,
                           const real *bias, real *target) {
    fc_panel panel = {.entries = w->entries, .bias = bias, .count = a->c_range, .x_step = a->c_stride, .first = 1, .last = 1};
    panel.x_shift = a->k_stride;
    panel.w_step = w->plane;
    panel.per_chunk = a->c_range < a->block_terms ? a->block_terms / a->c_range : 1;
    panel.ending = (bias != NULL ? FC_BIAS_COLUMNS : 0) | (a->relu ? FC_RELU : 0);
    const real *source = w->planes + (row / a->rows.phases - w->first_row) * a->pitch;
    for (ptrdiff_t phase = 0; phase < a->cols.phases && phase < a->cols.targets; phase++) {
        const ptrdiff_t count = (a->cols.targets - phase + a->cols.phases - 1) / a->cols.phases;
        const ptrdiff_t all = (count + FC_LANES - 1) / FC_LANES, tiles = (all + FC_MAX_VECTORS - 1) / FC_MAX_VECTORS;
        FC_FN(list_taps)(a, w, row % a->rows.phases, phase, &panel);
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t first = t * all / tiles, vectors = (t + 1) * all / tiles - first;
            const ptrdiff_t j = first * FC_LANES, width = vectors * FC_LANES;
            panel.channels = panel.target_step = width;
            FC_FN(panels)[vectors - 1][a->K - 1](&panel, weight, source + j, w->sums, w->tile);
            FC_FN(spread)
            (a, w->tile, width, count - j < width ? count - j : width,
             target + (phase + j * a->cols.phases) * a->target_strides.w, a->cols.phases * a->target_strides.w);
        }
    }
}

/* One item per (image, group, block of target rows). */
static void FC_FN(few_outputs)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_few_outputs_args *a = ctx;
    FC_FN(fc_work) w = {.sums = (real *)(a->scratch + slot * a->scratch_bytes), .plane = a->scratch_rows * a->pitch};
    w.tile = w.sums + FC_MOST_COLUMNS * FC_BLOCK;
    w.planes = w.tile + FC_MOST_COLUMNS * FC_BLOCK;
    w.entries = (int64_t *)(w.planes + a->C * w.plane);
    for (ptrdiff_t item = lo; item < hi; item++) {
        const ptrdiff_t rest = item / a->block_count, g = rest % a->groups, n = rest / a->groups;
        const ptrdiff_t begin = item % a->block_count * a->row_block;
        const ptrdiff_t end = a->rows.targets - begin < a->row_block ? a->rows.targets : begin + a->row_block;
        w.first_row = begin / a->rows.phases + a->rows.lowest;
        FC_FN(take_rows)
        (a, &w, (const real *)a->source + n * a->source_strides.n + g * a->C * a->source_strides.c);
        for (ptrdiff_t row = begin; row < end; row++)
            FC_FN(sum_row)
            (a, &w, row, (const real *)a->weight + g * a->group_stride,
             a->bias != NULL ? (const real *)a->bias + g * a->K : NULL,
             (real *)a->target + n * a->target_strides.n + g * a->K * a->target_strides.c + row * a->target_strides.h);
    }
}

/* Zero times a number is zero, unless the number is infinite or none. */
static int FC_FN(is_finite)(const void *values, ptrdiff_t count) {
    const real *value = values;
    vec sums = {0};
    real sum = 0;
    ptrdiff_t i = 0;
    for (; i + FC_LANES <= count; i += FC_LANES) sums += *(const vec *)(value + i) * 0;
    for (; i < count; i++) sum += value[i] * 0;
    for (i = 0; i < FC_LANES; i++) sum += sums[i];
    return sum == 0;
}

const fc_few_outputs_kernels FC_FN(fc_few_outputs) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .few_outputs = FC_FN(few_outputs),
    .is_finite = FC_FN(is_finite),
};
