/* The pooling kernels of one dtype and one instruction set. */
#include "pool2d_args.h"
#include "stream.h"
#include "vector.h"
#include "copy_rows.h"
#include "depthwise_pairs.h"
#include "pool_job.h"
#include "pool_targets.h"
#include "pool_planes.h"
#include "pool_sliding.h"
#include "pool_sliding_grad.h"
#include "pool_whole.h"

const fc_pool2d_kernels FC_FN(fc_pool2d) = {
    .lanes = FC_LANES,
    .targets = FC_FN(pool_targets),
    .planes = FC_FN(pool_planes),
    .sliding = FC_FN(pool_sliding),
    .sliding_grad = FC_FN(pool_sliding_grad),
    .whole = FC_FN(pool_whole),
};
