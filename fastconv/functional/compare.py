"""Elementwise comparisons; their results are bool and carry no gradient."""

import numpy as np

from fastconv.autograd import Function
from fastconv.functional.broadcasting import operands


class Compare(Function):
    """A NumPy comparison on the tape's operands."""

    @staticmethod
    def forward(ctx, a, b, comparison):
        return comparison(*operands(a=a, b=b))


def comparison(ufunc: np.ufunc):
    """A binary operator for Tensors from a NumPy comparison."""

    def compare(a, b):
        return Compare.apply(a, b, ufunc)

    return compare
