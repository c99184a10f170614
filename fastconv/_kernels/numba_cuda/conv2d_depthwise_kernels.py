"""Convolution of single channels: the sum of forward and grad_input, and that of grad_weight in parts."""

from functools import cache

from fastconv._kernels.numba_cuda.conv2d_depthwise_lines import met_lines, place, position_under
from fastconv._kernels.numba_cuda.conv2d_settle import finished
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, inlined, int64, integers
from fastconv._kernels.numba_cuda.storage import stored

# (N, C, blocks of rows, H, W, has_bias, activation, channels are last) of the target; (size, low) of the source's axes;
# the first line under a block is ``block*step + first``, and its first row is ``block*own - shift``.
SUM_ARGUMENTS = {"sizes": 8, "y": 2, "x": 2, "line": 3, "strides": 4, "to": 4}
# (C, OH, OW, blocks of rows, items, items of a part, channels of a block), an item being a column of a block of rows.
WEIGHT_ARGUMENTS = {"sizes": 7, "y": 2, "x_axis": 2, "grad_strides": 4, "strides": 4}


def own_rows(stride: int, transposed: bool) -> int:
    """Rows of a thread: enough to meet each line several times."""
    return 8 if transposed or stride == 1 else 4


def weight_threads(dtype: str) -> int:
    """Threads of a block, whose sums of all taps fit in shared memory."""
    return 4096 // FLOATS[dtype].bitwidth


@cache
def depthwise_kernel(dtype: str, edge: int, stride: int, transposed: bool):
    """target[n, c, i, j] = Σ packed[tap, c] * source[n, c, position(i, tap), position(j, tap)]"""
    own, taps, zero, number = own_rows(stride, transposed), edge * edge, FLOATS[dtype](0), FLOATS[dtype]
    add_lines, position = met_lines(dtype, edge, stride, own, transposed, False), position_under(stride, transposed)
    finish, repair = finished(dtype), _repaired(dtype, edge, position)
    operand, get, put = stored(dtype).address, stored(dtype).get, stored(dtype).put

    def conv2d_depthwise(source, packed, bias, target, sizes, y, x, line, strides, to):
        N, C, blocks, H, W = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
        total = cuda.local.array(own, number)
        factors = cuda.local.array(taps, number)
        columns = cuda.local.array(edge, int64)
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < N * C * blocks * W:
            n, c, block, j = place(item, C, blocks, W, sizes[7])
            for u in range(edge):
                columns[u] = position(j, u, x[1], x[0])
            for tap in range(taps):
                factors[tap] = packed[tap * C + c]
            for r in range(own):
                total[r] = zero
            at, row = n * strides[0] + c * strides[1], block * line[0] + line[1]
            add_lines(total, factors, source, at, row, y[0], columns, strides)
            first, target_at = block * own - line[2], n * to[0] + c * to[1] + j * to[3]
            added, is_nan = get(bias, c) if sizes[5] else zero, False
            for r in range(own):
                if 0 <= first + r < H:
                    value = finish(total[r], added, (True, True), sizes[6])
                    put(target, target_at + (first + r) * to[2], value)
                    is_nan = is_nan or value != value
            i = first if is_nan else H
            while i < min(first + own, H):
                element = target_at + i * to[2]
                found = get(target, element) if i >= 0 else zero
                if found != found:
                    value = repair(source, packed, at, c, C, i, j, y, x, strides)
                    put(target, element, finish(value, added, (True, True), sizes[6]))
                i += 1

    operands = operand, address(number), operand, operand
    return compiled(conv2d_depthwise, *operands, *map(integers, SUM_ARGUMENTS.values()))


def _repaired(dtype, edge, position):
    zero, get = FLOATS[dtype](0), stored(dtype).get

    @inlined
    def repair(source, packed, at, c, C, i, j, y, x, strides):
        """The sum of one output over the taps that are inside: zeros times infinite weights are NaN."""
        total, tap = zero, 0
        while tap < edge * edge:
            h, w = position(i, tap // edge, y[1], y[0]), position(j, tap % edge, x[1], x[0])
            if h >= 0 and w >= 0:
                total += packed[tap * C + c] * get(source, at + h * strides[2] + w * strides[3])
            tap += 1
        return total

    return repair


@cache
def depthwise_weight_kernel(dtype: str, edge: int, stride: int):
    """part[s, c, tap] = Σ grad_out[n, c, i, j] * x[n, c, position(i, tap), position(j, tap)] over the items of part s.

    Threads add up columns of their own, then a tree adds up the threads.
    """
    own, taps, zero, number = own_rows(stride, False), edge * edge, FLOATS[dtype](0), FLOATS[dtype]
    add_lines, position = met_lines(dtype, edge, stride, own, False, True), position_under(stride, False)
    threads, operand, get = weight_threads(dtype), stored(dtype).address, stored(dtype).get
    shared_size = taps * threads
    resum = _summed_again(dtype, own, edge, position)

    def conv2d_depthwise_weight_sum(grad_out, x, part, sizes, y, x_axis, grad_strides, strides):
        C, OH, OW, blocks, items, own_items, channels = sizes
        shared = cuda.shared.array(shared_size, number)
        total = cuda.local.array(taps, number)
        factors = cuda.local.array(own, number)
        columns = cuda.local.array(edge, int64)
        thread, c_blocks = int64(cuda.threadIdx.x), (C + channels - 1) // channels
        c, own_part = cuda.blockIdx.x % c_blocks * channels + thread % channels, cuda.blockIdx.x // c_blocks
        begin = own_part * own_items
        end = min(begin + own_items, items)
        for tap in range(taps):
            total[tap] = zero
        item = begin + thread // channels
        while item < end and c < C:
            n, _, block, j = place(item, 1, blocks, OW, 0)
            for u in range(edge):
                columns[u] = position(j, u, x_axis[1], x_axis[0])
            grad_at = n * grad_strides[0] + c * grad_strides[1] + j * grad_strides[3]
            for r in range(own):
                i = block * own + r
                factors[r] = get(grad_out, grad_at + i * grad_strides[2]) if i < OH else zero
            at, row = n * strides[0] + c * strides[1], block * own * stride - y[1]
            add_lines(total, factors, x, at, row, y[0], columns, strides)
            item += threads // channels
        for tap in range(taps):
            shared[tap * threads + thread] = total[tap]
        cuda.syncthreads()
        apart = threads // 2
        while apart >= channels:
            if thread < apart:
                for tap in range(taps):
                    shared[tap * threads + thread] += shared[tap * threads + thread + apart]
            cuda.syncthreads()
            apart //= 2
        if thread < channels and c < C:
            tap = 0
            while tap < taps:
                value = shared[tap * threads + thread]
                if value != value:
                    value = resum(grad_out, x, c, tap, begin, end, sizes, y, x_axis, grad_strides, strides)
                part[(own_part * C + c) * taps + tap] = value
                tap += 1

    operands = operand, operand, address(number)
    return compiled(conv2d_depthwise_weight_sum, *operands, *map(integers, WEIGHT_ARGUMENTS.values()))


def _summed_again(dtype, own, edge, position):
    zero, get = FLOATS[dtype](0), stored(dtype).get

    @inlined
    def resum(grad_out, x, c, tap, item, end, sizes, y, x_axis, grad_strides, strides):
        """One sum of a part without the pixels whose input is outside: infinite gradients over padding do nothing."""
        total = zero
        while item < end:
            n, _, block, j = place(item, 1, sizes[3], sizes[2], 0)
            w, i = position(j, tap % edge, x_axis[1], x_axis[0]), block * own
            while w >= 0 and i < min(block * own + own, sizes[1]):
                h = position(i, tap // edge, y[1], y[0])
                if h >= 0:
                    value = get(x, n * strides[0] + c * strides[1] + h * strides[2] + w * strides[3])
                    at = n * grad_strides[0] + c * grad_strides[1] + i * grad_strides[2] + j * grad_strides[3]
                    total += get(grad_out, at) * value
                i += 1
            item += 1
        return total

    return resum
