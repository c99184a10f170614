"""First layers on planes with Numba, driven from here: forward and grad_input of few channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import RELU, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import depthwise_kernels, microkernels
from fastconv._kernels.numba_cpu.arguments import fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d import prepare_direct
from fastconv._kernels.numba_cpu.conv2d_arguments import BLOCK_BYTES, FIRST_LAYER, FIRST_LAYER_WORK_BYTES
from fastconv._kernels.numba_cpu.depthwise_arguments import padded_values
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import COLUMNS
from fastconv.arrays import CONTIGUOUS, element_strides


def _build_first_layer(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_first_layer_rows

    return conv2d_first_layer_rows.first_layer_kernel(dtype)


@cache
def _kernel(dtype: str) -> RangeKernel:
    return RangeKernel(_build_first_layer, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What first layers run, beside the microkernels and the copying of rows."""
    return [_kernel(dtype).native]


class _FirstLayer:
    """Items are blocks of output rows; the weight is read as it is."""

    def __init__(self, problem: Problem, made: plan.FirstLayerPlan, direct: Callable[[], Kernel]):
        self._problem, self._plan, self._direct = problem, made, direct
        self._itemsize = np.dtype(problem.dtype).itemsize
        self._entries, self._buffer_bytes = made.entries * self._itemsize, made.buffer * self._itemsize
        # Before sums and the padded copy: what the slot works with.
        sizes = (FIRST_LAYER_WORK_BYTES + PANEL.itemsize, max(COLUMNS) * BLOCK_BYTES, self._buffer_bytes)
        _, self._sums_at, self._buffer_at, self.scratch_bytes = layout(*sizes)

    def __call__(self, source, weight, *rest) -> int:
        if self._plan.needs_finite and not np.isfinite(weight).all():
            direct = self._direct()
            return direct.run(source, direct.pack(weight), *rest)
        return self._run(source, weight, *rest)

    @cached_property
    def _run(self) -> Callable[..., int]:
        made = self._plan
        operands = ("x", "weight", *(["bias"] if "bias" in self._problem.optional else []), "target")
        items = made.source_shape[0] * made.padded.blocks
        run = _kernel(self._problem.dtype)
        chunk = grain(self._problem.geometry.flops // items)
        return run.bound(self._template(), operands, items, chunk, self.scratch_bytes)

    def _template(self) -> np.ndarray:
        made, dtype, size = self._plan, self._problem.dtype, self._itemsize
        _, K, rows, cols = made.target_shape
        weight_c, weight_k = made.weight_steps
        return fill(
            FIRST_LAYER,
            **panel_values(dtype, made.blocks),
            **stride_values("x", element_strides(made.source_shape, CONTIGUOUS), size),
            **padded_values(made.padded),
            move=depthwise_kernels.rows(dtype).address,
            **{"entries": self._entries.ctypes.data, "taps": len(self._entries), "per_chunk": made.per_chunk},
            **{"row_vectors": made.blocks.ctypes.data, "row_vector_count": len(made.blocks)},
            **{"C": made.source_shape[1], "K": K, "itemsize": size, "out_rows": rows, "out_cols": cols},
            **{"weight_c": weight_c * size, "weight_k": weight_k * size},
            **{"plane": made.plane * size, "buffer_bytes": self._buffer_bytes},
            **{"relu": self._problem.activation == RELU, "streams": made.streams},
            **{"sums_at": self._sums_at, "buffer_at": self._buffer_at},
        )


def _prepare(problem: Problem, transposed: bool) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    made = plan.first_layer_plan(problem.geometry, problem.formats, unit, transposed)
    if isinstance(made, str):
        return Declined(made)
    run = _FirstLayer(problem, made, lambda: prepare_direct(problem, transposed))
    return Kernel("first_layer", run, workspace_bytes=run.scratch_bytes)


VARIANTS = {
    "conv2d_forward": (Variant("first_layer", lambda problem: _prepare(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("first_layer", lambda problem: _prepare(problem, transposed=True)),),
}
