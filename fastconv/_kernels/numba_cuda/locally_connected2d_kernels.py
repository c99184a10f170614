"""Convolution without shared weights with one thread for each result, and its gradients.

Threads that are neighbours share what they read of the input, and write, or read a moment later, neighbouring weights.
"""

from functools import cache

from fastconv._kernels.numba_cuda.settings import FLOATS, address, compiled, cuda, int64, integers

# Of an axis: size, outputs, kernel, stride, low padding, dilation. Of all: K, C, channels of a group, output channels
# of a group, images, whether the result is rectified.
AXIS, SIZES = 6, 6
# Terms that are summed before their sum is added to the others', so that rounding errors stay small.
_BLOCK = 128


@cache
def forward_kernel(dtype: str, has_bias: bool):
    """out[n, k, oh, ow]: threads go from output channels to places, to images."""
    zero = FLOATS[dtype](0)

    def locally_connected2d(x, weight, bias, out, rows, cols, sizes, x_strides, out_strides):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < sizes[0] * rows[1] * cols[1] * sizes[4]:
            k, place = item % sizes[0], item // sizes[0] % (rows[1] * cols[1])
            n, oh, ow = item // sizes[0] // (rows[1] * cols[1]), place // cols[1], place % cols[1]
            at = (place * sizes[0] + k) * sizes[2] * rows[2] * cols[2]
            first = n * x_strides[0] + k // sizes[3] * sizes[2] * x_strides[1]
            total, part, count, c = zero, zero, 0, 0
            while c < sizes[2]:
                kh = 0
                while kh < rows[2]:
                    h = oh * rows[3] - rows[4] + kh * rows[5]
                    kw = 0
                    while kw < cols[2]:
                        w = ow * cols[3] - cols[4] + kw * cols[5]
                        if h >= 0 and h < rows[0] and w >= 0 and w < cols[0]:
                            value = x[first + c * x_strides[1] + h * x_strides[2] + w * x_strides[3]]
                            part += weight[at + (c * rows[2] + kh) * cols[2] + kw] * value
                        count += 1
                        if count == _BLOCK:
                            total += part
                            part, count = zero, 0
                        kw += 1
                    kh += 1
                c += 1
            total += part
            if has_bias:
                total += bias[place * sizes[0] + k]
            if sizes[5] and total < zero:
                total = zero
            out[n * out_strides[0] + k * out_strides[1] + oh * out_strides[2] + ow * out_strides[3]] = total

    return _compiled(locally_connected2d, FLOATS[dtype])


@cache
def grad_weight_kernel(dtype: str):
    """grad_weight[oh, ow, k, c, kh, kw]: one thread for each, in the order in which they lie in memory."""
    zero = FLOATS[dtype](0)

    def locally_connected2d_grad_weight(x, grad_weight, unused, grad_out, rows, cols, sizes, x_strides, out_strides):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        taps = rows[2] * cols[2]
        if item < rows[1] * cols[1] * sizes[0] * sizes[2] * taps:
            kw, kh, c = item % cols[2], item // cols[2] % rows[2], item // taps % sizes[2]
            k, place = item // (taps * sizes[2]) % sizes[0], item // (taps * sizes[2]) // sizes[0]
            oh, ow = place // cols[1], place % cols[1]
            h, w = oh * rows[3] - rows[4] + kh * rows[5], ow * cols[3] - cols[4] + kw * cols[5]
            total = zero
            if h >= 0 and h < rows[0] and w >= 0 and w < cols[0]:
                at = (k // sizes[3] * sizes[2] + c) * x_strides[1] + h * x_strides[2] + w * x_strides[3]
                above = k * out_strides[1] + oh * out_strides[2] + ow * out_strides[3]
                part, n = zero, 0
                while n < sizes[4]:
                    part += grad_out[n * out_strides[0] + above] * x[n * x_strides[0] + at]
                    n += 1
                    if n % _BLOCK == 0:
                        total += part
                        part = zero
                total += part
            grad_weight[item] = total

    return _compiled(locally_connected2d_grad_weight, FLOATS[dtype])


@cache
def grad_input_kernel(dtype: str):
    """grad_input[n, c, h, w]: threads go from columns to rows, to channels, to images.

    A weight that one thread reads lies beside that which its neighbour has read for the tap before.
    """
    zero = FLOATS[dtype](0)

    def locally_connected2d_grad_input(grad_input, weight, unused, grad_out, rows, cols, sizes, x_strides, out_strides):
        item = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        if item < rows[0] * cols[0] * sizes[1] * sizes[4]:
            w, h, c = item % cols[0], item // cols[0] % rows[0], item // (cols[0] * rows[0]) % sizes[1]
            n, taps = item // (cols[0] * rows[0]) // sizes[1], rows[2] * cols[2]
            begin, inner, total, kh = c // sizes[2] * sizes[3], c % sizes[2], zero, 0
            while kh < rows[2]:
                from_top = h + rows[4] - kh * rows[5]
                oh = from_top // rows[3]
                if from_top >= 0 and oh * rows[3] == from_top and oh < rows[1]:
                    k = begin
                    while k < begin + sizes[3]:
                        part, kw = zero, 0
                        while kw < cols[2]:
                            from_left = w + cols[4] - kw * cols[5]
                            ow = from_left // cols[3]
                            if from_left >= 0 and ow * cols[3] == from_left and ow < cols[1]:
                                at = (((oh * cols[1] + ow) * sizes[0] + k) * sizes[2] + inner) * taps
                                above = k * out_strides[1] + oh * out_strides[2] + ow * out_strides[3]
                                part += weight[at + kh * cols[2] + kw] * grad_out[n * out_strides[0] + above]
                            kw += 1
                        total += part
                        k += 1
                kh += 1
            grad_input[n * x_strides[0] + c * x_strides[1] + h * x_strides[2] + w * x_strides[3]] = total

    return _compiled(locally_connected2d_grad_input, FLOATS[dtype])


def _compiled(function, number):
    operand = address(number)
    return compiled(function, *[operand] * 4, *map(integers, (AXIS, AXIS, SIZES, 4, 4)))
