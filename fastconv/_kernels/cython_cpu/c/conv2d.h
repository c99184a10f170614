/* The convolution kernels of one dtype and one instruction set. */
#include "conv2d_args.h"
#include "tile.h"
#include "conv2d_sum.h"
#include "conv2d_grad_weight.h"

const fc_conv2d_kernels FC_FN(fc_conv2d) = {
    .lanes = FC_LANES,
    .block = FC_BLOCK,
    .columns = FC_BLOCK_COLUMNS,
    .sum = FC_FN(sum),
    .pack = FC_FN(pack),
    .grad_weight = FC_FN(grad_weight),
    .grad_bias = FC_FN(grad_bias),
};
