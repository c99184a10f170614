/* grad_weight with lanes along columns of a padded buffer, where rows of grad_out that do not fill their vectors are
 * continued by zeros. */

/* sums[t] += grad_out[r][j] * source[places[t] + r * step * pitch + j] over rows and columns; nine as in plane_job. */
typedef struct {
    const real *source, *grad_out;
    const ptrdiff_t *places;
    ptrdiff_t taps, pitch, step, rows, columns, grad_pitch;
    FC_FN(ahead) ahead;
    int nine;
} FC_FN(grad_job);

#undef wide
#undef FC_W
#define wide vec
#define FC_W(name) FC_FN(name##_whole)
#include "depthwise_grad_tile.h"
#undef wide
#undef FC_W
#define wide FC_FN(fc_half)
#define FC_W(name) FC_FN(name##_half)
#include "depthwise_grad_tile.h"

/* Buffers of one call; grad_rows is as high as the steps of a block. */
typedef struct {
    real *padded, *grad_rows, *sums;
    ptrdiff_t *places;
} FC_FN(grad_buffers);

static inline ptrdiff_t FC_FN(grad_pitch)(const fc_plane_grad_args *a) {
    return (a->cols.targets + FC_LANES - 1) / FC_LANES * FC_LANES;
}

static void FC_FN(run_grad_job)(const FC_FN(grad_job) *job, real *sums) {
    const ptrdiff_t rest = job->columns % FC_LANES, whole = job->columns - rest;
    FC_FN(grad_columns_whole)(job, 0, whole, sums);
    if (rest > FC_LANES / 2)
        FC_FN(grad_columns_whole)(job, whole, job->columns, sums);
    else if (rest > 0)
        FC_FN(grad_columns_half)(job, whole, job->columns, sums);
}

/* Adds one block of one image to the sums of a channel. */
static void FC_FN(plane_grad_block)(const fc_plane_grad_args *a, ptrdiff_t n, ptrdiff_t c, ptrdiff_t first,
                                    const FC_FN(grad_buffers) *buffers, real *sums) {
    const fc_strides *strides = &a->grad_out_strides;
    const ptrdiff_t count = FC_FN(block_steps)(&a->padded, first), half = FC_LANES / 2;
    const ptrdiff_t size = (ptrdiff_t)sizeof(real);
    const real *x = (const real *)a->x + n * a->x_strides.n + c * a->x_strides.c;
    const real *grad_out = (const real *)a->grad_out + n * strides->n + c * strides->c + first * strides->h;
    const int64_t *row_places = a->padded.rows.places;
    FC_FN(grad_job) job = {.source = buffers->padded, .places = buffers->places, .taps = a->tap_rows * a->tap_cols,
                           .pitch = a->padded.pitch, .step = a->padded.rows.step, .rows = count,
                           .columns = a->cols.targets, .grad_out = grad_out, .grad_pitch = strides->h};
    if (a->far) {
        const ptrdiff_t step = a->padded.rows.step * a->x_strides.h;
        job.ahead = (FC_FN(ahead)){.first = {x + (first + count) * step, grad_out + count * strides->h},
                                   .sizes = {step, strides->h}};
    }
    job.nine = a->tap_rows == 3 && a->tap_cols == 3 && row_places[2] == row_places[0] + 2;
    FC_FN(pad_rows)(&a->padded, x, &a->x_strides, first, count, buffers->padded);
    if (strides->w != 1 || (job.columns % FC_LANES != 0 && job.columns % FC_LANES != half)) {
        job.grad_out = buffers->grad_rows;
        job.grad_pitch = FC_FN(grad_pitch)(a);
        if (strides->w == 1)
            fc_copy_rows(buffers->grad_rows, job.grad_pitch * size, grad_out, strides->h * size, job.columns * size, count);
        else
            for (ptrdiff_t i = 0; i < count * job.columns; i++)
                buffers->grad_rows[i / job.columns * job.grad_pitch + i % job.columns] =
                    grad_out[i / job.columns * strides->h + i % job.columns * strides->w];
    }
    FC_FN(run_grad_job)(&job, sums);
}

/* Adds one block to the sums of a channel from the entries alone: no product with padding. */
static void FC_FN(exact_grad_block)(const fc_plane_grad_args *a, ptrdiff_t n, ptrdiff_t c, ptrdiff_t first,
                                    real *sums) {
    const real *x = (const real *)a->x + n * a->x_strides.n + c * a->x_strides.c;
    const real *grad_out = (const real *)a->grad_out + n * a->grad_out_strides.n + c * a->grad_out_strides.c;
    const ptrdiff_t end = first + FC_FN(block_steps)(&a->padded, first);
    for (ptrdiff_t row = first; row < end; row++)
        for (ptrdiff_t r = a->rows.first[row]; r < a->rows.first[row + 1]; r++)
            for (ptrdiff_t col = 0; col < a->cols.targets; col++)
                for (ptrdiff_t e = a->cols.first[col]; e < a->cols.first[col + 1]; e++)
                    sums[a->rows.taps[r] * a->tap_cols + a->cols.taps[e]] +=
                        grad_out[row * a->grad_out_strides.h + col * a->grad_out_strides.w] *
                        x[a->rows.sources[r] * a->x_strides.h + a->cols.sources[e] * a->x_strides.w];
}

static inline real FC_FN(sum_lanes)(const real *sums) {
    const FC_FN(fc_half) half = *(const FC_FN(fc_half) *)sums + *(const FC_FN(fc_half) *)(sums + FC_LANES / 2);
    real even = 0, odd = 0;
    for (ptrdiff_t lane = 0; lane < FC_LANES / 4; lane++) {
        even += half[2 * lane];
        odd += half[2 * lane + 1];
    }
    return FC_LANES > 2 ? even + odd : half[0];
}

/* Some channels of one chunk, image by image, as they lie in memory. Where a sum is not finite, a product with padding
 * may be the reason. */
static void FC_FN(plane_grad_item)(const fc_plane_grad_args *a, ptrdiff_t item, const FC_FN(grad_buffers) *buffers) {
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, all = a->N * a->padded.blocks;
    const ptrdiff_t shares = (a->C + a->channels_per_item - 1) / a->channels_per_item;
    const ptrdiff_t chunk = item / shares, first = item % shares * a->channels_per_item;
    const ptrdiff_t last = first + a->channels_per_item < a->C ? first + a->channels_per_item : a->C;
    const ptrdiff_t begin = chunk * all / a->chunks, end = (chunk + 1) * all / a->chunks;
    memset(buffers->sums, 0, (size_t)((last - first) * taps * FC_LANES) * sizeof(real));
    for (ptrdiff_t i = begin; i < end; i++)
        for (ptrdiff_t c = first; c < last; c++)
            FC_FN(plane_grad_block)(a, i / a->padded.blocks, c, i % a->padded.blocks * a->padded.block, buffers,
                                    buffers->sums + (c - first) * taps * FC_LANES);
    for (ptrdiff_t c = first; c < last; c++) {
        real *partial = (real *)a->partial + (chunk * a->C + c) * taps;
        for (ptrdiff_t tap = 0; tap < taps; tap++)
            partial[tap] = FC_FN(sum_lanes)(buffers->sums + ((c - first) * taps + tap) * FC_LANES);
        if (FC_FN(all_finite)(partial, taps)) continue;
        memset(partial, 0, (size_t)taps * sizeof(real));
        for (ptrdiff_t i = begin; i < end; i++)
            FC_FN(exact_grad_block)(a, i / a->padded.blocks, c, i % a->padded.blocks * a->padded.block, partial);
    }
}

/* One item per (chunk, some channels). */
static void FC_FN(plane_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    fc_plane_grad_args *a = ctx;
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, padded = a->padded.height * a->padded.pitch + FC_LANES;
    const ptrdiff_t grad_rows = a->padded.block * FC_FN(grad_pitch)(a), sums = a->channels_per_item * taps * FC_LANES;
    const ptrdiff_t reals = padded + grad_rows + sums;
    void *block;
    real *buffer = fc_zeros(reals * (ptrdiff_t)sizeof(real) + taps * (ptrdiff_t)sizeof(ptrdiff_t), &block);
    (void)slot;
    if (buffer == NULL) {
        a->status = 1;
        return;
    }
    FC_FN(grad_buffers) buffers = {.padded = buffer, .grad_rows = buffer + padded};
    buffers.sums = buffers.grad_rows + grad_rows;
    buffers.places = (ptrdiff_t *)(buffers.sums + sums);
    for (ptrdiff_t kh = 0; kh < a->tap_rows; kh++)
        for (ptrdiff_t kw = 0; kw < a->tap_cols; kw++)
            buffers.places[kh * a->tap_cols + kw] = a->padded.rows.places[kh] * a->padded.pitch + a->padded.cols.places[kw];
    for (ptrdiff_t item = lo; item < hi; item++) FC_FN(plane_grad_item)(a, item, &buffers);
    free(block);
}

/* Adds up the chunks in their order. One item per channel. */
static void FC_FN(plane_reduce)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_plane_grad_args *a = ctx;
    const ptrdiff_t taps = a->tap_rows * a->tap_cols, all = a->C * taps;
    (void)slot;
    for (ptrdiff_t i = lo * taps; i < hi * taps; i++) {
        real sum = 0;
        for (ptrdiff_t chunk = 0; chunk < a->chunks; chunk++) sum += ((const real *)a->partial)[chunk * all + i];
        ((real *)a->grad_weight)[i] = sum;
    }
}
