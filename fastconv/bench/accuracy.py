"""How exact contestants are: errors against float64 in data of several kinds, next to the speed of the same layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastconv.bench import workloads
from fastconv.bench.cases import INTEGERS, NORMAL, RECTIFIED, WIDE
from fastconv.bench.check import examine
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import Errors, Record
from fastconv.bench.workloads import Workload, conv2d
from fastconv.bench.workloads.workload import magnitudes, widened
from fastconv.geometry import Conv2dGeometry

KINDS = (NORMAL, RECTIFIED, WIDE, INTEGERS)


def measure(contestants: Sequence[Contestant], workload: Workload) -> dict[str, list[Errors] | Exception]:
    """Name -> the errors in each of KINDS, or what was raised on the way."""
    found: dict[str, list[Errors] | Exception] = {contestant.name: [] for contestant in contestants}
    for kind in KINDS:
        # One kind is in memory at a time: its answer is several times as large as the layer.
        other = workload if kind == workload.case.values else _drawn(workload, kind)
        grown = replace(other, scale=grown_scale(other))
        for contestant in contestants:
            errors = found[contestant.name]
            if isinstance(errors, list):
                try:
                    errors.append(_errors(contestant.prepare(other), other, grown))
                except Exception as error:
                    found[contestant.name] = error
    return found


def _drawn(workload, kind):
    """The same work with data of a kind."""
    case = replace(workload.case, values=kind)
    return workloads.make(case, workload.direction, workload.dtype).in_layout(workload.layout)


def grown_scale(workload: Workload) -> np.ndarray:
    """The largest of the sums of magnitudes of a result and of those at most a row and a column away.

    Their windows together are its window grown by one pixel on each side. Of a tap of a gradient of weights they are
    those of the taps around it, also of taps that the kernel does not have.
    """
    g = workload.geometry
    if workload.direction != "grad_weight" or (g.rows.dilation, g.cols.dilation) != (1, 1):
        return _largest_near(workload.scale)
    pads = tuple((axis.low + 1, axis.high + 1) for axis in (g.rows, g.cols))
    shape = (g.K, g.C_g, g.rows.kernel + 2, g.cols.kernel + 2)
    strides, mode = (g.rows.stride, g.cols.stride), g.padding_mode
    wider = Conv2dGeometry.of(g.x_shape, shape, stride=strides, padding=pads, groups=g.groups, padding_mode=mode)
    scale = conv2d.grad_weight(wider, **magnitudes(widened(workload.inputs)))
    return _largest_near(scale)[:, :, 1:-1, 1:-1]


def _largest_near(scale):
    """Of each element the largest at most a row and a column away."""
    for axis in (2, 3):
        largest = scale.copy()
        first, second = (np.s_[(*[slice(None)] * axis, part)] for part in (slice(1, None), slice(None, -1)))
        np.maximum(largest[first], scale[second], out=largest[first])
        np.maximum(largest[second], scale[first], out=largest[second])
        scale = largest
    return scale


def _errors(prepared, workload, grown):
    if not isinstance(prepared, Prepared):
        raise ValueError(f"declines {workload.case.values} data: {prepared.reason}")
    result = prepared.result(prepared.call())
    verdict = examine(result, workload, math.inf)
    if not verdict.is_right:
        raise ValueError(f"{workload.case.values} data: {verdict.reason}")
    grown_ulp = examine(result, grown, math.inf).error_ulp if prepared.grows else None
    largest = float(workload.scale.max())
    return Errors(workload.case.values, verdict.error_ulp or 0.0, grown_ulp, verdict.max_error == 0, largest)


@dataclass(frozen=True, slots=True)
class Worst:
    """The largest errors of one contestant over ``cases`` layers of a direction and setting, in the order of KINDS.

    ``exact`` of them are exact for integers, whose sums of magnitudes reach ``largest_sum``; ``peak_fraction`` is the
    geometric mean, None where no peak is known.
    """

    direction: str
    batch: int
    layout: str
    dtype: str
    threads: int
    contestant: str
    cases: int
    accuracy: tuple[Errors, ...]
    exact: int
    largest_sum: float
    peak_fraction: float | None


def worst(records: Iterable[Record]) -> list[Worst]:
    """Of each contestant whose errors were measured, in the order in which they first occur."""
    groups: dict[tuple[str, int, str, str, int, str], list[Record]] = {}
    for record in records:
        if record.accuracy:
            where = (record.direction, record.batch, record.layout, record.dtype, record.threads, record.contestant)
            groups.setdefault(where, []).append(record)
    return [_worst(where, members) for where, members in groups.items()]


def _worst(where: tuple[str, int, str, str, int, str], members: Sequence[Record]) -> Worst:
    columns = zip(*(record.accuracy for record in members), strict=True)
    *_, integers = errors = tuple(_largest(column) for column in columns)
    exact = sum(record.accuracy[-1].is_exact for record in members)
    peaks = [record.peak_fraction for record in members if record.peak_fraction is not None]
    peak = geometric_mean(peaks) if peaks else None
    return Worst(*where, len(members), errors, exact, integers.largest_sum, peak)


def _largest(column: Sequence[Errors]) -> Errors:
    grown = [errors.grown_ulp for errors in column if errors.grown_ulp is not None]
    return Errors(
        column[0].values,
        max(errors.error_ulp for errors in column),
        max(grown) if grown else None,
        all(errors.is_exact for errors in column),
        max(errors.largest_sum for errors in column),
    )
