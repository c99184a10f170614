"""Max-pooling with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

from fastconv import arrays
from fastconv._kernels import plan
from fastconv._kernels.contract import OFFSETS_DTYPES, Declined, Kernel, Problem, Variant, offsets_dtype
from fastconv._kernels.numba_cpu import max_pool2d_arguments
from fastconv._kernels.numba_cpu.arguments import fill, grain, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.ranges import RangeKernel


def _build_pool(dtype: str, offsets_dtype: str):
    from fastconv._kernels.numba_cpu import max_pool2d_kernels

    return max_pool2d_kernels.pool_kernel(dtype, offsets_dtype)


def _build_unpool(dtype: str, offsets_dtype: str):
    from fastconv._kernels.numba_cpu import max_pool2d_kernels

    return max_pool2d_kernels.unpool_kernel(dtype, offsets_dtype)


@cache
def _kernel(build: Callable, dtype: str, offsets_dtype: str) -> RangeKernel:
    return RangeKernel(build, dtype, offsets_dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that the poolings of one dtype can run."""
    pairs = itertools.product((_build_pool, _build_unpool), OFFSETS_DTYPES)
    return [_kernel(build, dtype, offsets_dtype).native for build, offsets_dtype in pairs]


def _prepare_forward(problem: Problem) -> Kernel | Declined:
    if problem.formats[0] != problem.formats[1]:
        return Declined("x and out must have one memory format")
    g = problem.geometry
    rows, cols = plan.forward_axis(g.rows), plan.forward_axis(g.cols)
    # Strides cannot tell: a 1×1 plane has channels 1 apart in both formats.
    is_channels_last = problem.formats[0] == arrays.CHANNELS_LAST
    template = fill(
        max_pool2d_arguments.POOL,
        **stride_values("x", arrays.element_strides(g.x_shape, problem.formats[0])),
        **stride_values("out", arrays.element_strides(g.out_shape, problem.formats[1])),
        **plan_values("rows", rows),
        **plan_values("cols", cols),
        **{"N": g.N, "C": g.C, "tap_cols": g.cols.kernel, "channels_last": is_channels_last},
    )
    items = g.N * g.rows.out * (1 if is_channels_last else g.C)
    chunk = grain(8 * g.flops // max(1, items))
    operands = ("x", "out", *(["offsets"] if "offsets" in problem.optional else []))
    run = _kernel(_build_pool, problem.dtype, offsets_dtype(g)).bound(
        template, operands, items, chunk, max_pool2d_arguments.POOL_SCRATCH_BYTES
    )
    return Kernel("direct", run, keeps=(rows, cols))


def _prepare_grad_input(problem: Problem) -> Kernel:
    g = problem.geometry
    taps = plan.tap_positions(g.rows, g.cols)
    width = max_pool2d_arguments.UNPOOL_CHANNELS if problem.formats[1] == arrays.CHANNELS_LAST else 1
    template = fill(
        max_pool2d_arguments.UNPOOL,
        **stride_values("out", arrays.element_strides(g.out_shape, problem.formats[0])),
        **stride_values("x", arrays.element_strides(g.x_shape, problem.formats[1])),
        **{"N": g.N, "C": g.C, "H": g.rows.size, "W": g.cols.size, "OH": g.rows.out, "OW": g.cols.out, "taps": g.taps},
        **{"row_stride": g.rows.stride, "col_stride": g.cols.stride, "row_low": g.rows.low, "col_low": g.cols.low},
        channels=width,
        tap_rows=taps[0].ctypes.data,
        tap_cols=taps[1].ctypes.data,
    )
    items = g.N * -(-g.C // width)
    chunk = grain(8 * width * g.rows.out * g.cols.out)
    operands = ("out", "offsets", "x")
    run = _kernel(_build_unpool, problem.dtype, offsets_dtype(g)).bound(template, operands, items, chunk)
    return Kernel("direct", run, keeps=taps)


VARIANTS = {
    "max_pool2d_forward": (Variant("direct", _prepare_forward),),
    "max_pool2d_grad_input": (Variant("direct", _prepare_grad_input),),
}
