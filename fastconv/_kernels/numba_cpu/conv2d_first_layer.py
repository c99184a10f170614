"""First layers on planes with Numba, driven from here: forward and both gradients of few channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import OK, Declined, Kernel, Problem, Variant, planned
from fastconv._kernels.numba_cpu import conv2d_grads, depthwise_kernels, microkernels
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d import prepare_direct
from fastconv._kernels.numba_cpu.conv2d_arguments import (
    BLOCK_BYTES,
    FIRST_LAYER,
    FIRST_LAYER_GRAD,
    FIRST_LAYER_GRAD_WORK_BYTES,
    FIRST_LAYER_WORK_BYTES,
)
from fastconv._kernels.numba_cpu.depthwise_arguments import padded_values
from fastconv._kernels.numba_cpu.microkernels import layout, panel_values
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES
from fastconv.arrays import CONTIGUOUS, element_strides


def _build_first_layer(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_first_layer_rows

    return conv2d_first_layer_rows.first_layer_kernel(dtype)


def _build_first_layer_grad(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_first_layer_grad

    return conv2d_first_layer_grad.first_layer_grad_kernel(dtype)


def _build_first_layer_reduce(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_first_layer_grad

    return conv2d_first_layer_grad.first_layer_reduce_kernel(dtype)


@cache
def _kernel(build: Callable, dtype: str) -> RangeKernel:
    return RangeKernel(build, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What first layers run, beside the microkernels and the copying of rows."""
    builds = (_build_first_layer, _build_first_layer_grad, _build_first_layer_reduce)
    return [_kernel(build, dtype).native for build in builds]


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
        run = _kernel(_build_first_layer, self._problem.dtype)
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
            **{"activation": ENDINGS[self._problem.activation], "streams": made.streams},
            **{"sums_at": self._sums_at, "buffer_at": self._buffer_at},
        )


class _FirstLayerGrad:
    """Items are segments of the outputs, whose sums are added afterwards."""

    def __init__(self, problem: Problem, made: plan.FirstLayerGradPlan):
        self._problem, self._plan = problem, made
        g, self._itemsize = problem.geometry, np.dtype(problem.dtype).itemsize
        self._weights = g.K * g.C * g.rows.kernel * g.cols.kernel * self._itemsize
        # Before the padded copy and the gradients: what the slot works with.
        sizes = (
            FIRST_LAYER_GRAD_WORK_BYTES + PANEL.itemsize,
            16 * made.images * made.padded.block,
            max(COLUMNS) * VECTOR_BYTES,
            self._weights,
            made.copy * self._itemsize,
            made.gradients * self._itemsize,
        )
        _, *self._starts, self._scratch_bytes = layout(*sizes)

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._scratch_bytes + self._plan.segments * self._weights

    def __call__(self, grad_out, x, grad_weight) -> int:
        status = self._run(grad_out, x, grad_weight)
        if status == OK and self._plan.needs_finite and not np.isfinite(grad_weight).all():
            return conv2d_grads.prepare_direct(self._problem).run(grad_out, x, grad_weight)
        return status

    @cached_property
    def _run(self) -> Callable[..., int]:
        g, made, dtype = self._problem.geometry, self._plan, self._problem.dtype
        taps = g.rows.kernel * g.cols.kernel
        steps = [
            (_kernel(_build_first_layer_grad, dtype), made.segments, grain(g.flops // made.segments)),
            (_kernel(_build_first_layer_reduce, dtype), g.K, grain(8 * made.segments * g.C * taps)),
        ]
        operands, shared = ("grad_out", "x", "grad_weight"), made.segments * self._weights
        return in_turn(steps, self._template(), operands, self._scratch_bytes, shared)

    def _template(self) -> np.ndarray:
        g, made, dtype, size = self._problem.geometry, self._plan, self._problem.dtype, self._itemsize
        counts = ("tap_step", "vectors", "images", "pieces", "segments", "per_chunk")
        parts = ("entries_at", "tile_at", "sums_at", "copy_at", "gradients_at")
        return fill(
            FIRST_LAYER_GRAD,
            **panel_values(dtype, made.k_blocks, microkernels.dots),
            **stride_values("x", element_strides(g.x_shape, CONTIGUOUS), size),
            **padded_values(made.padded),
            move=depthwise_kernels.rows(dtype).address,
            **{"k_blocks": made.k_blocks.ctypes.data, "k_block_count": len(made.k_blocks)},
            **{"runs": made.runs.ctypes.data, "run_count": len(made.runs), "x_shift": made.x_shift * size},
            **{"N": g.N, "C": g.C, "K": g.K, "taps": g.rows.kernel * g.cols.kernel, "itemsize": size},
            **{"out_rows": g.rows.out, "out_cols": g.cols.out, "row_bytes": made.pitch * size},
            **{"plane": made.plane * size, "copy_bytes": made.copy * size, "gradients_bytes": made.gradients * size},
            **{name: getattr(made, name) for name in counts},
            **dict(zip(parts, self._starts, strict=True)),
        )


def _prepare_grad_weight(problem: Problem) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    made = plan.first_layer_grad_plan(problem.geometry, problem.formats, unit)
    return planned("first_layer", made, lambda: _FirstLayerGrad(problem, made))


def _prepare(problem: Problem, transposed: bool) -> Kernel | Declined:
    unit = microkernels.unit(np.dtype(problem.dtype).itemsize)
    made = plan.first_layer_plan(problem.geometry, problem.formats, unit, transposed)

    def direct():
        return prepare_direct(problem, transposed)

    return planned("first_layer", made, lambda: _FirstLayer(problem, made, direct))


VARIANTS = {
    "conv2d_forward": (Variant("first_layer", lambda problem: _prepare(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("first_layer", lambda problem: _prepare(problem, transposed=True)),),
    "conv2d_grad_weight": (Variant("first_layer", _prepare_grad_weight),),
}
