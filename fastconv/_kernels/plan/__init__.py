"""Geometry -> the integers that drive a kernel; shared by the compiled CPU backends, knows no language."""

from fastconv._kernels.plan.axes import (
    AxisPlan,
    TapPlan,
    forward_axis,
    grad_input_axis,
    grad_weight_axis,
    source_table,
    tap_positions,
)
from fastconv._kernels.plan.blocks import (
    BLOCK_TERMS,
    RANGE_TERMS,
    VectorUnit,
    channel_blocks,
    is_pointwise,
    is_streamed,
)
from fastconv._kernels.plan.first_layer_grads import FirstLayerGradPlan, first_layer_grad_plan
from fastconv._kernels.plan.first_layers import FirstLayerPlan, first_layer_plan
from fastconv._kernels.plan.grad_weights import GradWeightPlan, grad_weight_plan
from fastconv._kernels.plan.groups import groups_reason, joined_groups
from fastconv._kernels.plan.images import ImagesPlan, images_plan
from fastconv._kernels.plan.locals import LocalPlan, local_plan
from fastconv._kernels.plan.norms import NormPlan, norm_plan
from fastconv._kernels.plan.parts import PART_CHUNK, PartPlan, part_plan
from fastconv._kernels.plan.pointwise import PointwisePlan, pointwise_plan
from fastconv._kernels.plan.rows import SweepPlan, row_plan, rows_reason, sweep_plan
from fastconv._kernels.plan.sums import Packing, SumPlan, dots_reason, held_items, packing, sum_plan
from fastconv._kernels.plan.winograd import (
    WINOGRAD_ITEMSIZE,
    WinogradPlan,
    is_winograd_kernel,
    transformation,
    winograd_plan,
)
from fastconv._kernels.plan.winograd_grads import WinogradGradPlan, winograd_grad_plan

__all__ = [
    "BLOCK_TERMS",
    "PART_CHUNK",
    "RANGE_TERMS",
    "WINOGRAD_ITEMSIZE",
    "AxisPlan",
    "FirstLayerGradPlan",
    "FirstLayerPlan",
    "GradWeightPlan",
    "ImagesPlan",
    "LocalPlan",
    "NormPlan",
    "Packing",
    "PartPlan",
    "PointwisePlan",
    "SumPlan",
    "SweepPlan",
    "TapPlan",
    "VectorUnit",
    "WinogradGradPlan",
    "WinogradPlan",
    "channel_blocks",
    "dots_reason",
    "first_layer_grad_plan",
    "first_layer_plan",
    "forward_axis",
    "grad_input_axis",
    "grad_weight_axis",
    "grad_weight_plan",
    "groups_reason",
    "held_items",
    "images_plan",
    "is_pointwise",
    "is_streamed",
    "is_winograd_kernel",
    "joined_groups",
    "local_plan",
    "norm_plan",
    "packing",
    "part_plan",
    "pointwise_plan",
    "row_plan",
    "rows_reason",
    "source_table",
    "sum_plan",
    "sweep_plan",
    "tap_positions",
    "transformation",
    "winograd_grad_plan",
    "winograd_plan",
]
