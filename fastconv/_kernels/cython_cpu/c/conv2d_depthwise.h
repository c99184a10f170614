/* The depthwise kernels of one dtype and one instruction set. */
#include "depthwise_args.h"
#include "vector.h"
#include "depthwise_pixels.h"
#include "depthwise_pixels_grad.h"
#include "depthwise_padded.h"
#include "transpose.h"
#include "depthwise_strips.h"
#include "depthwise_planes.h"
#include "depthwise_planes_grad.h"

const fc_depthwise_kernels FC_FN(fc_depthwise) = {
    .lanes = FC_LANES,
    .pixel_sum = FC_FN(pixel_sum),
    .pixel_grad = FC_FN(pixel_grad),
    .pixel_reduce = FC_FN(pixel_reduce),
    .strip_grad = FC_FN(strip_grad),
    .plane_check = FC_FN(plane_check),
    .plane_sum = FC_FN(plane_sum),
    .plane_grad = FC_FN(plane_grad),
    .plane_reduce = FC_FN(plane_reduce),
};
