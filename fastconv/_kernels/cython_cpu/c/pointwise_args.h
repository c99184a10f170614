/* What the kernel of pointwise convolution of planes is told; filled by conv2d_pointwise.pyx. */
#ifndef FASTCONV_POINTWISE_ARGS_H
#define FASTCONV_POINTWISE_ARGS_H

#include "axis.h"
#include "isa.h"

/* The weight is read as it is: element (k, c) of group g at g * group_stride + k * k_stride + c * c_stride.
 * blocks: (first vector, vectors) of pixels; c_range: input channels that are summed in one go. */
typedef struct {
    const void *source, *weight, *bias;
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    const int64_t *blocks;
    ptrdiff_t groups, C, K, pixels, block_count, k_groups, c_range, c_stride, k_stride, group_stride, scratch_bytes;
    int activation;
} fc_pointwise_args;

/* The kernel of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel pointwise;
} fc_pointwise_kernels;

FC_TABLES(fc_pointwise)

#endif
