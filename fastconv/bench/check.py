"""Is a result right? The error against float64, in units that do not depend on the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import arrays
from fastconv.bench.workloads import ACTIVATIONS, LAYOUTS, Workload
from fastconv.dtypes import FLOAT_TYPES


@dataclass(frozen=True, slots=True)
class Verdict:
    """``max_error`` is the largest difference, ``error_ulp`` the largest in units of u times the sum of magnitudes.

    ``reason`` says what is wrong, and is empty where nothing is; errors are None where they cannot be computed.
    """

    reason: str = ""
    max_error: float | None = None
    error_ulp: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether the result may be timed."""
        return not self.reason


def examine(found: np.ndarray, workload: Workload) -> Verdict:
    """Compare shape, dtype, layout and every element with what the workload asks for."""
    exact, storage = workload.exact, FLOAT_TYPES[workload.dtype].storage
    if found.shape != exact.shape:
        return Verdict(f"has shape {found.shape} instead of {exact.shape}")
    if found.dtype != storage:
        return Verdict(f"has dtype {found.dtype} instead of {storage}")
    if not _is_in_layout(found, workload):
        return Verdict(f"is not in layout {workload.layout}")
    with np.errstate(invalid="ignore"):
        difference = np.where(found == exact, 0.0, np.abs(found - exact))
    if not np.isfinite(difference).all():
        return Verdict("is not finite where it should be")
    unit = FLOAT_TYPES[workload.dtype].unit_roundoff
    floor = np.finfo(exact.dtype).smallest_subnormal
    errors = difference / np.maximum(unit * np.maximum(workload.scale, np.finfo(storage).tiny), floor)
    largest, error_ulp = float(difference.max()), float(errors.max())
    if error_ulp > workload.tolerance:
        place = tuple(int(index) for index in np.unravel_index(errors.argmax(), errors.shape))
        reason = (
            f"differs from float64 at {place}: {found[place]:.9g} instead of {exact[place]:.9g}, "
            f"{error_ulp:.3g} u of the sum of magnitudes where {workload.tolerance:g} are allowed"
        )
        return Verdict(reason, largest, error_ulp)
    return Verdict("", largest, error_ulp)


def _is_in_layout(found, workload):
    """Activations stay in the layout that they came in; those that are in both may come back in either."""
    if not workload.gives_activations:
        return True
    given = [array for name, array in workload.inputs.items() if name in ACTIVATIONS]
    return any(_is_in(found, layout) for layout in LAYOUTS.values() if all(_is_in(array, layout) for array in given))


def _is_in(array, layout):
    return np.shares_memory(array, arrays.to_format(array, layout))
