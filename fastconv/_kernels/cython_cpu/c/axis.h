/* The plan of an axis and the strides of an array, as every operation's kernels see them. */
#ifndef FASTCONV_AXIS_H
#define FASTCONV_AXIS_H

#include <stddef.h>
#include <stdint.h>

typedef void (*fc_kernel)(void *args, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot);

/* Entries grouped by target, as plan.AxisPlan has them. */
typedef struct {
    ptrdiff_t targets, run_count;
    const int64_t *first, *taps, *sources, *runs;
} fc_axis;

/* Element strides of a four-dimensional array. */
typedef struct {
    ptrdiff_t n, c, h, w;
} fc_strides;

#endif
