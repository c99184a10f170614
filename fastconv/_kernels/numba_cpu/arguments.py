"""Arguments as one structured array, so that a kernel over any number of arrays is a function of one address."""

from __future__ import annotations

import numpy as np

from fastconv._kernels import contract

# What may follow a sum before it is stored, besides its bias; flags beside those of a panel's end.
RELU, RELU6 = 4, 32
ENDINGS = {None: 0, contract.RELU: RELU, contract.RELU6: RELU | RELU6}


def structure(*names: str) -> np.dtype:
    """A structure of 64-bit integers."""
    return np.dtype([(name, np.int64) for name in names])


def strided(prefix: str) -> tuple[str, ...]:
    """The fields of a four-dimensional array: address and element strides."""
    return (prefix, *(f"{prefix}_{axis}" for axis in "nchw"))


def planned(prefix: str) -> tuple[str, ...]:
    """The fields of a plan.AxisPlan."""
    return tuple(f"{prefix}_{field}" for field in ("targets", "run_count", "first", "taps", "sources", "runs"))


def fill(structure: np.dtype, **values: int) -> np.ndarray:
    """One structure with the given values, zero elsewhere."""
    record = np.zeros(1, structure)
    for name, value in values.items():
        record[name] = value
    return record


def stride_values(prefix: str, strides: tuple[int, ...], itemsize: int = 1) -> dict[str, int]:
    """Values of ``strided`` without the address: strides in elements, or in bytes where their size is given."""
    return dict(zip(strided(prefix)[1:], (stride * itemsize for stride in strides), strict=True))


def plan_values(prefix: str, axis_plan) -> dict[str, int]:
    """Values of ``planned``; the kernel must keep the plan alive."""
    addresses = (axis_plan.first, axis_plan.taps, axis_plan.sources, axis_plan.runs)
    counts = (len(axis_plan.first) - 1, len(axis_plan.runs))
    return dict(zip(planned(prefix), (*counts, *(array.ctypes.data for array in addresses)), strict=True))


def grain(flops_per_item: int) -> int:
    """Items per chunk, so that a chunk is worth handing over to another thread: about 10 to 50 microseconds."""
    return max(1, (1 << 20) // max(1, flops_per_item))
