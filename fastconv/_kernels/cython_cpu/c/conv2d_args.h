/* What the convolution kernels are told; filled by the .pyx files from the geometry and its plan. */
#ifndef FASTCONV_CONV2D_ARGS_H
#define FASTCONV_CONV2D_ARGS_H

#include "axis.h"
#include "isa.h"

/* packed[g][block][range of channels][tap][c][lane] = weight, zero where the last vector is not full; with dots
 * packed[g][k][tap][c], with joined groups packed[g][tap][c][lane]. Flipped: taps in reverse order. */
typedef struct {
    const void *weight;
    void *packed;
    const int64_t *k_blocks;
    ptrdiff_t groups, C, K, taps, k_block_count, c_range, group_stride, c_stride, k_stride;
    ptrdiff_t joined;
    int flipped, dots;
} fc_pack_args;

/* target[n, g*K + k, row, col] = ending(sum of weight * source); forward and grad_input are both of this form.
 * The counts of elements and blocks are those of plan.SumPlan, which explains them. Where nothing is packed, items
 * pack what they read of packing.weight, or read it in_place. */
typedef struct {
    const void *source, *packed, *bias;
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    fc_strides source_strides, target_strides;
    fc_axis rows, cols;
    const int64_t *row_blocks, *k_blocks;
    ptrdiff_t N, groups, C, K, taps, tap_cols;
    ptrdiff_t row_block_count, row_step, k_block_count, images, k_group, c_range, block_terms, range_terms;
    ptrdiff_t pixel_step, entries, packed_source, sums, packed_target, packed_weight, scratch_bytes;
    ptrdiff_t joined, source_channels; /* groups that are treated as one, because they share vectors; their channels */
    int flipped, activation, streams, holds, in_place, far_weights;
    int dots, rows_in_place; /* few target channels, sums along the lanes; few pixels, weights read row by row */
    fc_pack_args packing;
} fc_sum_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel sum, pack;
} fc_conv2d_kernels;

FC_TABLES(fc_conv2d)

#endif
