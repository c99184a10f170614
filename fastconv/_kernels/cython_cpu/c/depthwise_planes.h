/* Depthwise sums in the contiguous format: lanes are columns of a padded buffer. Other formats are gathered into it. */

/* The targets of one phase of rows and of columns: target[r][j] = bias + sum of weights[t] * source[places[t] +
 * r * step * pitch + j]. nine: places are those of three columns, in three neighbouring rows. roomy: the target may be
 * written beyond its last row. */
typedef struct {
    const real *source, *weights;
    const ptrdiff_t *places;
    real *target, bias;
    ptrdiff_t taps, pitch, step, rows, columns, target_pitch;
    int nine, roomy;
} FC_FN(plane_job);

#undef FC_HALF_BYTES
#define FC_HALF_BYTES (FC_VECTOR_BYTES / 2 < sizeof(real) ? sizeof(real) : FC_VECTOR_BYTES / 2)
typedef real FC_FN(fc_half) __attribute__((vector_size(FC_HALF_BYTES), aligned(sizeof(real)), may_alias));

#undef wide
#undef FC_W
#undef FC_WIDE_LANES
#define FC_WIDE_LANES ((ptrdiff_t)(sizeof(wide) / sizeof(real)))
#define wide vec
#define FC_W(name) FC_FN(name##_whole)
#include "depthwise_tile.h"
#undef wide
#undef FC_W
#define wide FC_FN(fc_half)
#define FC_W(name) FC_FN(name##_half)
#include "depthwise_tile.h"

static void FC_FN(run_job)(const FC_FN(plane_job) *job) {
    const ptrdiff_t half = FC_LANES / 2, rest = job->columns % FC_LANES, whole = job->columns - rest;
    FC_FN(plane_columns_whole)(job, 0, whole);
    if (rest == 0) return;
    if (rest <= half)
        FC_FN(plane_columns_half)(job, job->columns < half ? 0 : job->columns - half, job->columns);
    else
        FC_FN(plane_columns_whole)(job, whole == 0 ? 0 : job->columns - FC_LANES, job->columns);
}

/* Buffers of one call; places and order have an entry per tap, phase after phase. */
typedef struct {
    real *padded, *results, *weights;
    ptrdiff_t *places, *order;
} FC_FN(plane_buffers);

/* Where the taps find their sources and their weights. */
static void FC_FN(list_taps)(const fc_plane_args *a, const FC_FN(plane_buffers) *buffers) {
    const fc_lattice *rows = &a->padded.rows, *cols = &a->padded.cols;
    ptrdiff_t t = 0;
    for (ptrdiff_t row_phase = 0; row_phase < rows->phases; row_phase++)
        for (ptrdiff_t col_phase = 0; col_phase < cols->phases; col_phase++)
            for (ptrdiff_t r = rows->first[row_phase]; r < rows->first[row_phase + 1]; r++)
                for (ptrdiff_t c = cols->first[col_phase]; c < cols->first[col_phase + 1]; c++, t++) {
                    buffers->places[t] = rows->places[r] * a->padded.pitch + cols->places[c];
                    buffers->order[t] = rows->taps[r] * a->tap_cols + cols->taps[c];
                }
}

/* Results of one phase of columns beside each other, each row as long as the longest phase and whole vectors. */
static inline ptrdiff_t FC_FN(result_pitch)(const fc_padded *padded) {
    return (padded->cols.counts[0] + FC_LANES - 1) / FC_LANES * FC_LANES;
}

/* One row of results of all phases of columns to its place in the target. */
static void FC_FN(scatter_row)(const fc_plane_args *a, const real *results, ptrdiff_t distance, real *target) {
    const fc_lattice *cols = &a->padded.cols;
    const ptrdiff_t stride = a->target_strides.w;
    if (cols->phases == 2 && stride == 1) {
        FC_FN(join_pairs)(results, results + distance, a->cols.targets, target);
        return;
    }
    for (ptrdiff_t phase = 0; phase < cols->phases; phase++)
        for (ptrdiff_t j = 0; j < cols->counts[phase]; j++)
            target[(phase + j * cols->phases) * stride] = results[phase * distance + j];
}

/* The steps first .. first + count - 1 of one plane's target rows, from the padded buffer. */
static void FC_FN(sum_block)(const fc_plane_args *a, real bias, ptrdiff_t first, ptrdiff_t count,
                             const FC_FN(plane_buffers) *buffers, real *plane) {
    const fc_lattice *rows = &a->padded.rows, *cols = &a->padded.cols;
    const ptrdiff_t result_pitch = FC_FN(result_pitch)(&a->padded), distance = a->padded.block * result_pitch;
    ptrdiff_t begin = 0;
    FC_FN(plane_job) job = {.source = buffers->padded, .pitch = a->padded.pitch, .step = rows->step, .bias = bias,
                            .roomy = !a->direct, .target_pitch = a->direct ? a->target_strides.h : result_pitch};
    for (ptrdiff_t row_phase = 0; row_phase < rows->phases; row_phase++) {
        const ptrdiff_t left = rows->counts[row_phase] - first;
        const int64_t *row_places = rows->places + rows->first[row_phase];
        const ptrdiff_t tap_rows = rows->first[row_phase + 1] - rows->first[row_phase];
        const int three_rows = tap_rows == 3 && row_places[2] == row_places[0] + 2;
        real *target = plane + (row_phase + first * rows->phases) * a->target_strides.h;
        job.rows = left < count ? left : count;
        for (ptrdiff_t col_phase = 0; col_phase < cols->phases; col_phase++) {
            const ptrdiff_t tap_cols = cols->first[col_phase + 1] - cols->first[col_phase];
            job.places = buffers->places + begin;
            job.weights = buffers->weights + begin;
            job.taps = tap_rows * tap_cols;
            job.nine = three_rows && tap_cols == 3;
            begin += job.taps;
            job.columns = cols->counts[col_phase];
            job.target = a->direct ? target : buffers->results + col_phase * distance;
            FC_FN(run_job)(&job);
        }
        for (ptrdiff_t r = 0; !a->direct && r < job.rows; r++)
            FC_FN(scatter_row)(a, buffers->results + r * result_pitch, distance,
                               target + r * rows->phases * a->target_strides.h);
    }
}

/* One run of one target row from its entries alone. */
static void FC_FN(exact_run)(const fc_plane_args *a, const real *source, const real *weight, real bias, ptrdiff_t row,
                             const int64_t *run, real *target) {
    const ptrdiff_t step = run[3] * a->source_strides.w;
    for (ptrdiff_t j = 0; j < run[1]; j += FC_LANES) {
        const ptrdiff_t count = run[1] - j < FC_LANES ? run[1] - j : FC_LANES;
        real sums[FC_VECTOR_BYTES / sizeof(real)] = {0};
        for (ptrdiff_t r = a->rows.first[row]; r < a->rows.first[row + 1]; r++)
            for (ptrdiff_t e = a->cols.first[run[0]]; e < a->cols.first[run[0] + 1]; e++) {
                const real w = weight[a->rows.taps[r] * a->tap_cols + a->cols.taps[e]];
                const real *x = source + a->rows.sources[r] * a->source_strides.h +
                                a->cols.sources[e] * a->source_strides.w + j * step;
                for (ptrdiff_t lane = 0; lane < count; lane++) sums[lane] += w * x[lane * step];
            }
        for (ptrdiff_t lane = 0; lane < count; lane++)
            target[(run[0] + (j + lane) * run[2]) * a->target_strides.w] = sums[lane] + bias;
    }
}

/* Overwrites what a padded buffer cannot give: rows and columns with marks above the level. */
static void FC_FN(exact_marks)(const fc_plane_args *a, const real *source, const real *weight, real bias, uint8_t level,
                               ptrdiff_t begin, ptrdiff_t end, real *target) {
    for (ptrdiff_t row = begin; row < end; row++)
        for (ptrdiff_t r = 0; r < a->cols.run_count; r++)
            if (a->row_marks[row] > level || a->run_marks[r] > level)
                FC_FN(exact_run)(a, source, weight, bias, row, a->cols.runs + 4 * r,
                                 target + row * a->target_strides.h);
}

static inline int FC_FN(all_finite)(const real *values, ptrdiff_t count) {
    real sum = 0;
    for (ptrdiff_t i = 0; i < count; i++) sum += values[i] - values[i];
    return sum == 0;
}

static void FC_FN(plane_item)(const fc_plane_args *a, ptrdiff_t item, const FC_FN(plane_buffers) *buffers) {
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, first = item % a->padded.blocks * a->padded.block;
    const ptrdiff_t c = item / a->padded.blocks % a->C, n = item / a->padded.blocks / a->C;
    const ptrdiff_t count = FC_FN(block_steps)(&a->padded, first), phases = a->padded.rows.phases;
    const real *source = (const real *)a->source + n * a->source_strides.n + c * a->source_strides.c;
    const real *weight = (const real *)a->weight + c * taps;
    const real bias = a->bias != NULL ? ((const real *)a->bias)[c] : 0;
    real *target = (real *)a->target + n * a->target_strides.n + c * a->target_strides.c;
    const ptrdiff_t end = (first + count) * phases, last = end < a->rows.targets ? end : a->rows.targets;
    for (ptrdiff_t t = 0; t < taps; t++) buffers->weights[t] = weight[buffers->order[t]];
    const uint8_t level = FC_FN(all_finite)(weight, taps) ? 1 : 0;
    FC_FN(pad_rows)(&a->padded, source, &a->source_strides, first, count, buffers->padded);
    FC_FN(sum_block)(a, bias, first, count, buffers, target);
    if (a->highest_mark > level) FC_FN(exact_marks)(a, source, weight, bias, level, first * phases, last, target);
}

/* One item per (image, channel, block of target rows). */
static void FC_FN(plane_sum)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_plane_args *a = ctx;
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, padded = a->padded.height * a->padded.pitch + FC_LANES;
    const ptrdiff_t results = a->direct ? 0 : a->padded.cols.phases * a->padded.block * FC_FN(result_pitch)(&a->padded);
    const ptrdiff_t reals = padded + results + taps, indices = 2 * taps;
    void *block;
    real *buffer = fc_zeros(reals * (ptrdiff_t)sizeof(real) + indices * (ptrdiff_t)sizeof(ptrdiff_t), &block);
    (void)slot;
    if (buffer == NULL) {
        a->status = 1;
        return;
    }
    FC_FN(plane_buffers) buffers = {.padded = buffer, .results = buffer + padded};
    buffers.places = (ptrdiff_t *)(buffers.results + results);
    buffers.order = buffers.places + taps;
    buffers.weights = (real *)(buffers.order + taps);
    FC_FN(list_taps)(a, &buffers);
    for (ptrdiff_t item = lo; item < hi; item++) FC_FN(plane_item)(a, item, &buffers);
    free(block);
}
