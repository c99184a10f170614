"""What the depthwise kernels of all operations are told, in the two forms that they have."""

from __future__ import annotations

import dataclasses

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Problem
from fastconv._kernels.numba_cpu.arguments import ENDINGS, fill, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.depthwise_arguments import JOB_BYTES, PIXEL, PLANE, PLANE_WORK, TILE, padded_values
from fastconv._kernels.numba_cpu.depthwise_kernels import WIDTHS, rows, tile
from fastconv._kernels.numba_cpu.microkernels import layout
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.plan import depthwise, sweeps
from fastconv.arrays import CHANNELS_LAST, element_strides


def grain(flops: int, items: int) -> int:
    """Items per chunk: at least some microseconds, memory and the handling of small planes counted."""
    return max(1, depthwise.CHUNK_FLOPS * items // max(1, flops))


class Depthwise:
    """What the kernels of all forms are told. Of grad_weight, grad_out is the target."""

    def __init__(self, problem: Problem, formats: tuple[str, ...], *, transposed: bool):
        self._geometry, self._dtype = g, _ = problem.geometry, problem.dtype
        self._itemsize = np.dtype(problem.dtype).itemsize
        self._taps = g.rows.kernel * g.cols.kernel
        make = plan.grad_input_axis if transposed else plan.forward_axis
        self._plans = tuple(make(axis, g.padding_mode) for axis in (g.rows, g.cols))
        shapes = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
        self._strides = [element_strides(*array) for array in zip(shapes, formats, strict=True)]
        self._operands = ("x", "w", *(["bias"] if "bias" in problem.optional else []), "target")
        self._activation = ENDINGS[problem.activation]
        self._slot_bytes = self._shared_bytes = 0

    def __call__(self, *operands) -> int:
        return self._run(*operands)

    @property
    def scratch_bytes(self) -> int:
        """What one thread needs, and what all share."""
        return self._slot_bytes + self._shared_bytes

    def _values(self) -> dict[str, int]:
        g, size = self._geometry, self._itemsize
        return {
            **stride_values("x", self._strides[0], size),
            **stride_values("target", self._strides[1], size),
            **plan_values("rows", self._plans[0]),
            **plan_values("cols", self._plans[1]),
            **{"N": g.N, "C": g.C, "taps": self._taps, "tap_cols": g.cols.kernel, "activation": self._activation},
        }


class Pixels(Depthwise):
    """Channels lie together: lanes are channels."""

    def __init__(self, problem: Problem, *, transposed: bool = False):
        super().__init__(problem, (CHANNELS_LAST, CHANNELS_LAST), transposed=transposed)
        self._transposed = transposed
        self._lanes = VECTOR_BYTES // self._itemsize
        self._vectors = -(-self._geometry.C // self._lanes)

    def _template(self, kind: str, tap_bytes: int, starts, **values: int) -> np.ndarray:
        g = self._geometry
        # Source rows that a target row reads and the one before it does not.
        new_rows = 1 if self._transposed else g.rows.stride
        swept = dataclasses.asdict(sweeps.sweep(self._plans[1], g.cols.kernel))
        return fill(
            PIXEL,
            tile=tile(self._dtype, kind, VECTOR_BYTES).address,
            **self._values(),
            **{f"sweep_{name}": value for name, value in swept.items()},
            **{"itemsize": self._itemsize, "tap_bytes": tap_bytes, "vectors": self._vectors},
            **dict(zip(("tile_at", "entries_at", "sums_at", "x_strip_at", "target_strip_at"), starts, strict=False)),
            **{"next_rows": new_rows if depthwise.is_far(g, self._itemsize) else 0, **values},
        )


class Planes(Depthwise):
    """Lanes are columns of padded buffers."""

    def __init__(self, problem: Problem, formats: tuple[str, str], *, transposed: bool = False):
        super().__init__(problem, formats, transposed=transposed)
        g, self._formats = self._geometry, formats
        self._padded = depthwise.padded(g.rows, g.cols, g.padding_mode, transposed, self._itemsize)
        self._columns = int(self._padded.cols.counts[0])
        row, height = self._columns * self._itemsize, self._padded.height
        self._buffer_bytes = height * self._padded.pitch * self._itemsize + VECTOR_BYTES
        self._vector = next((width for width in WIDTHS if width >= row), VECTOR_BYTES)
        self._result_pitch = -(-row // self._vector) * self._vector

    def _layout(self, results: int, sums: int) -> tuple[list[int], int]:
        """Where the parts of a slot's memory begin after the first one, and how large it is."""
        padded = self._padded
        jobs = padded.rows.phases * padded.cols.phases * JOB_BYTES
        sizes = (PLANE_WORK.itemsize, TILE.itemsize, jobs, 16 * self._taps, self._buffer_bytes, results, sums)
        _, *starts, size = layout(*sizes)
        return starts, size

    def _template(self, tiles: NativeFunction, starts: list[int], **values: int) -> np.ndarray:
        padded = self._padded
        parts = ("tile_at", "jobs_at", "entries_at", "buffer_at", "results_at", "sums_at")
        return fill(
            PLANE,
            tile=tiles.address,
            move=rows(self._dtype).address,
            **self._values(),
            **padded_values(padded),
            **{
                "vector": self._vector,
                "result_pitch": self._result_pitch,
                "result_size": padded.block * self._result_pitch,
            },
            buffer_bytes=self._buffer_bytes,
            far=depthwise.are_planes_far(self._geometry, self._formats, self._itemsize),
            **dict(zip(parts, starts, strict=True)),
            **values,
        )
