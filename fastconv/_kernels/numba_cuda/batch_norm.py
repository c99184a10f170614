"""Batch normalisation: statistics, the pass that uses them, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator

from fastconv import arrays
from fastconv._kernels.contract import NORM_SUMS, OK, OUT_OF_MEMORY, RELU, Declined, Kernel, Problem, Variant
from fastconv._kernels.numba_cuda.batch_norm_kernels import forward_kernel, grad_input_kernel
from fastconv._kernels.numba_cuda.batch_norm_sums import (
    CHANNELS,
    add_sums_kernel,
    grad_sums_kernel,
    join_moments_kernel,
    moments_kernel,
)
from fastconv._kernels.numba_cuda.launch import THREADS, launch, launch_elements, memory, temporary
from fastconv._kernels.numba_cuda.quads import launch_quads
from fastconv._kernels.numba_cuda.settings import CudaKernel
from fastconv._kernels.numba_cuda.tiles import BLOCKS

# Sums are waits for memory: so many blocks at once, and of each channel so few parts that joining them is quick.
_SUM_BLOCKS, _MOST_PARTS, _LEAST_PIXELS = 4 * BLOCKS, 128, 1024
_MOST_PIXELS = 2**31 - 2**16
_WIDE = "float64"


class _Sums:
    """The first kernel of both sums, and the parts that it leaves: their number depends on the geometry alone."""

    def __init__(self, problem: Problem):
        g = self.geometry = problem.geometry
        N_stride, C_stride, _, W_stride = arrays.element_strides(g.x_shape, problem.formats[0])
        self._strides = N_stride, W_stride, C_stride
        self._channels = CHANNELS if C_stride == 1 else 1
        self._dtype = problem.dtype
        blocks = -(-g.C // self._channels)
        parts = max(min(-(-_SUM_BLOCKS // blocks), g.count // _LEAST_PIXELS, _MOST_PARTS), 1)
        self.own_pixels = -(-g.count // parts)
        self.parts = -(-g.count // self.own_pixels)
        self._blocks = blocks * self.parts
        self.scratch_count = self.parts * len(NORM_SUMS) * g.C

    def run(self, make, operands, settings=()):
        """The parts, queued; None where there is no memory for them."""
        try:
            part = temporary(operands[0], self.scratch_count, _WIDE)
        except MemoryError:
            return None
        g, kernel = self.geometry, make(self._dtype, self._channels)
        sizes = g.C, g.count, g.pixels, self.own_pixels
        launch(kernel, self._blocks, THREADS, *map(memory, (*operands, part)), sizes, self._strides, *settings)
        return part


def _prepare_statistics(problem: Problem) -> Kernel | Declined:
    sums = _Sums(problem)
    C, count = problem.geometry.C, problem.geometry.count

    def run(x, mean, variance) -> int:
        part = sums.run(moments_kernel, (x,))
        if part is None:
            return OUT_OF_MEMORY
        sizes = sums.parts, C, count, sums.own_pixels
        launch_elements(join_moments_kernel(), C, *map(memory, (part, mean, variance)), sizes)
        return OK

    return _kernel_of_sums(problem, sums, run)


def _prepare_grad_sums(problem: Problem) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    sums, masks = _Sums(problem), problem.activation == RELU
    count = len(NORM_SUMS) * problem.geometry.C

    def run(grad_out, x, coefficients, target) -> int:
        part = sums.run(grad_sums_kernel, (grad_out, x, coefficients), (masks,))
        if part is None:
            return OUT_OF_MEMORY
        launch_elements(add_sums_kernel(), count, memory(part), memory(target), (sums.parts, count))
        return OK

    return _kernel_of_sums(problem, sums, run)


def _kernel_of_sums(problem, sums, run) -> Kernel | Declined:
    if problem.geometry.count > _MOST_PIXELS:
        return Declined(f"there are more than {_MOST_PIXELS:,} pixels")
    return Kernel("parts", run, workspace_bytes=sums.scratch_count * 8)


def _prepare_pass(problem: Problem, make) -> Kernel | Declined:
    if len(set(problem.formats)) > 1:
        return Declined("all arrays must have one memory format")
    g, rectifies = problem.geometry, problem.activation == RELU
    kernel = make(problem.dtype, bool(problem.optional))
    run_length = 1 if problem.formats[0] == arrays.CHANNELS_LAST else g.pixels
    # The optional operand of forward follows the coefficients, that of the gradient is before them.
    at = 1 if make is forward_kernel or not problem.optional else 2

    def run(*operands) -> int:
        given = list(operands)
        coefficients = memory(given.pop(at))
        launch_quads(kernel, g.flops, tuple(given), (coefficients, g.C, run_length, rectifies))
        return OK

    return Kernel("quads", run)


def kernels(dtype: str) -> Iterator[tuple[str, CudaKernel]]:
    """Everything that can be launched for arrays of one dtype, by name."""
    for has_optional in (False, True):
        yield f"batch_norm forward{' with residual' if has_optional else ''}", forward_kernel(dtype, has_optional)
        yield f"batch_norm grad_input{' with x' if has_optional else ''}", grad_input_kernel(dtype, has_optional)
    for channels in (1, CHANNELS):
        yield f"batch_norm_sum moments {channels}", moments_kernel(dtype, channels)
        yield f"batch_norm_sum gradients {channels}", grad_sums_kernel(dtype, channels)
    yield "batch_norm join moments", join_moments_kernel()
    yield "batch_norm add sums", add_sums_kernel()


VARIANTS = {
    "batch_norm_statistics": (Variant("parts", _prepare_statistics),),
    "batch_norm_forward": (Variant("quads", lambda problem: _prepare_pass(problem, forward_kernel)),),
    "batch_norm_grad_sums": (Variant("parts", _prepare_grad_sums),),
    "batch_norm_grad_input": (Variant("quads", lambda problem: _prepare_pass(problem, grad_input_kernel)),),
}
