/* What the kernel of grad_input of few pixels is told; filled by conv2d_sweep.pyx. */
#ifndef FASTCONV_SWEEP_ARGS_H
#define FASTCONV_SWEEP_ARGS_H

#include "axis.h"
#include "isa.h"

/* grad_input[pixel, c] = sum over k of grad_out[pixel, k] * weight[k, c]; C is a number of whole vectors, an item has
 * `width` of them. `rows` rows of weights are swept over together, and after `block` of them, a multiple, their sum
 * goes from the scratch to grad_input. */
typedef struct {
    const void *grad_out, *weight;
    void *grad_input;
    char *scratch; /* one part of scratch_bytes for each slot */
    ptrdiff_t pixels, C, K, width, rows, block, scratch_bytes;
} fc_sweep_args;

/* The kernel of one dtype and level. */
typedef struct {
    ptrdiff_t lanes;
    fc_kernel sweep;
} fc_sweep_kernels;

FC_TABLES(fc_sweep)

#endif
