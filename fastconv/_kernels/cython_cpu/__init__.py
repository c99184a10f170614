"""Kernels in C, compiled ahead of time for every instruction set and chosen at run time."""

# In this form a missing extension is named as such, not suspected to be a circular import.
import fastconv._kernels.cython_cpu.batch_norm as batch_norm
import fastconv._kernels.cython_cpu.conv2d as conv2d
import fastconv._kernels.cython_cpu.conv2d_depthwise as conv2d_depthwise
import fastconv._kernels.cython_cpu.conv2d_depthwise_grads as conv2d_depthwise_grads
import fastconv._kernels.cython_cpu.conv2d_first_layer as conv2d_first_layer
import fastconv._kernels.cython_cpu.conv2d_grad_bias as conv2d_grad_bias
import fastconv._kernels.cython_cpu.conv2d_grad_weight as conv2d_grad_weight
import fastconv._kernels.cython_cpu.conv2d_images as conv2d_images
import fastconv._kernels.cython_cpu.conv2d_pointwise as conv2d_pointwise
import fastconv._kernels.cython_cpu.conv2d_sweep as conv2d_sweep
import fastconv._kernels.cython_cpu.conv2d_winograd as conv2d_winograd
import fastconv._kernels.cython_cpu.copies as copies
import fastconv._kernels.cython_cpu.elementwise as elementwise
import fastconv._kernels.cython_cpu.local_response_norm as local_response_norm
import fastconv._kernels.cython_cpu.locally_connected2d as locally_connected2d
import fastconv._kernels.cython_cpu.pool2d as pool2d
import fastconv._kernels.cython_cpu.softmax as softmax
from fastconv._kernels import contract

# Special cases first: an operation's variants are tried in this order.
_MODULES = (
    conv2d_depthwise,
    conv2d_depthwise_grads,
    conv2d_pointwise,
    conv2d_images,
    conv2d_first_layer,
    conv2d_sweep,
    conv2d_winograd,
    conv2d,
    conv2d_grad_weight,
    conv2d_grad_bias,
    locally_connected2d,
    pool2d,
    batch_norm,
    local_response_norm,
    elementwise,
    copies,
    softmax,
)
VARIANTS = {op: sum((module.VARIANTS.get(op, ()) for module in _MODULES), start=()) for op in contract.OPERATIONS}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The kernel of the first variant that takes the problem."""
    return contract.first_accepting(VARIANTS[op], problem)
