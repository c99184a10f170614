/* Depthwise sums in the contiguous format: lanes are columns of a padded buffer. Other formats are gathered into it. */

/* The targets of one phase of rows and of columns: target[r][j] = bias + sum of weights[t] * source[places[t] +
 * r * step * pitch + j]. nine: places are those of three columns, in three neighbouring rows. roomy: the target may be
 * written beyond its last row. */
typedef struct {
    const real *source, *weights;
    const ptrdiff_t *places;
    real *target, bias;
    ptrdiff_t taps, pitch, step, rows, columns, target_pitch;
    FC_FN(ahead) ahead;
    int nine, roomy, activation;
} FC_FN(plane_job);

#undef FC_HALF_BYTES
#define FC_HALF_BYTES (FC_VECTOR_BYTES / 2 < sizeof(real) ? sizeof(real) : FC_VECTOR_BYTES / 2)
typedef real FC_FN(fc_half) __attribute__((vector_size(FC_HALF_BYTES), aligned(sizeof(real)), may_alias));

#undef wide
#undef FC_W
#undef FC_WIDE_LANES
#define FC_WIDE_LANES ((ptrdiff_t)(sizeof(wide) / sizeof(real)))
#undef FC_WIDE_JOIN
#define wide vec
#define FC_W(name) FC_FN(name##_whole)
#define FC_WIDE_JOIN FC_JOIN_WHOLE
#include "depthwise_tile.h"
#include "depthwise_pair_tile.h"
#undef wide
#undef FC_W
#undef FC_WIDE_JOIN
#define wide FC_FN(fc_half)
#define FC_W(name) FC_FN(name##_half)
#define FC_WIDE_JOIN FC_JOIN_HALF
#include "depthwise_tile.h"
#include "depthwise_pair_tile.h"

static inline void FC_FN(run_job)(const FC_FN(plane_job) *job) {
    const ptrdiff_t half = FC_LANES / 2, rest = job->columns % FC_LANES, whole = job->columns - rest;
    if (whole > 0) FC_FN(plane_columns_whole)(job, 0, whole);
    if (rest > half)
        FC_FN(plane_columns_whole)(job, whole == 0 ? 0 : job->columns - FC_LANES, job->columns);
    else if (rest > 0)
        FC_FN(plane_columns_half)(job, job->columns < half ? 0 : job->columns - half, job->columns);
}

/* The same of a job for each of two phases of rows and of columns. */
static inline void FC_FN(run_pairs)(const FC_FN(plane_job) *jobs) {
    const ptrdiff_t columns = jobs->columns;
    for (ptrdiff_t row = 0; row < jobs->rows; row += FC_PAIR_ROWS) {
        const ptrdiff_t last = jobs->rows - row < FC_PAIR_ROWS ? jobs->rows : row + FC_PAIR_ROWS;
        ptrdiff_t j = 0;
        FC_FN(prefetch_ahead)(&jobs->ahead, row, last - row);
        for (; j + FC_LANES <= columns; j += FC_LANES) FC_FN(pair_columns_whole)(jobs, row, last, j);
        if (columns - j > FC_LANES / 2)
            FC_FN(pair_columns_whole)(jobs, row, last, j == 0 ? 0 : columns - FC_LANES);
        else if (columns > j)
            FC_FN(pair_columns_half)(jobs, row, last, columns < FC_LANES / 2 ? 0 : columns - FC_LANES / 2);
    }
}

/* What stays the same in one call: a job for each phase of rows and of columns. places and order have an entry per tap,
 * phase after phase; results are those of a block of rows, one phase of columns after the other. */
typedef struct {
    FC_FN(plane_job) *jobs;
    real *padded, *results, *weights;
    ptrdiff_t *places, *order;
    ptrdiff_t result_pitch, result_size;
    int ordered; /* the weights lie in memory as the only job wants them */
} FC_FN(plane_call);

static void FC_FN(list_jobs)(const fc_plane_args *a, FC_FN(plane_call) *call) {
    const fc_lattice *rows = &a->padded.rows, *cols = &a->padded.cols;
    FC_FN(plane_job) *job = call->jobs;
    ptrdiff_t t = 0;
    call->ordered = rows->phases * cols->phases == 1;
    for (ptrdiff_t row_phase = 0; row_phase < rows->phases; row_phase++)
        for (ptrdiff_t col_phase = 0; col_phase < cols->phases; col_phase++, job++) {
            const ptrdiff_t begin = t, top = rows->first[row_phase], bottom = rows->first[row_phase + 1];
            const ptrdiff_t left = cols->first[col_phase], right = cols->first[col_phase + 1];
            for (ptrdiff_t r = top; r < bottom; r++)
                for (ptrdiff_t c = left; c < right; c++, t++) {
                    call->places[t] = rows->places[r] * a->padded.pitch + cols->places[c];
                    call->order[t] = rows->taps[r] * a->tap_cols + cols->taps[c];
                    call->ordered &= call->order[t] == t;
                }
            *job = (FC_FN(plane_job)){.source = call->padded, .weights = call->weights + begin,
                                      .places = call->places + begin, .target = call->results + col_phase * call->result_size,
                                      .taps = t - begin, .pitch = a->padded.pitch, .step = rows->step,
                                      .columns = cols->counts[col_phase], .roomy = !a->direct,
                                      .activation = a->activation};
            job->nine = bottom - top == 3 && right - left == 3 && rows->places[top + 2] == rows->places[top] + 2;
            job->target_pitch = a->direct ? a->target_strides.h : call->result_pitch;
        }
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
static void FC_FN(sum_block)(const fc_plane_args *a, const FC_FN(plane_call) *call, real bias, ptrdiff_t first,
                             ptrdiff_t count, real *plane) {
    const fc_lattice *rows = &a->padded.rows, *cols = &a->padded.cols;
    for (ptrdiff_t row_phase = 0; row_phase < rows->phases; row_phase++) {
        const ptrdiff_t left = rows->counts[row_phase] - first, steps = left < count ? left : count;
        real *target = plane + (row_phase + first * rows->phases) * a->target_strides.h;
        for (ptrdiff_t col_phase = 0; col_phase < cols->phases; col_phase++) {
            FC_FN(plane_job) *job = call->jobs + row_phase * cols->phases + col_phase;
            job->rows = steps;
            job->bias = bias;
            FC_FN(run_job)(job);
        }
        for (ptrdiff_t r = 0; r < steps; r++)
            FC_FN(scatter_row)(a, call->results + r * call->result_pitch, call->result_size,
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
        for (ptrdiff_t lane = 0; lane < count; lane++) {
            real sum = sums[lane] + bias;
            if (a->activation & FC_RELU && sum < 0) sum = 0;
            if (a->activation & FC_RELU6 && sum > 6) sum = 6;
            target[(run[0] + (j + lane) * run[2]) * a->target_strides.w] = sum;
        }
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

/* One block of rows of one plane. */
static void FC_FN(plane_item)(const fc_plane_args *a, const FC_FN(plane_call) *call, ptrdiff_t n, ptrdiff_t c,
                              ptrdiff_t first) {
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, count = FC_FN(block_steps)(&a->padded, first);
    const real *source = (const real *)a->source + n * a->source_strides.n + c * a->source_strides.c;
    const real *weight = (const real *)a->weight + c * taps;
    const real bias = a->bias != NULL ? ((const real *)a->bias)[c] : 0;
    real *target = (real *)a->target + n * a->target_strides.n + c * a->target_strides.c;
    FC_FN(pad_rows)(&a->padded, source, &a->source_strides, first, count, call->padded);
    if (call->ordered)
        call->jobs->weights = weight;
    else
        for (ptrdiff_t t = 0; t < taps; t++) call->weights[t] = weight[call->order[t]];
    if (a->direct) {
        const ptrdiff_t step = a->padded.rows.step * a->source_strides.h;
        const ptrdiff_t target_step = a->padded.rows.phases * a->target_strides.h;
        for (ptrdiff_t i = 0; i < a->padded.rows.phases * a->padded.cols.phases; i++) {
            FC_FN(plane_job) *job = call->jobs + i;
            job->rows = count;
            job->bias = bias;
            job->target = target + first * target_step;
            if (a->far)
                job->ahead = (FC_FN(ahead)){.first = {source + (first + count) * step, job->target + count * target_step},
                                            .sizes = {step, target_step}};
        }
        if (a->paired)
            FC_FN(run_pairs)(call->jobs);
        else
            FC_FN(run_job)(call->jobs);
    } else {
        FC_FN(sum_block)(a, call, bias, first, count, target);
    }
    if (a->highest_mark > 0) {
        const uint8_t level = a->weights_finite || FC_FN(all_finite)(weight, taps) ? 1 : 0;
        const ptrdiff_t phases = a->padded.rows.phases, end = (first + count) * phases;
        if (a->highest_mark > level)
            FC_FN(exact_marks)(a, source, weight, bias, level, first * phases,
                               end < a->rows.targets ? end : a->rows.targets, target);
    }
}

/* One item per (image, channel, block of target rows). */
static void FC_FN(plane_sum)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_plane_args *a = ctx;
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, padded = a->padded.height * a->padded.pitch + FC_LANES;
    const ptrdiff_t jobs = a->padded.rows.phases * a->padded.cols.phases;
    const ptrdiff_t pitch = (a->padded.cols.counts[0] + FC_LANES - 1) / FC_LANES * FC_LANES;
    const ptrdiff_t results = a->direct ? 0 : a->padded.block * pitch;
    const ptrdiff_t reals = padded + results * a->padded.cols.phases + taps;
    void *block;
    real *buffer = fc_zeros(reals * (ptrdiff_t)sizeof(real) + 2 * taps * (ptrdiff_t)sizeof(ptrdiff_t) +
                                jobs * (ptrdiff_t)sizeof(FC_FN(plane_job)),
                            &block);
    (void)slot;
    if (buffer == NULL) {
        a->status = 1;
        return;
    }
    FC_FN(plane_call) call = {.padded = buffer, .results = buffer + padded, .result_pitch = pitch, .result_size = results};
    call.jobs = (FC_FN(plane_job) *)(call.results + results * a->padded.cols.phases);
    call.places = (ptrdiff_t *)(call.jobs + jobs);
    call.order = call.places + taps;
    call.weights = (real *)(call.order + taps);
    FC_FN(list_jobs)(a, &call);
    ptrdiff_t first = lo % a->padded.blocks, c = lo / a->padded.blocks % a->C, n = lo / a->padded.blocks / a->C;
    for (ptrdiff_t item = lo; item < hi; item++) {
        FC_FN(plane_item)(a, &call, n, c, first * a->padded.block);
        if (++first < a->padded.blocks) continue;
        first = 0;
        if (++c < a->C) continue;
        c = 0;
        n++;
    }
    free(block);
}

/* Whether no weight is infinite or NaN; once for all items, which look closer only if it is not so. */
static void FC_FN(plane_check)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_plane_args *a = ctx;
    const ptrdiff_t count = a->C * a->tap_rows * a->tap_cols;
    const real *weight = a->weight;
    vec sum = {0};
    ptrdiff_t i = 0;
    (void)lo, (void)hi, (void)slot;
    for (; i + FC_LANES <= count; i += FC_LANES) sum += *(const vec *)(weight + i) - *(const vec *)(weight + i);
    a->weights_finite = FC_FN(all_finite)((const real *)&sum, FC_LANES) && FC_FN(all_finite)(weight + i, count - i);
}
