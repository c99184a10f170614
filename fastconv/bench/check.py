"""Is a result right? The error against float64, in units that do not depend on the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import arrays
from fastconv.bench.workloads import ACTIVATIONS, LAYOUTS, AnyWorkload, NetworkWorkload
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


def examine(found: Any, workload: AnyWorkload) -> Verdict:
    """Compare shape, dtype, layout and every element with what the workload asks for.

    ``found`` is an array, or, where the workload has several answers, a mapping with the same names.
    """
    if isinstance(workload, NetworkWorkload):
        return _examine_all(found, workload)
    reason = _unlike(found, workload.exact, workload)
    if not reason and not _is_in_layout(found, workload):
        reason = f"is not in layout {workload.layout}"
    return Verdict(reason) if reason else _compared(found, workload.exact, workload.scale, workload)


def _examine_all(found: Mapping[str, np.ndarray], workload: NetworkWorkload) -> Verdict:
    """The first answer that is wrong, else the largest errors of all."""
    if set(found) != set(workload.exact):
        strange = ", ".join(sorted(set(found) ^ set(workload.exact)))
        return Verdict(f"has other parts than asked for: {strange}")
    max_error = error_ulp = 0.0
    for name, exact in workload.exact.items():
        reason, scale = _unlike(found[name], exact, workload), np.abs(exact).max(initial=0.0)
        verdict = Verdict(reason) if reason else _compared(found[name], exact, scale, workload)
        if not verdict.is_right:
            return Verdict(f"{name} {verdict.reason}", verdict.max_error, verdict.error_ulp)
        max_error, error_ulp = max(max_error, verdict.max_error or 0.0), max(error_ulp, verdict.error_ulp or 0.0)
    return Verdict("", max_error, error_ulp)


def _unlike(found, exact, workload):
    """What a look at shape and dtype finds wrong."""
    storage = FLOAT_TYPES[workload.dtype].storage
    if found.shape != exact.shape:
        return f"has shape {found.shape} instead of {exact.shape}"
    return f"has dtype {found.dtype} instead of {storage}" if found.dtype != storage else ""


def _compared(found, exact, scale, workload):
    """Every element, in units of u times ``scale``."""
    storage = FLOAT_TYPES[workload.dtype].storage
    with np.errstate(invalid="ignore"):
        difference = np.where(found == exact, 0.0, np.abs(found - exact))
    if not np.isfinite(difference).all():
        return Verdict("is not finite where it should be")
    unit = FLOAT_TYPES[workload.dtype].unit_roundoff
    floor = np.finfo(exact.dtype).smallest_subnormal
    errors = difference / np.maximum(unit * np.maximum(scale, np.finfo(storage).tiny), floor)
    largest, error_ulp = float(difference.max()), float(errors.max())
    if error_ulp > workload.tolerance:
        place = tuple(int(index) for index in np.unravel_index(errors.argmax(), errors.shape))
        reason = (
            f"differs from float64 at {place}: {found[place]:.9g} instead of {exact[place]:.9g}, "
            f"{error_ulp:.3g} {workload.unit} where {workload.tolerance:g} are allowed"
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
