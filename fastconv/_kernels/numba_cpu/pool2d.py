"""Max- and average-pooling with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastconv._kernels.contract import OFFSETS_DTYPES, Declined, Kernel, Problem, Variant, offsets_dtype
from fastconv._kernels.numba_cpu.arguments import fill, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.depthwise_kernels import rows
from fastconv._kernels.numba_cpu.microkernels import transpose
from fastconv._kernels.numba_cpu.pool_arguments import (
    ALL,
    JOB_BYTES,
    KINDS,
    LARGEST,
    LARGEST_AT,
    POOL,
    SLIDE_BYTES,
    SLIDE_LOCAL_BYTES,
    VIEW_BYTES,
    WON,
    lines_values,
    windows_values,
)
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import pools
from fastconv.arrays import element_strides

_OPERANDS = {
    "max_pool2d_forward": ("source", "target", "offsets"),
    "max_pool2d_grad_input": ("source", "winners", "target"),
    "avg_pool2d_forward": ("source", "row_counts", "col_counts", "target"),
    "avg_pool2d_grad_input": ("source", "row_counts", "col_counts", "target"),
}
_LINE = 64
# Vectors of windows that slide: planes of few columns do not fill the widest ones.
_WIDTHS = (32, 64) if VECTOR_BYTES == 64 else (VECTOR_BYTES,)
_WINDOWS = ((2, 1), (2, 2), (3, 1), (3, 2))


def _build_lanes(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_reductions

    return pool_reductions.lanes_module(dtype, kind, offset_bytes)


def _build_whole_plane(dtype: str, kind: str):
    from fastconv._kernels.numba_cpu import pool_whole

    return pool_whole.whole_module(dtype, kind)


def _build_slide(dtype: str, kind: str, width: int, kernel: int, stride: int):
    from fastconv._kernels.numba_cpu import pool_sliding

    return pool_sliding.sliding_module(dtype, kind, width, kernel, stride)


def _build_targets(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_kernels

    return pool_kernels.targets_kernel(dtype, kind, offset_bytes)


def _build_whole(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_kernels

    return pool_kernels.whole_kernel(dtype, kind, offset_bytes)


def _build_strips(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_kernels

    return pool_kernels.strips_kernel(dtype, kind, offset_bytes)


def _build_windows(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_windows

    return pool_windows.windows_kernel(dtype, kind, offset_bytes)


def _build_planes(dtype: str, kind: str, offset_bytes: int):
    from fastconv._kernels.numba_cpu import pool_planes

    return pool_planes.planes_kernel(dtype, kind, offset_bytes)


def _build_sliding(dtype: str, kind: str, width: int):
    from fastconv._kernels.numba_cpu import pool_planes

    return pool_planes.sliding_kernel(dtype, kind, width)


def _build_slide_grad(dtype: str, kind: str, width: int, kernel: int, stride: int, odd: int):
    from fastconv._kernels.numba_cpu import pool_sliding_grad

    return pool_sliding_grad.sliding_grad_module(dtype, kind, width, kernel, stride, odd)


def _build_sliding_grad(dtype: str, kind: str, width: int):
    from fastconv._kernels.numba_cpu import pool_planes

    return pool_planes.sliding_grad_kernel(dtype, kind, width)


@cache
def _lanes(dtype: str, kind: str, offset_bytes: int) -> NativeFunction:
    return NativeFunction(_build_lanes, (dtype, kind, offset_bytes), 2)


@cache
def _whole_plane(dtype: str, kind: str) -> NativeFunction:
    return NativeFunction(_build_whole_plane, (dtype, ALL if kind == ALL else LARGEST), 3)


@cache
def _slide(dtype: str, kind: str, width: int, kernel: int, stride: int) -> NativeFunction:
    return NativeFunction(_build_slide, (dtype, kind, width, kernel, stride), 3)


@cache
def _slide_grad(dtype: str, kind: str, width: int, kernel: int, stride: int, odd: int) -> NativeFunction:
    return NativeFunction(_build_slide_grad, (dtype, kind, width, kernel, stride, odd), 3)


@cache
def _kernel(build, *key) -> RangeKernel:
    return RangeKernel(build, *key)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that the poolings of one dtype can run."""
    sizes = [np.dtype(name).itemsize for name in OFFSETS_DTYPES]
    kinds = [(kind, size) for kind in KINDS for size in (sizes if kind in (LARGEST_AT, WON) else sizes[:1])]
    found = [_lanes(dtype, *kind) for kind in kinds]
    found += [
        _kernel(build, dtype, *kind).native
        for build in (_build_targets, _build_planes, _build_strips, _build_whole)
        for kind in kinds
    ]
    found += [_kernel(_build_windows, dtype, *kind).native for kind in kinds if kind[0] in (WON, ALL)]
    found += [_whole_plane(dtype, kind) for kind in (LARGEST, ALL)]
    for width in _WIDTHS:
        for kind in (LARGEST, LARGEST_AT, ALL):
            found += [_slide(dtype, kind, width, *window) for window in _WINDOWS]
            found.append(_kernel(_build_sliding, dtype, kind, width).native)
        for kind in (WON, ALL):
            found += [_slide_grad(dtype, kind, width, *window, odd) for window in _WINDOWS for odd in range(2)]
            found.append(_kernel(_build_sliding_grad, dtype, kind, width).native)
    return found


class _Pooling:
    """What the kernels of all forms are told."""

    def __init__(self, op: str, problem: Problem):
        self.g, self.dtype = g, _ = problem.geometry, problem.dtype
        self.formats, self.transposed = problem.formats, op.endswith("grad_input")
        self.itemsize = np.dtype(problem.dtype).itemsize
        self.plans = pools.axis_plans(g, self.transposed)
        self.operands, self.flops = _OPERANDS[op], g.flops
        self.kind = ALL if "row_counts" in self.operands else WON if self.transposed else LARGEST
        if "offsets" in problem.optional:
            self.kind = LARGEST_AT
        elif self.kind == LARGEST:
            self.operands = self.operands[:2]
        has_offsets = self.kind in (LARGEST_AT, WON)
        self.offset_bytes = np.dtype(offsets_dtype(g)).itemsize if has_offsets else 1
        shapes = (g.out_shape, g.x_shape) if self.transposed else (g.x_shape, g.out_shape)
        self.values = {
            **stride_values("source", element_strides(shapes[0], problem.formats[0])),
            **stride_values("target", element_strides(shapes[1], problem.formats[1])),
            **plan_values("rows", self.plans[0]),
            **plan_values("cols", self.plans[1]),
            **{"N": g.N, "C": g.C, "tap_cols": g.cols.kernel, "lanes": 1},
            "spreads": self.kind == ALL and self.transposed,
        }

    def bound(self, kernel: RangeKernel, items: int, scratch_bytes: int = 0, **values: int):
        template = fill(POOL, **self.values | values)
        chunk = pools.grain(self.g, self.itemsize, items, self.flops)
        return kernel.bound(template, self.operands, items, chunk, scratch_bytes)

    def lanes(self) -> int:
        """The address of what is done with lanes."""
        return _lanes(self.dtype, self.kind, self.offset_bytes).address

    def streams(self) -> bool:
        return pools.streams(self.g, self.transposed, self.formats, self.itemsize)


def _direct(p: _Pooling, **values: int):
    kernel = _kernel(_build_targets, p.dtype, p.kind, p.offset_bytes)
    items = p.g.N * (p.g.rows.size if p.transposed else p.g.rows.out)
    return p.bound(kernel, items, run=p.lanes(), **values), p.plans


def _channels(p: _Pooling):
    apart, runs = p.transposed and pools.are_apart(p.g), not p.transposed and pools.has_runs(p.g)
    return _direct(p, lanes=p.g.C, streams=p.streams(), apart=apart, runs=runs)


def _rows(p: _Pooling):
    lines = pools.lines(p.g, p.transposed, p.itemsize)
    scratch = JOB_BYTES + _LINE + lines.height * lines.pitch * (p.itemsize + p.offset_bytes)
    kernel = _kernel(_build_planes, p.dtype, p.kind, p.offset_bytes)
    values = lines_values(lines) | {"run": p.lanes(), "move": rows(p.dtype).address, "streams": p.streams()}
    return p.bound(kernel, p.g.N * p.g.C * len(lines.row_blocks), scratch, **values), (*p.plans, lines)


def _strips(p: _Pooling):
    g, lanes = p.g, VECTOR_BYTES // p.itemsize
    sources, targets = p.values["source_c"], p.values["target_c"]
    places = max(sources, targets) * lanes * p.offset_bytes
    scratch = JOB_BYTES + _LINE + (sources + targets) * VECTOR_BYTES + places
    kernel = _kernel(_build_strips, p.dtype, p.kind, p.offset_bytes)
    values = {"run": p.lanes(), "move": transpose(p.dtype).address}
    return p.bound(kernel, g.N * -(-g.C // lanes), scratch, **values), p.plans


def _sliding(p: _Pooling):
    g, (block, blocks, ahead) = p.g, pools.sliding_blocks(p.g, p.itemsize)
    window = g.rows.kernel, g.rows.stride
    columns = -(-g.cols.size // window[1]) if p.transposed else g.cols.out
    width = next((width for width in _WIDTHS if columns * p.itemsize <= width), VECTOR_BYTES)
    key = p.dtype, p.kind, width
    if p.transposed:
        run = _slide_grad(p.dtype, p.kind, width, *window, g.cols.low % 2).address
        kernel, H = _kernel(_build_sliding_grad, *key), g.rows.out
    else:
        run = _slide(p.dtype, p.kind, width, *window).address
        kernel, H = _kernel(_build_sliding, *key), g.rows.size
    values = {"H": H, "stride": window[1], "row_low": g.rows.low, "col_low": g.cols.low, "run": run}
    values |= {"block": block, "blocks": blocks, "ahead": ahead, "streams": p.streams()}
    scratch = SLIDE_BYTES + -(-columns * p.itemsize // width) * VIEW_BYTES
    return p.bound(kernel, g.N * g.C * blocks, 0 if scratch <= SLIDE_LOCAL_BYTES else scratch, **values), p.plans


def _whole(p: _Pooling):
    kernel = _kernel(_build_whole, p.dtype, p.kind, p.offset_bytes)
    return p.bound(kernel, p.g.N * p.g.C, run=_whole_plane(p.dtype, p.kind).address), p.plans


def _windows(p: _Pooling):
    g, made = p.g, pools.windows(p.g)
    p.flops = pools.window_flops(g)
    pitch = pools.windows_pitch(g, VECTOR_BYTES // p.itemsize)
    scratch = ((g.rows.out + 1) * pitch + g.cols.out) * p.itemsize if p.kind == ALL else 0
    kernel = _kernel(_build_windows, p.dtype, p.kind, p.offset_bytes)
    values = windows_values(made) | {"pitch": pitch, "move": rows(p.dtype).address}
    return p.bound(kernel, g.N * g.C, scratch, **values), (*p.plans, made)


_FORMS = (
    ("whole", _whole, pools.whole_reason),
    ("sliding", _sliding, pools.sliding_reason),
    ("rows", _rows, pools.rows_reason),
    ("strips", _strips, pools.strips_reason),
    ("channels", _channels, pools.channels_reason),
    ("direct", _direct, pools.direct_reason),
)


def _variant(name, form, reason, op) -> Variant:
    def prepare(problem: Problem) -> Kernel | Declined:
        if why := reason(problem.geometry, problem.formats):
            return Declined(why)
        run, keeps = form(_Pooling(op, problem))
        return Kernel(name, run, keeps=keeps)

    return Variant(name, prepare)


def _forms(op):
    """Of gradients there is one more."""
    if op not in pools.WINDOWS_REASONS:
        return _FORMS
    return (*_FORMS[:3], ("windows", _windows, pools.WINDOWS_REASONS[op]), *_FORMS[3:])


VARIANTS = {op: tuple(_variant(*form, op) for form in _forms(op)) for op in _OPERANDS}
