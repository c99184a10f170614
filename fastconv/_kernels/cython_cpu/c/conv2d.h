/* The convolution kernels of one dtype and one instruction set. */
#include "conv2d_args.h"
#include "grad_weight_args.h"
#include "pointwise_args.h"
#include "first_layer_args.h"
#include "images_args.h"
#include "sweep_args.h"
#include "winograd_args.h"
#include "winograd_grad_args.h"
#include "panel.h"
#include "dots.h"
#include "groups.h"
#include "rows.h"
#include "pack.h"
#include "conv2d_sum.h"
#include "grad_weight_tiles.h"
#include "grad_weight.h"
#include "pointwise.h"
#include "depthwise_padded.h"
#include "first_layer.h"
#include "first_layer_grad.h"
#include "images.h"
#include "sweep.h"
#include "winograd_transforms.h"
#include "winograd_pixels.h"
#include "winograd_tiles.h"
#include "winograd.h"
#include "winograd_grad.h"

const fc_conv2d_kernels FC_FN(fc_conv2d) = {
    .lanes = FC_LANES,
    .vectors = FC_MAX_VECTORS,
    .columns = FC_MOST_COLUMNS,
    .sum = FC_FN(sum),
    .pack = FC_FN(pack),
};
