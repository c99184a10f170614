"""Kernels compiled by Numba when they are first called on a machine, with vectors emitted by hand."""

import importlib

from fastconv._kernels import contract
from fastconv._kernels.numba_cpu import (
    batch_norm,
    conv2d,
    conv2d_depthwise,
    conv2d_first_layer,
    conv2d_grads,
    conv2d_images,
    conv2d_pointwise,
    conv2d_sweep,
    conv2d_winograd,
    conv2d_winograd_grad,
    copies,
    elementwise,
    local_response_norm,
    locally_connected2d,
    pool2d,
    softmax,
)
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.object_cache import status as cache_status

__all__ = ["VARIANTS", "cache_status", "native_functions", "prepare"]

# Special cases first: an operation's variants are tried in this order.
_MODULES = (
    conv2d_depthwise,
    conv2d_pointwise,
    conv2d_images,
    conv2d_first_layer,
    conv2d_sweep,
    conv2d_winograd,
    conv2d_winograd_grad,
    conv2d,
    conv2d_grads,
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


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that the operations of one dtype can run, to be compiled ahead."""
    return [found for module in _MODULES for found in module.native_functions(dtype)]


if not any(map(NativeFunction.is_cached, native_functions("float32"))):
    # It will be needed, and where it is broken that should be known before the first call.
    importlib.import_module("numba")
