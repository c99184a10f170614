/* What the depthwise kernels are told; filled by the .pyx files from the geometry and its plan. */
#ifndef FASTCONV_DEPTHWISE_ARGS_H
#define FASTCONV_DEPTHWISE_ARGS_H

#include "activation.h"
#include "axis.h"
#include "isa.h"

/* Columns with three neighbouring taps: of target start + j the k-th source is source + j * step + k and its tap
 * first + k * direction. The first target lacks source 0 where head is set, the last one source 2 where tail is set.
 * With two phases source + j is tap 0 of target start + 2 * j - 1, tap 1 of the next one and tap 2 of the one after it;
 * tail is set where the last target lacks tap 0. count is 0 where there are no such columns. */
typedef struct {
    ptrdiff_t start, count, source, step, phases, head, tail, first, direction;
} fc_sweep;

/* One axis of a padded buffer. Targets phase, phase + phases, ... read with tap t (first[phase] <= t < first[phase + 1])
 * the places places[t] + m * step, in ascending order. Place p holds sources[p], zero where that is negative. */
typedef struct {
    ptrdiff_t phases, step, size;
    const int64_t *counts, *first, *taps, *places, *sources;
} fc_lattice;

/* A block of rows of one plane with its padding: rows of pitch elements, where place p of a column is at
 * p % step * width + p / step; cols.places says so already. Most of a row are bulk_count neighbours from bulk_source on,
 * the first of them in place bulk_index * step + bulk_phase; extras (element of the row, source) are the others that are
 * not zero. Rows bulk_top .. bulk_bottom - 1 hold neighbouring rows. One item has block steps of rows, a plane has blocks of them. */
typedef struct {
    fc_lattice rows, cols;
    ptrdiff_t bulk_source, bulk_count, bulk_phase, bulk_index, bulk_top, bulk_bottom, extra_count;
    const int64_t *extras;
    ptrdiff_t block, blocks, height, pitch, width;
} fc_padded;

/* target[n, c] = bias[c] + sum over taps of weight[c] * source[n, c], lanes along channels; weight is [tap][C].
 * far: the next target row's row_step new source rows are asked for while one is summed. */
typedef struct {
    const void *source, *weight, *bias;
    void *target;
    fc_strides source_strides, target_strides;
    fc_axis rows, cols;
    fc_sweep sweep;
    ptrdiff_t N, C, tap_cols, row_step, far;
    int activation;
} fc_pixel_args;

/* The same with lanes along columns; weight is [C][tap]. Rows and runs of columns are marked: 0 regular, 1 has taps
 * over zero padding and is computed without them where a weight is not finite, 2 is always computed from its entries.
 * far: what the next block reads and writes is asked for. direct: sums are written to their places at once; paired: those of both phases of rows and of columns. */
typedef struct {
    const void *source, *weight, *bias;
    void *target;
    fc_strides source_strides, target_strides;
    fc_axis rows, cols;
    fc_padded padded;
    const uint8_t *row_marks, *run_marks;
    ptrdiff_t N, C, tap_rows, tap_cols, far, direct, paired, highest_mark, weights_finite;
    int activation;
    volatile int status;
} fc_plane_args;

/* grad_weight[c, tap] = sum over pixels of grad_out * x, lanes along channels. A chunk is a share of all N * targets
 * output rows; its sums are partial[chunk][vector of channels][tap][lane]. row_step, far as in fc_pixel_args. */
typedef struct {
    const void *grad_out, *x;
    void *partial, *grad_weight;
    fc_strides grad_out_strides, x_strides;
    fc_axis rows, cols;
    fc_sweep sweep;
    ptrdiff_t N, C, taps, tap_cols, row_step, far, chunks, vectors_per_item;
    volatile int status;
} fc_pixel_grad_args;

/* The same of planes, whose rows are neighbours: vectors of channels are brought together, rows of a block at a time.
 * Blocks are first target row, end, first source row, end; pixels are those of the largest. A chunk is a share of all
 * N * block_count blocks. */
typedef struct {
    fc_pixel_grad_args planes;
    const int64_t *row_blocks;
    ptrdiff_t block_count, x_pixels, grad_out_pixels;
    volatile int status;
} fc_strip_grad_args;

/* The same with lanes along columns. A chunk is a share of all N * blocks blocks; its sums are partial[chunk][C][tap]. */
typedef struct {
    const void *grad_out, *x;
    void *partial, *grad_weight;
    fc_strides grad_out_strides, x_strides;
    fc_axis rows, cols;
    fc_padded padded;
    ptrdiff_t N, C, tap_rows, tap_cols, far, chunks, channels_per_item;
    volatile int status;
} fc_plane_grad_args;

/* The kernels of one dtype and level; items are named where the kernels are. */
typedef struct {
    ptrdiff_t lanes;
    fc_kernel pixel_sum, pixel_grad, pixel_reduce, strip_grad, plane_check, plane_sum, plane_grad, plane_reduce;
} fc_depthwise_kernels;

FC_TABLES(fc_depthwise)

#endif
