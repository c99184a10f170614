"""Kernels for NVIDIA GPUs, compiled by numba-cuda when they are first launched."""

from fastconv._kernels import contract
from fastconv._kernels.numba_cuda import (
    batch_norm,
    conv2d,
    conv2d_depthwise,
    conv2d_grads,
    conv2d_grouped,
    copies,
    elementwise,
    local_response_norm,
    locally_connected2d,
    machine,
    pool2d,
    softmax,
)
from fastconv._kernels.numba_cuda.settings import WORDS, CudaKernel

__all__ = ["VARIANTS", "kernels", "prepare"]

_MODULES = (
    conv2d,
    conv2d_grads,
    locally_connected2d,
    pool2d,
    elementwise,
    copies,
    batch_norm,
    local_response_norm,
    softmax,
)
_LAUNCHED = (*_MODULES, conv2d_depthwise, conv2d_grouped, machine)
# What takes arrays whose numbers have 16 bits.
_LAUNCHED_ON_WORDS = (conv2d, conv2d_grads, conv2d_depthwise, conv2d_grouped, pool2d, elementwise)
VARIANTS = {op: table for module in _MODULES for op, table in module.VARIANTS.items()}


def kernels(dtype: str) -> dict[str, CudaKernel]:
    """Everything that can be launched for arrays of one dtype, by name."""
    modules = _LAUNCHED_ON_WORDS if dtype in WORDS else _LAUNCHED
    return {name: kernel for module in modules for name, kernel in module.kernels(dtype)}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The kernel of the first variant that takes the problem."""
    return contract.first_accepting(VARIANTS[op], problem)
