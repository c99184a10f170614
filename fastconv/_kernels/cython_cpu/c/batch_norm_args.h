/* What the passes of batch normalisation are told; filled by batch_norm.pyx. */
#ifndef FASTCONV_BATCH_NORM_ARGS_H
#define FASTCONV_BATCH_NORM_ARGS_H

#include "axis.h"
#include "isa.h"

/* Rows of C values where channels are together (channels_last), else planes of `pixels` values per channel (planar).
 * coefficients: rows of C values, in the order of contract.NORM_COEFFICIENTS. */
typedef struct {
    const void *x, *grad_out, *residual, *coefficients;
    void *target;
    double *sums, *other_sums; /* per channel: mean and variance, or those of contract.NORM_SUMS */
    char *scratch;             /* one part of scratch_bytes for each slot */
    double *partials;          /* two rows of C sums for every item, where channels are together */
    ptrdiff_t N, C, pixels;
    ptrdiff_t items, item_rows; /* items of rows; those of planes are channels, or planes where something is written */
    ptrdiff_t scratch_bytes;
    int relu, streams;
} fc_norm_args;

/* Rows that are added in real numbers, and then to the sums in double; lanes of a plane that are added apart. */
enum { FC_NORM_ROWS = 16, FC_NORM_LANES = 64 };
/* Rows, or planes, whose sums are loaded and stored once. */
enum { FC_NORM_TOGETHER = 4 };
/* Values of a channel, and the share of the rows of an item, that stand for all where a variance is asked for: the
 * closer their mean to that of all, the less is rounded. */
enum { FC_NORM_ORIGIN = 64, FC_NORM_SHARE = 8 };
/* Channels of one item of the last sum. */
enum { FC_NORM_CHANNELS = 64 };

typedef struct {
    fc_kernel moments_rows, moments_planes, moments_merge;
    fc_kernel sums_rows, sums_planes, sums_merge;
    fc_kernel forward_rows, forward_planes, grad_rows, grad_planes;
} fc_norm_kernels;

FC_TABLES(fc_norm)

#endif
