/* What the kernels of grad_weight by Winograd's minimal filtering are told; filled by conv2d_winograd.pyx. */
#ifndef FASTCONV_WINOGRAD_GRAD_ARGS_H
#define FASTCONV_WINOGRAD_GRAD_ARGS_H

#include "isa.h"
#include "winograd_tile_args.h"

/* grad_weight[g*K + k, c, kh, kw] of a 3 x 3 layer. The counts of tiles, of blocks and of elements are those of
 * plan.WinogradGradPlan, which explains them. */
typedef struct {
    const void *grad_out, *x;
    void *grad_weight;
    char *scratch;  /* one part of scratch_bytes for each slot */
    void *partials; /* the sums of every item, where there are segments */
    int32_t *doubt; /* set where a result is not finite */
    fc_tiled outputs, inputs;
    const int64_t *k_blocks;
    ptrdiff_t N, groups, C, K, size, tile_blocks, segments, parts, k_block_count, k_group, c_blocks;
    ptrdiff_t x_pitch, x_step, grad_pitch, grad_step, strip, sums_step, sums, scratch_bytes;
} fc_winograd_grad_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t stored_channels; /* that one item of reduce stores */
    fc_kernel sum, reduce;
} fc_winograd_grad_kernels;

FC_TABLES(fc_winograd_grad)

#endif
