/* Convolutions without shared weights: at every place a window times filters that nobody else has. The weights are read
 * once for some images, one place after the other, as they lie in memory. */
#include "locally_connected2d_args.h"
#include "panel.h"
#include "dots.h"
#include "stream_copy.h"
#include "local_windows.h"
#include "local_dots.h"
#include "locally_connected2d_grads.h"

/* How a row of weights is read: whole vectors, then one that ends where the row does; or, of rows of less than a vector
 * and of copied ones, behind which there is room, one that goes beyond it. */
FC_INLINE FC_FN(local_dot) FC_FN(dot_of)(const fc_local_args *a, int is_copied) {
    const ptrdiff_t left = a->terms % FC_LANES, whole = a->terms / FC_LANES;
    const int is_beyond = is_copied || whole == 0;
    FC_FN(local_dot) dot = {.w_shift = is_copied ? a->row : a->terms, .x_shift = a->window, .block = a->block_terms};
    dot.whole = whole, dot.has_tail = left != 0, dot.tail = is_beyond ? whole * FC_LANES : a->terms - FC_LANES;
    for (ptrdiff_t lane = 0; lane < FC_LANES; lane++)
        dot.tail_mask[lane] = (is_beyond ? lane < left : lane >= FC_LANES - left) ? -1 : 0;
    return dot;
}

/* What is summed: some output channels of one place, for some images. */
static void FC_FN(store_place)(const fc_local_args *a, ptrdiff_t images, ptrdiff_t rows, const real *bias, real *sums,
                               real *out) {
    const int rectifies = a->ending & FC_RELU;
    for (ptrdiff_t n = 0; n < images; n++, out += a->out_strides.n) {
        vec total = FC_FN(lane_sums)((vec *)(sums + n * FC_LANES * FC_LANES));
        if (rows == FC_LANES && a->out_strides.c == 1) {
            if (bias != NULL)
                total += *(const vec *)bias;
            if (rectifies)
                total = FC_LARGER((vec){0}, total);
            *(vec *)out = total;
            continue;
        }
        for (ptrdiff_t r = 0; r < rows; r++) {
            const real sum = bias == NULL ? total[r] : total[r] + bias[r];
            out[r * a->out_strides.c] = rectifies && sum < 0 ? 0 : sum;
        }
    }
}

/* Some output channels, no more than a vector has lanes, of one place, for all images. */
static void FC_FN(sum_rows)(const fc_local_args *a, const FC_FN(local_dot) *dot, const real *w, const real *windows,
                            ptrdiff_t all, ptrdiff_t rows, const real *bias, real *sums, real *out) {
    const ptrdiff_t most = FC_FN(columns)[FC_MAX_VECTORS - 1], tiles = (all + most - 1) / most;
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        const ptrdiff_t n = fc_part(tile, tiles, all), images = fc_part(tile + 1, tiles, all) - n;
        if (images == 1)
            FC_FN(local_rows)(dot, w, windows + n * a->window, rows, sums);
        for (ptrdiff_t r = 0, height; images > 1 && r < rows; r += height) {
            height = rows - r < FC_MAX_VECTORS ? rows - r : FC_MAX_VECTORS;
            FC_FN(local_tiles)[height - 1][images - 1]
            (dot, w + r * dot->w_shift, windows + n * a->window, sums + r * FC_LANES);
        }
        FC_FN(store_place)(a, images, rows, bias, sums, out + n * a->out_strides.n);
    }
}

/* The output channels of a run at one place. */
static void FC_FN(sum_place)(const fc_local_args *a, const fc_local_run *run, ptrdiff_t place, const FC_FN(local_dot) *dots,
                             const FC_FN(local_desk) *desk) {
    const ptrdiff_t first = (run->row * a->cols.out + place) * a->K, group = a->K / a->groups;
    /* Vectors of short rows may end behind the last weight of all. */
    const int is_last = a->terms < FC_LANES && (a->rows.out * a->cols.out * a->K - first - a->K) * a->terms < FC_LANES;
    const int leaves = FC_FN(take_windows)(a, run, place, desk), copies = leaves || is_last;
    real *out = (real *)a->out + run->n * a->out_strides.n + run->row * a->out_strides.h + place * a->out_strides.w;
    for (ptrdiff_t k = run->k_begin, rows; k < run->k_end; k += rows) {
        rows = FC_FN(rows_at)(a, run, k);
        const real *w = (const real *)a->weight + (first + k) * a->terms;
        const real *bias = a->bias == NULL ? NULL : (const real *)a->bias + first + k;
        if (copies)
            FC_FN(copy_weights)(a, w, a->terms, rows, leaves ? desk->mask : NULL, desk->rows);
        FC_FN(sum_rows)
        (a, dots + copies, copies ? desk->rows : w, desk->windows + k / group * a->terms, run->images, rows, bias,
         desk->sums, out + k * a->out_strides.c);
    }
}

/* One item per (row of the output, part of it, part of the output channels). */
static void FC_FN(forward_items)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_local_args *a = ctx;
    const FC_FN(local_desk) desk = FC_FN(desk_of)(a, slot);
    const FC_FN(local_dot) dots[2] = {FC_FN(dot_of)(a, 0), FC_FN(dot_of)(a, 1)};
    for (ptrdiff_t item = lo; item < hi; item++) {
        fc_local_run run = fc_local_run_at(a, item);
        while (fc_next_images(a, &run)) {
            FC_FN(take_strips)(a, &run, &desk);
            for (ptrdiff_t place = run.begin; place < run.end; place++) FC_FN(sum_place)(a, &run, place, dots, &desk);
        }
    }
}

const fc_locally_connected2d_kernels FC_FN(fc_locally_connected2d) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .forward = FC_FN(forward_items),
    .grad_weight = FC_FN(grad_weight_items),
    .grad_bands = FC_FN(grad_band_items),
    .add_bands = FC_FN(add_band_items),
};
