/* What the pooling kernels are told; filled by max_pool2d.pyx from the geometry and its plan. */
#ifndef FASTCONV_MAX_POOL2D_ARGS_H
#define FASTCONV_MAX_POOL2D_ARGS_H

#include "axis.h"
#include "isa.h"

/* offsets: unsigned integers of offset_bytes bytes in the layout of out, or NULL where they are not wanted. */
typedef struct {
    const void *x;
    void *out, *offsets;
    fc_strides x_strides, out_strides;
    fc_axis rows, cols;
    ptrdiff_t N, C, tap_cols, offset_bytes;
    int channels_last; /* strides cannot tell: a 1 x 1 plane has channels 1 apart in both formats */
} fc_pool_args;

/* tap_rows and tap_cols: each tap's place in the window, dilation included. */
typedef struct {
    const void *grad_out, *offsets;
    void *grad_input;
    fc_strides out_strides, x_strides;
    const int64_t *tap_rows, *tap_cols;
    ptrdiff_t N, C, H, W, OH, OW, taps, offset_bytes, row_stride, col_stride, row_low, col_low;
    ptrdiff_t channels; /* of one item */
} fc_unpool_args;

typedef struct {
    ptrdiff_t channels_last_item; /* channels of one item of grad_input in channels_last: a cache line */
    fc_kernel forward, grad_input;
} fc_max_pool2d_kernels;

FC_DECLARE_TABLES(fc_max_pool2d_kernels, fc_max_pool2d)

static inline const fc_max_pool2d_kernels *fc_max_pool2d_select(int itemsize) {
    const int level = fc_isa_level();
    return FC_SELECT(fc_max_pool2d, level, itemsize);
}

#endif
