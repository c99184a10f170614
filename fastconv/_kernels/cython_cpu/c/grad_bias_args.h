/* What the kernel of grad_bias is told; filled by conv2d_grad_bias.pyx. */
#ifndef FASTCONV_GRAD_BIAS_ARGS_H
#define FASTCONV_GRAD_BIAS_ARGS_H

#include "axis.h"
#include "isa.h"

/* grad_bias[k] = sum over n and pixels of grad_out; planar: pixels of a channel are together, not channels of a pixel. */
typedef struct {
    const void *grad_out;
    void *grad_bias;
    ptrdiff_t N, K, pixels;
    int planar;
} fc_grad_bias_args;

/* The kernel of one dtype and level; channels: those of one item. */
typedef struct {
    ptrdiff_t channels;
    fc_kernel grad_bias;
} fc_grad_bias_kernels;

FC_TABLES(fc_grad_bias)

#endif
