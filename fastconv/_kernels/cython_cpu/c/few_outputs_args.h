/* What the kernel for few target channels is told; filled by conv2d_few_outputs.pyx. */
#ifndef FASTCONV_FEW_OUTPUTS_ARGS_H
#define FASTCONV_FEW_OUTPUTS_ARGS_H

#include "axis.h"
#include "isa.h"

/* The taps of each phase of an axis: those of phase p are pairs (tap, offset) first[p] .. first[p + 1] - 1; target
 * p + j * phases reads source j + offset. Offsets lie in lowest .. highest. */
typedef struct {
    const int64_t *first, *pairs;
    ptrdiff_t phases, sources, targets, lowest, highest;
} fc_phases;

/* The weight is read as it is. c_range divides C. row_block target rows are one item; pitch: elements of a row of
 * scratch, which holds whole vectors and the padding. */
typedef struct {
    const void *source, *weight, *bias;
    void *target;
    char *scratch; /* one part of scratch_bytes for each slot */
    fc_strides source_strides, target_strides;
    fc_phases rows, cols;
    ptrdiff_t N, groups, C, K, tap_cols, c_range, block_terms, row_block, block_count, scratch_rows, pitch, entries;
    ptrdiff_t c_stride, k_stride, group_stride, scratch_bytes;
    int relu;
} fc_few_outputs_args;

/* The kernels of one dtype and level. */
typedef struct {
    ptrdiff_t lanes, vectors, columns;
    fc_kernel few_outputs;
    int (*is_finite)(const void *values, ptrdiff_t count);
} fc_few_outputs_kernels;

FC_DECLARE_TABLES(fc_few_outputs_kernels, fc_few_outputs)

static inline const fc_few_outputs_kernels *fc_few_outputs_select(int itemsize) {
    const int level = fc_isa_level();
    return FC_SELECT(fc_few_outputs, level, itemsize);
}

#endif
