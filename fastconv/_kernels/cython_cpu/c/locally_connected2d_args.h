/* What the kernels of convolutions without shared weights are told; filled by locally_connected2d.pyx. */
#ifndef FASTCONV_LOCALLY_CONNECTED2D_ARGS_H
#define FASTCONV_LOCALLY_CONNECTED2D_ARGS_H

#include "axis.h"
#include "isa.h"

/* One spatial axis of geometry.Axis. */
typedef struct {
    ptrdiff_t size, kernel, stride, low, dilation, out;
} fc_local_axis;

/* `x` is that of forward and grad_weight and the target of grad_input, `out` the result and its gradient. Counts and the
 * parts of the scratch are those of plan.LocalPlan; `images` are computed together; a gradient of the
 * weight `streams` past the caches. */
typedef struct {
    void *x, *weight, *out;
    const void *bias;
    char *scratch, *shared;
    fc_strides x_strides, out_strides;
    fc_local_axis rows, cols;
    ptrdiff_t N, images, C, K, groups, terms;
    ptrdiff_t col_tiles, k_blocks, bands, channel_blocks, band_height, width, band_width, window, grads, row;
    ptrdiff_t strips_at, mask_strip_at, windows_at, mask_at, rows_at, sums_at, grads_at;
    ptrdiff_t block_terms, scratch_bytes;
    int ending, streams;
} fc_local_args;

/* grad_input is computed in two steps: gradients of bands of rows in `shared`, then their sums. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel forward, grad_weight, grad_bands, add_bands;
} fc_locally_connected2d_kernels;

FC_TABLES(fc_locally_connected2d)

#endif
