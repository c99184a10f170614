/* What the kernel of small planes of many images is told; filled by conv2d_images.pyx. */
#ifndef FASTCONV_IMAGES_ARGS_H
#define FASTCONV_IMAGES_ARGS_H

#include "axis.h"
#include "isa.h"

/* The source is grad_out, the target grad_input; the weight is read as it is. The counts are those of plan.ImagesPlan,
 * which explains them; planes count elements, as do the entries' offsets. */
typedef struct {
    const void *source, *weight;
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    fc_strides source_strides, target_strides;
    const int64_t *entries, *regions;
    ptrdiff_t N, C, K, taps, source_rows, source_cols, target_rows, target_cols, source_plane, target_plane;
    ptrdiff_t row_blocks, region_count, per_chunk, scratch_bytes;
} fc_images_args;

/* The kernel of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel images;
} fc_images_kernels;

FC_TABLES(fc_images)

#endif
