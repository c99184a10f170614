"""Kernels in C, compiled ahead of time for every instruction set and chosen at run time."""

# In this form a missing extension is named as such, not suspected to be a circular import.
import fastconv._kernels.cython_cpu.conv2d as conv2d
import fastconv._kernels.cython_cpu.conv2d_depthwise as conv2d_depthwise
import fastconv._kernels.cython_cpu.max_pool2d as max_pool2d
from fastconv._kernels import contract

# Special cases come before the general ones.
_TABLES = (conv2d_depthwise.VARIANTS, conv2d.VARIANTS, max_pool2d.VARIANTS)
VARIANTS = {op: sum((table.get(op, ()) for table in _TABLES), ()) for op in contract.OPERATIONS}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The kernel of the first variant that takes the problem."""
    return contract.first_accepting(VARIANTS[op], problem)
