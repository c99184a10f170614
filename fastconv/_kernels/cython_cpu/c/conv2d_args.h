/* What the convolution kernels are told; filled by conv2d.pyx from the geometry and its plan. */
#ifndef FASTCONV_CONV2D_ARGS_H
#define FASTCONV_CONV2D_ARGS_H

#include "axis.h"
#include "isa.h"

/* Segments of one axis, as plan.TapPlan has them. */
typedef struct {
    const int64_t *first, *segments;
} fc_taps;

/* target[n, g*K + k, row, col] = bias + sum of weight * source; forward and grad_input are both of this form. */
typedef struct {
    const void *source, *packed, *bias;
    void *target;
    fc_strides source_strides, target_strides;
    fc_axis rows, cols;
    ptrdiff_t N, groups, C, K, tap_rows, tap_cols;
} fc_sum_args;

/* packed[g][block][tap][c][lane] = weight, zero where the last block is not full. */
typedef struct {
    const void *weight;
    void *packed;
    ptrdiff_t groups, C, K, taps, group_stride, c_stride, k_stride;
} fc_pack_args;

/* grad_weight[g*K + k, c, kh, kw] = sum over n, oh, ow of grad_out * x; col_step is the stride along columns. */
typedef struct {
    const void *grad_out, *x;
    void *grad_weight;
    fc_strides grad_out_strides, x_strides;
    fc_axis rows;
    fc_taps cols;
    ptrdiff_t N, groups, C, K, tap_rows, tap_cols, out_cols, col_step, c_block, row_block;
    volatile int status;
} fc_grad_weight_args;

typedef struct {
    const void *grad_out;
    void *grad_bias;
    fc_strides grad_out_strides;
    ptrdiff_t N, K, rows, cols;
} fc_grad_bias_args;

/* The kernels of one dtype and level. lanes, block: output channels; columns: those that grad_weight packs at a time. */
typedef struct {
    ptrdiff_t lanes, block, columns;
    fc_kernel sum, pack, grad_weight, grad_bias;
} fc_conv2d_kernels;

FC_DECLARE_TABLES(fc_conv2d_kernels, fc_conv2d)

static inline const fc_conv2d_kernels *fc_conv2d_select(int itemsize) {
    const int level = fc_isa_level();
    return FC_SELECT(fc_conv2d, level, itemsize);
}

#endif
