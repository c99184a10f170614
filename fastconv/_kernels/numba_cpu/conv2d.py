"""Convolution with Numba, driven from here: plan -> arguments -> range kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from fastconv._kernels import plan
from fastconv._kernels.contract import Kernel, Problem, Variant
from fastconv._kernels.numba_cpu import conv2d_arguments
from fastconv._kernels.numba_cpu.arguments import fill, grain, plan_values, stride_values
from fastconv._kernels.numba_cpu.compiler import NativeFunction
from fastconv._kernels.numba_cpu.ranges import RangeKernel
from fastconv._kernels.numba_cpu.settings import MAX_VECTORS

# What one thread's sums of grad_weight may take: they should stay in its L2 cache.
_SUMS_BYTES = 1 << 17


def _build_sum(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_sum

    return conv2d_sum.sum_kernel(dtype)


def _build_pack(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_sum

    return conv2d_sum.pack_kernel(dtype)


def _build_grad_weight(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_grad_weight

    return conv2d_grad_weight.grad_weight_kernel(dtype)


def _build_grad_bias(dtype: str):
    from fastconv._kernels.numba_cpu import conv2d_grad_weight

    return conv2d_grad_weight.grad_bias_kernel(dtype)


@cache
def _kernel(build: Callable, dtype: str) -> RangeKernel:
    return RangeKernel(build, dtype)


def native_functions(dtype: str) -> list[NativeFunction]:
    """Everything that the convolutions of one dtype can run."""
    return [_kernel(build, dtype).native for build in (_build_sum, _build_pack, _build_grad_weight, _build_grad_bias)]


def _prepare_sum(problem: Problem, *, transposed: bool) -> Kernel:
    """Forward, or grad_input as the same sum over the transposed plan and weight."""
    g = problem.geometry
    make_plan = plan.grad_input_axis if transposed else plan.forward_axis
    rows, cols = make_plan(g.rows, g.padding_mode), make_plan(g.cols, g.padding_mode)
    source_shape, target_shape = (g.out_shape, g.x_shape) if transposed else (g.x_shape, g.out_shape)
    C, K = (g.K_g, g.C_g) if transposed else (g.C_g, g.K_g)
    template = fill(
        conv2d_arguments.SUM,
        **stride_values("source", source_shape, problem.formats[0]),
        **stride_values("target", target_shape, problem.formats[1]),
        **plan_values("rows", rows),
        **plan_values("cols", cols),
        **{"N": g.N, "groups": g.groups, "C": C, "K": K, "tap_rows": g.rows.kernel, "tap_cols": g.cols.kernel},
    )
    itemsize = np.dtype(problem.dtype).itemsize
    items = g.N * g.groups * conv2d_arguments.blocks(K, itemsize) * target_shape[2]
    chunk = grain(g.flops // max(1, items))
    operands = ("source", "packed", *(["bias"] if "bias" in problem.optional else []), "target")
    run = _kernel(_build_sum, problem.dtype).bound(template, operands, items, chunk, conv2d_arguments.SUM_SCRATCH_BYTES)
    pack, packed_bytes = _packer(problem, C, K, transposed)
    return Kernel("direct", run, pack, packed_bytes, keeps=(rows, cols))


def _packer(problem: Problem, C: int, K: int, transposed: bool) -> tuple[Callable, int]:
    """The function that reorders a weight into whole vectors of output channels, and the bytes that it fills."""
    g = problem.geometry
    itemsize = np.dtype(problem.dtype).itemsize
    taps = g.rows.kernel * g.cols.kernel
    outer, inner = g.C_g * taps, taps
    c_stride, k_stride = (outer, inner) if transposed else (inner, outer)
    shape = (g.groups, conv2d_arguments.padded(K, itemsize), taps, C)
    template = fill(
        conv2d_arguments.PACK,
        **{"groups": g.groups, "C": C, "K": K, "taps": taps, "group_stride": g.K_g * g.C_g * taps},
        c_stride=c_stride,
        k_stride=k_stride,
    )

    items = g.groups * conv2d_arguments.blocks(K, itemsize)
    # Moving an element takes as long as some operations.
    chunk = grain(8 * math.prod(shape) // items)
    fill_packed = _kernel(_build_pack, problem.dtype).bound(template, ("weight", "packed"), items, chunk)

    def pack(weight: np.ndarray) -> np.ndarray:
        packed = np.empty(shape, problem.dtype)
        fill_packed(weight, packed)
        return packed

    return pack, math.prod(shape) * itemsize


def _prepare_grad_weight(problem: Problem) -> Kernel:
    g = problem.geometry
    rows, cols = plan.forward_axis(g.rows, g.padding_mode), plan.grad_weight_axis(g.cols, g.padding_mode)
    itemsize = np.dtype(problem.dtype).itemsize
    widest = MAX_VECTORS * conv2d_arguments.lanes(itemsize)
    c_block, row_block = plan.grad_weight_blocks(g, _SUMS_BYTES // (itemsize * widest))
    template = fill(
        conv2d_arguments.GRAD_WEIGHT,
        **stride_values("grad_out", g.out_shape, problem.formats[0]),
        **stride_values("x", g.x_shape, problem.formats[1]),
        **plan_values("rows", rows),
        **{"N": g.N, "groups": g.groups, "C": g.C_g, "K": g.K_g, "c_block": c_block, "row_block": row_block},
        **{"tap_rows": g.rows.kernel, "tap_cols": g.cols.kernel, "out_cols": g.cols.out, "col_step": g.cols.stride},
        cols_first=cols.first.ctypes.data,
        cols_segments=cols.segments.ctypes.data,
        segment_count=len(cols.segments),
    )
    k_blocks = conv2d_arguments.blocks(g.K_g, itemsize)
    scratch = (2 * row_block * g.cols.kernel * c_block + conv2d_arguments.BLOCK_COLUMNS) * widest * itemsize
    items = g.groups * k_blocks * -(-g.C_g // c_block) * -(-g.rows.kernel // row_block)

    chunk = grain(g.flops // items)
    operands = ("grad_out", "x", "grad_weight")
    run = _kernel(_build_grad_weight, problem.dtype).bound(template, operands, items, chunk, scratch)
    return Kernel("direct", run, workspace_bytes=scratch, keeps=(rows, cols))


def _prepare_grad_bias(problem: Problem) -> Kernel:
    g = problem.geometry
    template = fill(
        conv2d_arguments.GRAD_BIAS,
        **stride_values("grad_out", g.out_shape, problem.formats[0]),
        **{"N": g.N, "K": g.K, "rows": g.rows.out, "cols": g.cols.out},
    )
    chunk = grain(g.N * g.rows.out * g.cols.out)

    operands = ("grad_out", "grad_bias")
    return Kernel("direct", _kernel(_build_grad_bias, problem.dtype).bound(template, operands, g.K, chunk))


VARIANTS = {
    "conv2d_forward": (Variant("direct", lambda problem: _prepare_sum(problem, transposed=False)),),
    "conv2d_grad_input": (Variant("direct", lambda problem: _prepare_sum(problem, transposed=True)),),
    "conv2d_grad_weight": (Variant("direct", _prepare_grad_weight),),
    "conv2d_grad_bias": (Variant("direct", _prepare_grad_bias),),
}
