"""Weights in the order in which a tiled product reads them, and gradients of padded inputs folded back."""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_taps import source_position
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, int64, integers
from fastconv._kernels.numba_cuda.storage import stored


@cache
def pack_kernel(dtype: str):
    """packed[g, tap, c, m] = weight[g, .., tap] for all m below ``pitch``, with zeros from M on; in the sums' type."""
    zero, operand, get = FLOATS[dtype](0), stored(dtype).address, stored(dtype).get

    def conv2d_pack(weight, packed, sizes, strides):
        groups, taps, C, M, pitch = sizes
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < groups * taps * C * pitch:
            m, rest = item % pitch, item // pitch
            c, rest = rest % C, rest // C
            tap, group = rest % taps, rest // taps
            at = group * strides[0] + c * strides[1] + m * strides[2] + tap
            packed[item] = get(weight, at) if m < M else zero

    return compiled(conv2d_pack, operand, address(FLOATS[dtype]), integers(5), integers(3))


@cache
def fold_kernel(dtype: str):
    """Every position of grad_input gets the sum of all padded positions that show it."""
    zero, operand, put = FLOATS[dtype](0), stored(dtype).address, stored(dtype).put

    def conv2d_fold(padded, grad_input, sizes, y, x, strides, to):
        N, C, H, W, padded_H, padded_W = sizes
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < N * C * H * W:
            w, rest = item % W, item // W
            h, rest = rest % H, rest // H
            c, n = rest % C, rest // C
            total, i = zero, 0
            while i < padded_H:
                j = 0
                while source_position(i, 0, y) == h and j < padded_W:
                    if source_position(j, 0, x) == w:
                        total += padded[n * strides[0] + c * strides[1] + i * strides[2] + j * strides[3]]
                    j += 1
                i += 1
            put(grad_input, n * to[0] + c * to[1] + h * to[2] + w * to[3], total)

    tuples = map(integers, (6, 5, 5, 4, 4))
    return compiled(conv2d_fold, address(FLOATS[dtype]), operand, *tuples)
