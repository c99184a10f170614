"""The sum of grad_bias: every block adds up some pixels of some channels, a second kernel the blocks, in order.

Both add in float64, so that a result is rounded once; one in 16 bits on its way through float32.
"""

from functools import cache

from fastconv._kernels.numba_cuda.launch import THREADS
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, int64, integers
from fastconv._kernels.numba_cuda.storage import stored

# Channels of a block where they are neighbours in memory.
CHANNELS = 32
PART_DTYPE = "float64"
_WIDE = FLOATS[PART_DTYPE]


@cache
def bias_sum_kernel(dtype: str, channels: int):
    """part[s, k]; ``channels`` of a block's threads lie side by side, the others take other pixels."""
    threads, lines, operand, get = THREADS, THREADS // channels, stored(dtype).address, stored(dtype).get

    def conv2d_bias_sum(grad_out, part, sizes, strides):
        K, pixels, plane, own_pixels = sizes
        shared = cuda.shared.array(threads, _WIDE)
        thread = cuda.threadIdx.x
        k_blocks = (K + channels - 1) // channels
        k = cuda.blockIdx.x % k_blocks * channels + thread % channels
        own_part = cuda.blockIdx.x // k_blocks
        p = own_part * own_pixels + thread // channels
        end = min((own_part + 1) * own_pixels, pixels)
        total = _WIDE(0)
        while p < end and k < K:
            total += get(grad_out, p // plane * strides[0] + p % plane * strides[1] + k * strides[2])
            p += lines
        shared[thread] = total
        cuda.syncthreads()
        apart = threads // 2
        while apart >= channels:
            if thread < apart:
                shared[thread] += shared[thread + apart]
            cuda.syncthreads()
            apart //= 2
        if thread < channels and k < K:
            part[own_part * K + k] = shared[thread]

    return compiled(conv2d_bias_sum, operand, address(_WIDE), integers(4), integers(3))


@cache
def add_bias_parts_kernel(dtype: str):
    """grad_bias[k] = Σ part[s, k] over s, in ascending order."""
    number, operand, put = FLOATS[dtype], stored(dtype).address, stored(dtype).put

    def conv2d_add_bias_parts(part, grad_bias, sizes):
        parts, K = sizes
        k = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if k < K:
            total, s = _WIDE(0), 0
            while s < parts:
                total += part[s * K + k]
                s += 1
            put(grad_bias, k, number(total))

    return compiled(conv2d_add_bias_parts, address(_WIDE), operand, integers(2))
