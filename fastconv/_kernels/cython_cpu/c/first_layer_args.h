/* What the kernels of first layers on planes are told; filled by conv2d_first_layer.pyx. */
#ifndef FASTCONV_FIRST_LAYER_ARGS_H
#define FASTCONV_FIRST_LAYER_ARGS_H

#include "depthwise_args.h"

/* The weight is read as it is. The counts of elements and blocks are those of plan.FirstLayerPlan, which explains
 * them. */
typedef struct {
    const void *source, *weight, *bias;
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    fc_strides source_strides;
    fc_padded padded;
    const int64_t *entries, *blocks;
    ptrdiff_t C, K, weight_c, weight_k, taps, out_rows, out_cols, block_count, per_chunk, plane, buffer, scratch_bytes;
    int activation, streams;
} fc_first_layer_args;

/* The same of grad_weight and plan.FirstLayerGradPlan; taps are all those of a channel. */
typedef struct {
    const void *grad_out, *x;
    void *grad_weight;
    char *scratch;  /* one part of scratch_bytes for each slot */
    void *partials; /* the sums of every segment */
    fc_strides x_strides;
    fc_padded padded;
    const int64_t *k_blocks, *runs;
    ptrdiff_t N, C, K, taps, out_rows, out_cols, k_block_count, run_count, tap_step, x_shift, vectors, pitch;
    ptrdiff_t images, pieces, segments, per_chunk, plane, copy, gradients, scratch_bytes;
} fc_first_layer_grad_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel first_layer, grad_weight, reduce;
} fc_first_layer_kernels;

FC_TABLES(fc_first_layer)

#endif
