"""The partial inverse of max-pooling: put every value back where it came from."""

from __future__ import annotations

import math

import numpy as np

from fastconv import arrays, dtypes, parameters
from fastconv.autograd import Function
from fastconv.errors import DTypeError, ShapeError
from fastconv.geometry import batched_shape


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Scatter ``x`` to the flat positions that ``max_pool2d(..., return_indices=True)`` gave; zeros elsewhere.

    Shapes: (N, C, OH, OW) twice -> (N, C, H, W) with H = (OH − 1)·sH − 2·pH + kH unless ``output_size`` says otherwise.
    Raises IndexError for an index outside the output, ShapeError for shapes that differ.

    >>> import numpy as np
    >>> max_unpool2d(np.ones((1, 1, 1, 1)), np.array([[[[3]]]]), 2)[0, 0].tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    return MaxUnpool2d.apply(x, indices, (kernel_size, stride, padding, output_size))


class MaxUnpool2d(Function):
    """The gradient gathers from where forward scattered to."""

    @staticmethod
    def forward(ctx, x, indices, parameters):
        x, indices = arrays.as_array(x, "input"), arrays.as_array(indices, "indices")
        dtypes.common_float_type(input=x)
        N, C, OH, OW = batched_shape("max_unpool2d", x.shape)
        if indices.dtype.kind not in "iu":
            raise DTypeError(f"indices must be integers, got {indices.dtype}")
        if indices.shape != x.shape:
            raise ShapeError(f"indices have shape {indices.shape}, input has shape {x.shape}")
        H, W = _output_size((OH, OW), *parameters)
        flat = indices.reshape(N, C, OH * OW)
        if flat.size and not (flat.min() >= 0 and flat.max() < H * W):
            raise IndexError(f"found an index outside the {H} x {W} output: {flat.min()} to {flat.max()}")
        out = arrays.zeros((N, C, H * W), x.dtype)
        np.put_along_axis(out, flat, x.reshape(flat.shape), axis=2)
        ctx.save(flat)
        ctx.shape, ctx.positions = x.shape, H * W
        return out.reshape(*x.shape[:-2], H, W)

    @staticmethod
    def backward(ctx, grad_out):
        (flat,) = ctx.saved
        gathered = np.take_along_axis(grad_out.reshape(*flat.shape[:2], ctx.positions), flat, axis=2)
        return gathered.reshape(ctx.shape), None, None


def _output_size(size, kernel_size, stride, padding, output_size):
    kernel = parameters.kernel_size(kernel_size)
    strides = kernel if stride is None else parameters.stride(stride)
    pads = parameters.pool_padding(padding, kernel)
    default = [(o - 1) * s - sum(p) + k for o, s, p, k in zip(size, strides, pads, kernel, strict=True)]
    if output_size is None:
        chosen = default
    else:
        chosen = [parameters.positive_int("output_size", item) for item in tuple(output_size)[-2:]]
        for given, expected, s in zip(chosen, default, strides, strict=True):
            if not expected - s < given < expected + s:
                raise ValueError(f"output_size {tuple(chosen)} must lie within one stride of {tuple(default)}")
    if min(chosen) < 1 or math.prod(chosen) < 1:
        raise ShapeError(f"output size {tuple(chosen)} is too small")
    return chosen
