/* What the pooling kernels are told; filled by pool2d.pyx from the geometry and its plan. */
#ifndef FASTCONV_POOL2D_ARGS_H
#define FASTCONV_POOL2D_ARGS_H

#include "axis.h"
#include "isa.h"

/* What becomes of the sources under a window: the largest is taken; those that won are summed; all are. */
enum { FC_POOL_MAX, FC_POOL_MAX_GRAD, FC_POOL_SUM, FC_POOL_KINDS, FC_POOL_MAX_AT = FC_POOL_KINDS };

/* How planes come into a buffer, some rows at a time, and where in it the sources of neighbouring targets lie.
 * row_blocks has (first target row, end, first source row, end) per block. A row of the buffer has pitch elements;
 * count source columns from `first` on are copied to even_at, or, with steps of two, in turn to even_at and odd_at.
 * Target columns phase, phase + phases, ... have the taps[t] (first_tap[phase] <= t < first_tap[phase + 1]), whose
 * sources are neighbours from places[t] on. winners lists (target column, its first tap that is no padding or -1) where
 * that is not the first tap of all. */
typedef struct {
    const int64_t *row_blocks, *first_tap, *taps, *places, *winners;
    ptrdiff_t winner_count, block_count, height, pitch, first, count, step, even_at, odd_at, phases;
} fc_pool_lines;

/* Square windows with the same steps in both directions on planes of H rows, whose first one begins row_low rows and
 * col_low columns outside. A plane has blocks of `block` rows of windows; the next one reads what is `ahead`. Of a
 * gradient H is the number of those rows. */
typedef struct {
    ptrdiff_t stride, H, row_low, col_low, block, blocks, ahead;
} fc_pool_sliding;

/* Windows that give a gradient to their elements. rows and cols have (place of tap 0, how much further the first place
 * inside lies, places from there to the end) per window, taps (row, column, element of the plane) from tap 0 on; of
 * `regular` windows all taps are inside. row_groups and col_groups have (first place, places, first window, windows) of
 * neighbours that lie under the same ones. Sums of rows have pitch elements. */
typedef struct {
    const int64_t *rows, *cols, *taps, *row_groups, *col_groups;
    ptrdiff_t row_count, col_count, tap_count, row_group_count, col_group_count, pitch;
    int regular;
} fc_pool_windows;

/* target = what `kind` says of the sources that rows and cols list for it. winners (of FC_POOL_MAX_GRAD) lie as source
 * does and offsets (of FC_POOL_MAX; NULL: not wanted) as target does: unsigned integers of offset_bytes bytes. Of
 * FC_POOL_SUM every element of the output is divided by row_counts[oh] * col_counts[ow]: that is the target, or the
 * source where `spreads`. */
typedef struct {
    const void *source, *winners, *row_counts, *col_counts;
    void *target, *offsets;
    fc_strides source_strides, target_strides;
    fc_axis rows, cols;
    fc_pool_lines lines;
    fc_pool_sliding sliding;
    fc_pool_windows windows;
    ptrdiff_t N, C, tap_cols, offset_bytes, kind, spreads, streams;
    ptrdiff_t lanes; /* neighbours of one target: all channels, or one */
    int runs;        /* of outputs: there are runs of neighbours whose few taps are alike, and all channels are neighbours */
    int apart;       /* of gradients: no two windows have an element in common, and all channels are neighbours */
    volatile int status;
} fc_pool_args;

/* Items: target rows of an image; blocks of rows of a plane; strips of planes; blocks of rows of a plane, twice; planes
 * that have one window; planes. */
typedef struct {
    ptrdiff_t lanes;
    fc_kernel targets, planes, strips, sliding, sliding_grad, whole, windows;
} fc_pool2d_kernels;

FC_TABLES(fc_pool2d)

#endif
