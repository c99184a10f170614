"""Max-pooling with one thread for each output, and its gradient with one for each input."""

from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, UNSIGNED, address, compiled, cuda, inlined, int64, integers
from fastconv._kernels.numba_cuda.storage import stored

# (N, C, H, W) of what threads are numbered by, and the order of its axes in memory; one axis of the geometry: (size,
# out, kernel, stride, low, dilation, is_adaptive).
SHAPE, AXIS = 4, 7


@inlined
def window(output, axis):
    """The first position under an output, in the padding or not, and how many taps it has."""
    size, out, kernel, stride, low = axis[0], axis[1], axis[2], axis[3], axis[4]
    if axis[6]:
        first = output * size // out
        return first, ((output + 1) * size + out - 1) // out - first
    return output * stride - low, kernel


@inlined
def outputs(position, axis):
    """The first and the last output whose windows may hold an input."""
    size, out, kernel, stride, low, dilation = axis[0], axis[1], axis[2], axis[3], axis[4], axis[5]
    if axis[6]:
        return position * out // size, ((position + 1) * out - 1) // size
    reach = position + low
    return max((reach - (kernel - 1) * dilation + stride - 1) // stride, 0), min(reach // stride, out - 1)


@inlined
def place(item, shape, is_last):
    """(n, c, h, w) of an element by its place in memory, channels last or not."""
    C, H, W = shape[1], shape[2], shape[3]
    if is_last:
        c, rest = item % C, item // C
        w, rest = rest % W, rest // W
        return rest // H, c, rest % H, w
    w, rest = item % W, item // W
    h, rest = rest % H, rest // H
    return rest // C, rest % C, h, w


@cache
def max_pool_kernel(dtype: str, offsets_dtype: str, with_offsets: bool):
    """out and offsets: NaN wins, the last one, else the first of the largest."""
    lowest, operand = FLOATS[dtype](float("-inf")), stored(dtype).address
    get, put = stored(dtype).get, stored(dtype).put

    def max_pool2d(x, out, offsets, shape, y, x_axis, strides, is_last):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < shape[0] * shape[1] * shape[2] * shape[3]:
            n, c, i, j = place(item, shape, is_last)
            first_h, kH = window(i, y)
            first_w, kW = window(j, x_axis)
            plane = n * strides[0] + c * strides[1]
            best, winner, found, kh = lowest, 0, False, 0
            while kh < kH:
                h, kw = first_h + kh * y[5], 0
                while 0 <= h < y[0] and kw < kW:
                    w = first_w + kw * x_axis[5]
                    if 0 <= w < x_axis[0]:
                        value = get(x, plane + h * strides[2] + w * strides[3])
                        if value > best or value != value or not found:
                            best, winner, found = value, kh * x_axis[2] + kw, True
                    kw += 1
                kh += 1
            put(out, item, best)
            if with_offsets:
                offsets[item] = winner

    offsets = address(UNSIGNED[offsets_dtype])
    tuples = map(integers, (SHAPE, AXIS, AXIS, 4))
    return compiled(max_pool2d, operand, operand, offsets, *tuples, int64)


@cache
def max_pool_grad_kernel(dtype: str, offsets_dtype: str):
    """Every input gets the gradients of the outputs that it won, in their order."""
    zero, operand, get, put = FLOATS[dtype](0), stored(dtype).address, stored(dtype).get, stored(dtype).put

    def max_pool2d_grad(grad_out, offsets, grad_input, shape, y, x_axis, strides, is_last):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < shape[0] * shape[1] * shape[2] * shape[3]:
            n, c, h, w = place(item, shape, is_last)
            i, last_i = outputs(h, y)
            first_j, last_j = outputs(w, x_axis)
            plane, total = n * strides[0] + c * strides[1], zero
            while i <= last_i:
                down, j = h - window(i, y)[0], first_j
                while down % y[5] == 0 and j <= last_j:
                    right = w - window(j, x_axis)[0]
                    at = plane + i * strides[2] + j * strides[3]
                    tap = down // y[5] * x_axis[2] + right // x_axis[5]
                    if right % x_axis[5] == 0 and int64(offsets[at]) == tap:
                        total += get(grad_out, at)
                    j += 1
                i += 1
            put(grad_input, item, total)

    offsets = address(UNSIGNED[offsets_dtype])
    tuples = map(integers, (SHAPE, AXIS, AXIS, 4))
    return compiled(max_pool2d_grad, operand, offsets, operand, *tuples, int64)
