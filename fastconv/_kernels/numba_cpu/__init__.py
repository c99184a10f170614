"""Kernels compiled by Numba when they are first called, with vectors emitted by hand."""

from fastconv._kernels import contract
from fastconv._kernels.numba_cpu import conv2d, max_pool2d

VARIANTS = {**conv2d.VARIANTS, **max_pool2d.VARIANTS}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The kernel of the first variant that takes the problem."""
    return contract.first_accepting(VARIANTS[op], problem)
