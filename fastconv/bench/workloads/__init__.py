"""The data of a case and the answer in float64, by kind of case."""

from collections.abc import Callable

import numpy as np

from fastconv.bench.cases import Case
from fastconv.bench.workloads import chain, conv2d, linear, max_pool2d
from fastconv.bench.workloads.workload import ACTIVATIONS, LAYOUTS, NUMPY_MODES, Workload

__all__ = ["ACTIVATIONS", "LAYOUTS", "NUMPY_MODES", "Workload", "make"]

_MAKERS: dict[str, Callable[..., Workload]] = {
    "conv2d": conv2d.make,
    "max_pool2d": max_pool2d.make,
    "linear": linear.make,
    "chain": chain.make,
}


def make(case: Case, direction: str, dtype: str, seed: int = 0) -> Workload:
    """Draw the data, compute the answer; the same seed gives the same data."""
    return _MAKERS[case.kind](case, direction, dtype, np.random.default_rng(seed))
