"""Convolution without shared weights with Numba, driven from here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import microkernels
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, grain, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.conv2d_arguments import PANELS
from fastconv._kernels.numba_cpu.locally_connected2d_arguments import AXIS, LOCAL, PARTS
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.panel import PANEL
from fastconv._kernels.numba_cpu.ranges import RangeKernel, in_turn
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES

# Operation -> the fields of its operands.
_OPERANDS = {
    "locally_connected2d_forward": ("x", "weight", "bias", "out"),
    "locally_connected2d_grad_input": ("out", "weight", "x"),
    "locally_connected2d_grad_weight": ("out", "x", "weight"),
}
_ENTRY_BYTES = 16


def _build_local_forward(dtype: str):
    from fastconv._kernels.numba_cpu import locally_connected2d_items

    return locally_connected2d_items.forward_kernel(dtype)


def _build_local_grad_weight(dtype: str):
    from fastconv._kernels.numba_cpu import locally_connected2d_items

    return locally_connected2d_items.grad_weight_kernel(dtype)


def _build_local_bands(dtype: str):
    from fastconv._kernels.numba_cpu import locally_connected2d_bands

    return locally_connected2d_bands.bands_kernel(dtype)


def _build_local_sums(dtype: str):
    from fastconv._kernels.numba_cpu import locally_connected2d_bands

    return locally_connected2d_bands.sums_kernel(dtype)


_BUILDERS = (_build_local_forward, _build_local_grad_weight, _build_local_bands, _build_local_sums)


@cache
def _kernel(build: Callable, dtype: str) -> RangeKernel:
    return RangeKernel(build, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """What convolutions without shared weights run, beside the microkernels."""
    return [_kernel(build, dtype).native for build in _BUILDERS]


class _Local:
    """Of some images at a time every weight is read or written once; ``op`` says by which kernels."""

    def __init__(self, op: str, problem: Problem):
        self._op, self._problem = op, problem
        self._itemsize = np.dtype(problem.dtype).itemsize
        formats = problem.formats if op.endswith("forward") else problem.formats[::-1]
        self._plan = plan.local_plan(problem.geometry, formats, microkernels.unit(self._itemsize))
        g, size = problem.geometry, self._itemsize
        entries = _ENTRY_BYTES * (1 + g.terms * size // VECTOR_BYTES)
        sizes = (self._plan.scratch * size, PANEL.itemsize, entries, g.K * size + 2 * VECTOR_BYTES)
        _, *self._starts, self._scratch_bytes = layout(*sizes)

    @property
    def workspace_bytes(self) -> int:
        """What one thread needs, and in grad_input what all share."""
        return self._scratch_bytes + self._shared_bytes

    @property
    def _shared_bytes(self):
        return self._plan.shared * self._itemsize if self._op.endswith("grad_input") else 0

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @cached_property
    def _run(self) -> Callable[..., int]:
        operands = tuple(name for name in _OPERANDS[self._op] if name != "bias" or "bias" in self._problem.optional)
        return in_turn(self._steps(), self._template(), operands, self._scratch_bytes, self._shared_bytes)

    def _steps(self):
        """(kernel, items, grain) of each kernel."""
        g, made, dtype = self._problem.geometry, self._plan, self._problem.dtype
        if not self._op.endswith("grad_input"):
            build = _build_local_forward if self._op.endswith("forward") else _build_local_grad_weight
            return [(_kernel(build, dtype), made.items, grain(g.flops // made.items))]
        bands = -(-g.N // made.images) * made.bands * g.groups * made.channel_blocks
        sums = (_kernel(_build_local_sums, dtype), g.N * g.rows.size, grain(g.C * g.cols.size))
        return [(_kernel(_build_local_bands, dtype), bands, 1), sums]

    def _template(self) -> np.ndarray:
        g, made, dtype, size = self._problem.geometry, self._plan, self._problem.dtype, self._itemsize
        microkernel = microkernels.local_dots if self._op.endswith("forward") else microkernels.panel
        counts = ("images", "col_tiles", "k_blocks", "bands", "channel_blocks", "band_height", "width", "band_width")
        return fill(
            LOCAL,
            **{name: microkernel(dtype, vectors + 1).address for vectors, name in enumerate(PANELS)},
            **stride_values("x", made.x_strides, size),
            **stride_values("out", made.out_strides, size),
            **{f"rows_{field}": getattr(g.rows, field) for field in AXIS},
            **{f"cols_{field}": getattr(g.cols, field) for field in AXIS},
            **{name: getattr(made, name) for name in counts},
            **{name: start * size for name, start in zip(PARTS, made.parts, strict=True)},
            **dict(zip(("panel_at", "entries_at", "bias_at"), self._starts, strict=True)),
            **{"N": g.N, "C": g.C, "K": g.K, "groups": g.groups, "terms": g.terms},
            **{"window": made.window * size, "grads": made.grads * size, "row": made.row * size},
            transpose=microkernels.transpose(dtype).address,
            block_terms=plan.BLOCK_TERMS,
            has_bias="bias" in self._problem.optional,
            ending=ENDINGS[self._problem.activation],
            streams=made.streams,
        )


def _table(op):
    def prepare(problem):
        run = _Local(op, problem)
        return Kernel("direct", run, workspace_bytes=run.workspace_bytes)

    return (Variant("direct", prepare),)


VARIANTS = {op: _table(op) for op in _OPERANDS}
