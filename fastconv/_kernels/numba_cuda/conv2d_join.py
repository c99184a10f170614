"""The second pass of a sum that several blocks shared: its runs are added up in ascending order."""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_settle import finished, target_at
from fastconv._kernels.numba_cuda.conv2d_sum import ARGUMENTS, pixel_of
from fastconv._kernels.numba_cuda.conv2d_taps import summed_inside
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, int64, integers
from fastconv._kernels.numba_cuda.storage import stored


@cache
def join_kernel(dtype: str):
    """target = Σ part[s] over s, bias and rectifier as in one pass: the same additions, so the same bits.

    The last argument says whether neighbouring threads take neighbouring channels or neighbouring pixels.
    """
    zero, finish, sum_inside = FLOATS[dtype](0), finished(dtype), summed_inside(dtype)
    operand, get, put = stored(dtype).address, stored(dtype).get, stored(dtype).put

    def conv2d_join(source, packed, bias, part, target, sizes, y, x, taps_y, taps_x, to_y, to_x, strides, to, is_last):
        groups, C, M, pitch, pixels, parts, part_size = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], *sizes[8:10]
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < groups * M * pixels:
            k, p = (item % (groups * M), item // (groups * M)) if is_last else (item // pixels, item % pixels)
            element = target_at(p, to_y, to_x, to[0]) + k * to[1]
            total, s = part[element], 1
            while s < parts:
                total += part[s * part_size + element]
                s += 1
            added = get(bias, k) if sizes[6] else zero
            value = finish(total, added, (True, True), sizes[7])
            if value != value:
                n, i, j = pixel_of(p, to_y[0], to_x[0])
                group, m = k // M, k % M
                at = n * strides[0] + group * C * strides[1]
                total = sum_inside(
                    source, at, packed, group * sizes[5] + m, i, j, C, pitch, y, x, taps_y, taps_x, strides
                )
                value = finish(total, added, (True, True), sizes[7])
            put(target, element, value)

    wide = address(FLOATS[dtype])
    operands = operand, wide, operand, wide, operand
    return compiled(conv2d_join, *operands, *map(integers, ARGUMENTS.values()), int64)
