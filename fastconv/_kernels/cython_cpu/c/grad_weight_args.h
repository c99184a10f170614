/* What the kernels of grad_weight are told; filled by conv2d_grad_weight.pyx from the geometry and its plan. */
#ifndef FASTCONV_GRAD_WEIGHT_ARGS_H
#define FASTCONV_GRAD_WEIGHT_ARGS_H

#include "axis.h"
#include "isa.h"

/* Segments of one axis, as plan.TapPlan has them. */
typedef struct {
    const int64_t *first, *segments;
} fc_taps;

/* grad_weight[g*K + k, c, kh, kw] = sum over n, oh, ow of grad_out * x; the steps are the strides along rows and
 * columns. exchanged: grad_out and x, and with them K and C, have changed places. The counts of elements and blocks are
 * those of plan.GradWeightPlan, which explains them. */
typedef struct {
    const void *grad_out, *x;
    void *grad_weight;
    char *scratch;  /* one part of scratch_bytes for each slot */
    void *partials; /* the sums of every item, where there are segments */
    void *interleaved; /* x with its channels together, where it is read so and is not */
    fc_strides grad_out_strides, x_strides;
    fc_taps rows, cols;
    fc_axis merged; /* the columns of a forward pass, where taps are merged */
    const int64_t *k_blocks;
    ptrdiff_t N, groups, C, K, tap_rows, tap_cols, out_rows, out_cols, row_step, col_step;
    ptrdiff_t k_block_count, k_group, c_block, tap_block, images, row_block, col_block;
    ptrdiff_t pieces, span, segments, parts;
    ptrdiff_t sums, packed, entries, scratch_bytes;
    ptrdiff_t x_rows;
    ptrdiff_t joined, x_channels; /* groups that are treated as one, because they share vectors; their channels of x */
    int exchanged, in_place, streams, merges;
} fc_grad_weight_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel interleave, grad_weight, reduce;
} fc_grad_weight_kernels;

FC_TABLES(fc_grad_weight)

#endif
