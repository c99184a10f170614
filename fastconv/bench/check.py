"""Is a result right? The error against float64, in units that do not depend on the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import arrays
from fastconv.bench.workloads import ACTIVATIONS, LAYOUTS, AnyWorkload, NetworkWorkload
from fastconv.dtypes import FLOAT_TYPES

# Elements that are compared at a time; the largest answers fill a good part of a memory.
_PIECE = 1 << 16
_NOT_FINITE = "is not finite where it should be"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``max_error`` is the largest difference, ``error_ulp`` the largest in units of u times the sum of magnitudes.

    Of a network ``error_ulp`` is the length of a whole answer's difference, in units of u times the answer's length.
    ``reason`` says what is wrong, and is empty where nothing is; errors are None where they cannot be computed.
    """

    reason: str = ""
    max_error: float | None = None
    error_ulp: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether the result may be timed."""
        return not self.reason


def examine(found: Any, workload: AnyWorkload, coarseness: float = 1.0) -> Verdict:
    """Compare shape, dtype, layout and every element with what the workload asks for.

    ``found`` is an array, or, where the workload has several answers, a mapping with the same names. Errors may be
    larger by ``coarseness``.
    """
    if isinstance(workload, NetworkWorkload):
        return _examine_all(found, workload, coarseness)
    exact, storage = workload.exact, FLOAT_TYPES[workload.dtype].storage
    reason = _unlike(found, exact, storage)
    if not reason and not _is_in_layout(found, workload):
        reason = f"is not in layout {workload.layout}"
    if reason:
        return Verdict(reason)
    largest, error_ulp, place = _largest(found, workload)
    if not math.isfinite(largest):
        return Verdict(_NOT_FINITE)
    allowed = workload.tolerance * coarseness
    if error_ulp > allowed:
        reason = (
            f"differs from float64 at {place}: {found[place]:.9g} instead of {exact[place]:.9g}, "
            f"{error_ulp:.3g} u of the sum of magnitudes where {allowed:g} are allowed"
        )
        return Verdict(reason, largest, error_ulp)
    return Verdict("", largest, error_ulp)


def _largest(found, workload):
    """The largest difference, the largest error, and where that is; a difference that is not finite ends the search."""
    largest, error_ulp, place = 0.0, -1.0, ()
    for outer, rows in _pieces(workload.exact.shape):
        piece = (*outer, rows)
        difference = _difference(found[piece], workload.exact[piece])
        if not np.isfinite(difference).all():
            return math.inf, math.inf, ()
        errors = difference / _units(workload.scale[piece], FLOAT_TYPES[workload.dtype])
        largest, most = max(largest, float(difference.max())), float(errors.max())
        if most > error_ulp:
            first, *inner = (int(index) for index in np.unravel_index(errors.argmax(), errors.shape))
            error_ulp, place = most, (*outer, rows.start + first, *inner)
    return largest, error_ulp, place


def _pieces(shape):
    """Indices of the outer axes and a slice of the next, so that what is computed on the way stays in a cache."""
    axis = next(axis for axis in range(len(shape)) if math.prod(shape[axis + 1 :]) <= _PIECE)
    step = _PIECE // math.prod(shape[axis + 1 :])
    for outer in np.ndindex(shape[:axis]):
        for begin in range(0, shape[axis], step):
            yield outer, slice(begin, begin + step)


def _difference(found, exact):
    with np.errstate(invalid="ignore"):
        return np.where(found == exact, 0.0, np.abs(found - exact))


def _units(scale, float_type):
    """u times the sum of magnitudes, nowhere zero."""
    least, floor = np.finfo(float_type.storage).tiny, np.finfo(scale.dtype).smallest_subnormal
    return np.maximum(float_type.unit_roundoff * np.maximum(scale, least), floor)


def _examine_all(found: Mapping[str, np.ndarray], workload: NetworkWorkload, coarseness: float) -> Verdict:
    """The first answer that is wrong, else the largest errors of all."""
    if set(found) != set(workload.exact):
        return Verdict(f"has other parts than asked for: {', '.join(sorted(set(found) ^ set(workload.exact)))}")
    max_error, error_ulp = [0.0], [0.0]
    for name, exact in workload.exact.items():
        allowed = workload.tolerance_of(name) * coarseness
        verdict = _examine_length(found[name], exact, allowed, FLOAT_TYPES[workload.dtype])
        if not verdict.is_right:
            return Verdict(f"{name} {verdict.reason}", verdict.max_error, verdict.error_ulp)
        max_error.append(verdict.max_error or 0.0)
        error_ulp.append(verdict.error_ulp or 0.0)
    return Verdict("", max(max_error), max(error_ulp))


def _examine_length(found, exact, tolerance, float_type):
    """The length of the difference against that of the answer."""
    if reason := _unlike(found, exact, float_type.storage):
        return Verdict(reason)
    difference = found - exact
    if not np.isfinite(difference).all():
        return Verdict(_NOT_FINITE)
    length = max(float(np.linalg.norm(exact)), float(np.finfo(float_type.storage).tiny))
    error_ulp = float(np.linalg.norm(difference)) / length / float_type.unit_roundoff
    reason = f"is {error_ulp:.3g} u of its length away from float64 where {tolerance:g} are allowed"
    return Verdict(reason if error_ulp > tolerance else "", float(np.abs(difference).max()), error_ulp)


def _unlike(found, exact, storage):
    """What a look at shape and dtype finds wrong."""
    if found.shape != exact.shape:
        return f"has shape {found.shape} instead of {exact.shape}"
    return f"has dtype {found.dtype} instead of {storage}" if found.dtype != storage else ""


def _is_in_layout(found, workload):
    """Activations stay in the layout that they came in; those that are in both may come back in either."""
    if not workload.gives_activations:
        return True
    given = [array for name, array in workload.inputs.items() if name in ACTIVATIONS]
    return any(_is_in(found, layout) for layout in LAYOUTS.values() if all(_is_in(array, layout) for array in given))


def _is_in(array, layout):
    return np.shares_memory(array, arrays.to_format(array, layout))
