/* The pooling kernels of one dtype and one instruction set. */
#include "pool2d_args.h"
#include "stream.h"
#include "vector.h"
#include "copy_rows.h"
#include "depthwise_pairs.h"
#include "pool_job.h"
#include "pool_targets.h"
#include "pool_planes.h"
#include "transpose.h"
#include "pool_strips.h"
#include "pool_whole.h"
#include "pool_windows.h"
#undef FC_SLID
#define FC_SLID FC_POOL_WIDTH
#include "pool_sliding.h"
#include "pool_sliding_grad.h"
#undef FC_POOL_HALF
#if defined(__x86_64__) && FC_VECTOR_BYTES == 64
#if FC_REAL_BYTES == 4
#define FC_POOL_HALF 8
#else
#define FC_POOL_HALF 4
#endif
#undef FC_SLID
#define FC_SLID FC_POOL_HALF
#include "pool_compare_half.h"
#include "pool_sliding.h"
#include "pool_sliding_grad.h"
#endif

static void FC_FN(pool_sliding)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pool_args *a = ctx;
    (void)a;
#ifdef FC_POOL_HALF
    if (a->cols.targets <= FC_POOL_HALF) {
        FC_S__(pool_sliding, FC_POOL_HALF)(ctx, lo, hi, slot);
        return;
    }
#endif
    FC_S__(pool_sliding, FC_POOL_WIDTH)(ctx, lo, hi, slot);
}

static void FC_FN(pool_sliding_grad)(void *ctx, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t slot) {
    const fc_pool_args *a = ctx;
    (void)a;
#ifdef FC_POOL_HALF
    if ((a->cols.targets + a->sliding.stride - 1) / a->sliding.stride <= FC_POOL_HALF) {
        FC_S__(pool_sliding_grad, FC_POOL_HALF)(ctx, lo, hi, slot);
        return;
    }
#endif
    FC_S__(pool_sliding_grad, FC_POOL_WIDTH)(ctx, lo, hi, slot);
}

const fc_pool2d_kernels FC_FN(fc_pool2d) = {
    .lanes = FC_LANES,
    .targets = FC_FN(pool_targets),
    .planes = FC_FN(pool_planes),
    .strips = FC_FN(pool_strips),
    .sliding = FC_FN(pool_sliding),
    .sliding_grad = FC_FN(pool_sliding_grad),
    .whole = FC_FN(pool_whole),
    .windows = FC_FN(pool_windows),
};
