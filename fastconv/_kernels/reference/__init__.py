"""Readable NumPy: slow, obvious, complete. The oracle; it shares no code with the compiled kernels."""

from fastconv._kernels import contract
from fastconv._kernels.reference import (
    avg_pool2d,
    batch_norm,
    conv2d,
    elementwise,
    local_response_norm,
    locally_connected2d,
    max_pool2d,
    softmax,
)

_MODULES = (
    conv2d,
    locally_connected2d,
    max_pool2d,
    avg_pool2d,
    batch_norm,
    local_response_norm,
    elementwise,
    softmax,
)
VARIANTS = {op: table for module in _MODULES for op, table in module.VARIANTS.items()}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The reference kernel of an operation; it takes every problem."""
    return contract.first_accepting(VARIANTS[op], problem)
