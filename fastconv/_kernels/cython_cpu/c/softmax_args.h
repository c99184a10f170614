/* What the passes over classes are told; filled by softmax.pyx. */
#ifndef FASTCONV_SOFTMAX_ARGS_H
#define FASTCONV_SOFTMAX_ARGS_H

#include "axis.h"
#include "isa.h"

/* Pixels, or classes of a single one, that are added apart. */
enum { FC_SOFTMAX_LANES = 64 };

/* Arrays of (N, C, pixels); target, losses and grad_losses of (N, pixels); class_weight of (C). Settings are those of
 * contract.CROSS_ENTROPY_SETTINGS; without a target there is no loss. out is the logarithm of the probability. */
typedef struct {
    const void *x, *grad_out, *class_weight;
    const int64_t *target;
    const double *settings;
    void *out, *losses, *grad_input;
    ptrdiff_t N, C, pixels;
} fc_softmax_args;

typedef struct {
    fc_kernel log_softmax, log_softmax_grad, cross_entropy, cross_entropy_grad;
} fc_softmax_kernels;

FC_TABLES(fc_softmax)

#endif
