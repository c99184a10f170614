"""The data of a case and the answer in float64, by kind of case."""

from collections.abc import Callable

import numpy as np

from fastconv.bench.cases import Case
from fastconv.bench.workloads import (
    chain,
    conv2d,
    linear,
    locally_connected2d,
    max_pool2d,
    network,
    passes,
    steps,
    windows,
)
from fastconv.bench.workloads.network import NetworkWorkload
from fastconv.bench.workloads.workload import ACTIVATIONS, LAYOUTS, NUMPY_MODES, Workload

__all__ = ["ACTIVATIONS", "LAYOUTS", "NUMPY_MODES", "AnyWorkload", "NetworkWorkload", "Workload", "make"]

AnyWorkload = Workload | NetworkWorkload

_MAKERS: dict[str, Callable[..., AnyWorkload]] = {
    "conv2d": conv2d.make,
    "max_pool2d": max_pool2d.make,
    "avg_pool2d": windows.average,
    "adaptive_avg_pool2d": windows.average,
    "adaptive_max_pool2d": windows.largest,
    "linear": linear.make,
    "locally_connected2d": locally_connected2d.make,
    "chain": chain.make,
    "network": network.make,
    "batch_norm": passes.batch_norm,
    "relu": passes.relu,
    "add_relu": passes.add_relu,
    "sgd": steps.sgd,
    "adam": steps.adam,
}


def make(case: Case, direction: str, dtype: str, seed: int = 0) -> AnyWorkload:
    """Draw the data, compute the answer; the same seed gives the same data."""
    return _MAKERS[case.kind](case, direction, dtype, np.random.default_rng(seed))
