/* What the kernels of Winograd's minimal filtering are told; filled by conv2d_winograd.pyx. */
#ifndef FASTCONV_WINOGRAD_ARGS_H
#define FASTCONV_WINOGRAD_ARGS_H

#include "activation.h"
#include "isa.h"
#include "winograd_tile_args.h"

/* target[n, g*K + k, row, col] = ending(sum of weight * source), 3 x 3, with zeros as padding; forward and, flipped,
 * grad_input are both of this form. A tile has as many targets as pixels lead from it to the next one. The counts of
 * tiles and of elements are those of plan.WinogradPlan, which explains them. */
typedef struct {
    const void *source, *transformed, *weight, *bias; /* transformed: NULL where the weight is, on the way */
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    fc_tiled sources;
    fc_strides target_strides;
    const int64_t *k_blocks;
    ptrdiff_t N, groups, C, K, target_rows, target_cols;
    ptrdiff_t tile_blocks, block_tiles, k_block_count, k_group, part;
    ptrdiff_t source_pitch, source_step, sums_step, weight_step, part_step, shared, scratch_bytes;
    ptrdiff_t group_stride, c_stride, k_stride; /* of the weight */
    int flipped, activation; /* flags of activation.h */
} fc_winograd_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel sum, transform;
} fc_winograd_kernels;

FC_TABLES(fc_winograd)

#endif
