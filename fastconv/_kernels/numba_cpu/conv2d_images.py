"""Small planes of many images with Numba, driven from here: grad_input of few channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Declined, Kernel, Problem, Variant, planned
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, IMAGES, PANELS
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES


def _build_images():
    from fastconv._kernels.numba_cpu import conv2d_images_items

    return conv2d_images_items.images_kernel()


@cache
def _kernel() -> RangeKernel:
    return RangeKernel(_build_images)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What small planes of many images run, beside the microkernels."""
    return [_kernel().native]


class _Images:
    """Items are vectors of images, or blocks of their rows; the weight is read as it is."""

    def __init__(self, problem: Problem, made: plan.ImagesPlan):
        self._problem, self._plan = problem, made
        self._itemsize = np.dtype(problem.dtype).itemsize
        self._entries = made.entries * (self._itemsize, VECTOR_BYTES)
        self._planes = made.source_plane * VECTOR_BYTES, made.target_plane * VECTOR_BYTES
        g = problem.geometry
        vectors = (count * plane for count, plane in zip((g.K, g.C), self._planes, strict=True))
        _, *self._starts, self.scratch_bytes = layout(PANEL.itemsize, max(COLUMNS) * BLOCK_BYTES, *vectors)

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @cached_property
    def _run(self) -> Callable[..., int]:
        operands, items = ("source", "weight", "target"), self._plan.items
        chunk = grain(self._problem.geometry.flops // items)
        return _kernel().bound(self._template(), operands, items, chunk, self.scratch_bytes)

    def _template(self) -> np.ndarray:
        g, made, dtype, size = self._problem.geometry, self._plan, self._problem.dtype, self._itemsize
        parts = ("sums_at", "source_at", "target_at")
        return fill(
            IMAGES,
            **{name: microkernels.panel(dtype, vectors + 1).address for vectors, name in enumerate(PANELS)},
            **stride_values("source", made.source_strides, size),
            **stride_values("target", made.target_strides, size),
            transpose=microkernels.transpose(dtype).address,
            **{"entries": self._entries.ctypes.data, "per_chunk": made.per_chunk},
            **{"regions": made.regions.ctypes.data, "region_count": len(made.regions)},
            **{"N": g.N, "C": g.C, "K": g.K, "taps": g.rows.kernel * g.cols.kernel, "itemsize": size},
            **{"source_pixels": g.rows.out * g.cols.out, "source_cols": g.cols.out},
            **{"target_rows": g.rows.size, "target_cols": g.cols.size, "row_blocks": made.row_blocks},
            **{"source_plane": self._planes[0], "target_plane": self._planes[1]},
            **dict(zip(parts, self._starts, strict=True)),
        )


def _prepare(problem: Problem) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    made = plan.images_plan(problem.geometry, problem.formats, unit)
    return planned("images", made, lambda: _Images(problem, made))


VARIANTS = {"conv2d_grad_input": (Variant("images", _prepare),)}
