"""Kernels in C, compiled ahead of time for every instruction set and chosen at run time."""

from fastconv._kernels import contract
from fastconv._kernels.cython_cpu import conv2d, max_pool2d

VARIANTS = {**conv2d.VARIANTS, **max_pool2d.VARIANTS}


def prepare(op: str, problem: contract.Problem) -> contract.Kernel | contract.Declined:
    """The kernel of the first variant that takes the problem."""
    return contract.first_accepting(VARIANTS[op], problem)
