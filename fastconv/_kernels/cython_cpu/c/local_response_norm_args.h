/* What the passes of a normalisation across channels are told; filled by local_response_norm.pyx. */
#ifndef FASTCONV_LOCAL_RESPONSE_NORM_ARGS_H
#define FASTCONV_LOCAL_RESPONSE_NORM_ARGS_H

#include "axis.h"
#include "isa.h"

/* Pixels, or channels of a single one, that are computed at once. */
enum { FC_RESPONSE_LANES = 256 };

/* Arrays of (N, C, pixels); a channel sees those from so many before it to so many behind it. Settings are those of
 * contract.RESPONSE_SETTINGS. Items are runs of pixels of one image, or of so many images where they have one pixel. */
typedef struct {
    const void *x, *grad_out;
    const double *settings;
    void *target;
    char *scratch; /* the terms of every channel that others see, for each slot */
    ptrdiff_t N, C, pixels, before, behind, images, scratch_bytes;
} fc_response_args;

typedef struct {
    fc_kernel forward, grad_input;
} fc_response_kernels;

FC_TABLES(fc_response)

#endif
