"""Average-pooling with one thread for each output, and its gradient with one for each input."""

from functools import cache

from fastconv._kernels.numba_cuda.pool2d_kernels import AXIS, SHAPE, outputs, place, window
from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, int64, integers


@cache
def avg_pool_kernel(dtype: str):
    """out: the sum of a window, in double, then rounded and divided by the counts of its row and of its column."""
    number = FLOATS[dtype]

    def avg_pool2d(x, row_counts, col_counts, out, shape, y, x_axis, strides, is_last):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < shape[0] * shape[1] * shape[2] * shape[3]:
            n, c, i, j = place(item, shape, is_last)
            first_h, kH = window(i, y)
            first_w, kW = window(j, x_axis)
            h, end_h = max(first_h, 0), min(first_h + kH, y[0])
            begin_w, end_w = max(first_w, 0), min(first_w + kW, x_axis[0])
            plane, total = n * strides[0] + c * strides[1], 0.0
            while h < end_h:
                w = begin_w
                while w < end_w:
                    total += x[plane + h * strides[2] + w * strides[3]]
                    w += 1
                h += 1
            out[item] = number(total) / (row_counts[i] * col_counts[j])

    return _compiled(avg_pool2d, number)


@cache
def avg_pool_grad_kernel(dtype: str):
    """Every input gets its share of every output above it, in their order."""
    zero = FLOATS[dtype](0)

    def avg_pool2d_grad(grad_out, row_counts, col_counts, grad_input, shape, y, x_axis, strides, is_last):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < shape[0] * shape[1] * shape[2] * shape[3]:
            n, c, h, w = place(item, shape, is_last)
            i, last_i = outputs(h, y)
            first_j, last_j = outputs(w, x_axis)
            plane, total = n * strides[0] + c * strides[1], zero
            while i <= last_i:
                j = first_j
                while j <= last_j:
                    total += grad_out[plane + i * strides[2] + j * strides[3]] / (row_counts[i] * col_counts[j])
                    j += 1
                i += 1
            grad_input[item] = total

    return _compiled(avg_pool2d_grad, FLOATS[dtype])


def _compiled(function, number):
    operand = address(number)
    return compiled(function, operand, operand, operand, operand, *map(integers, (SHAPE, AXIS, AXIS, 4)), int64)
