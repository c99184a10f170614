"""Two-dimensional max-pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv._kernels.contract import offsets_dtype
from fastconv.autograd import Function, unwrap
from fastconv.functional import passes
from fastconv.functional.calls import Call, Calls
from fastconv.functional.relu import checked_activation, rectified_gradient
from fastconv.geometry import Pool2dGeometry, batched_shape
from fastconv.parameters import flag

_WITH_OFFSETS = frozenset({"offsets"})


def max_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    *,
    ceil_mode=False,
    return_indices=False,
    activation: str | None = None,
    backend: str | None = None,
):
    """Take the largest input under each window; ``stride`` defaults to ``kernel_size``.

    out[n, c, oh, ow] = max over (kh, kw) of x[n, c, oh·sH − pH + kh·dH, ow·sW − pW + kw·dW], padding excluded.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW), with
    OH = floor((H + 2·pH − dH·(kH − 1) − 1) / sH) + 1, rounded up with ``ceil_mode`` as long as the window starts inside
    the input or its low padding. ``return_indices`` adds the int64 positions of the winners in the flattened (H, W)
    plane. NaN wins (the last one); of equal values the first wins. ``activation="relu"`` rectifies the result: as max
    and rectifier commute, those are the values of the pooled rectified input (but for the sign of a zero), for less
    memory and time; the positions stay those of the largest inputs.

    Raises ShapeError, ValueError, TypeError or DTypeError naming the argument; BackendUnavailableError for ``backend``.

    >>> import numpy as np
    >>> max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """
    # Lists: the tape looks for Tensors in tuples, and would hand on a copy of one, which no call is known by.
    parameters = [kernel_size, stride, padding, dilation, ceil_mode]
    wants = flag("return_indices", return_indices)
    return MaxPool2d.apply(x, [max_pool2d.__name__, _geometry, parameters, wants, activation, backend])


class MaxPool2d(Function):
    """Keeps the offset of each winner inside its window: one byte per output for windows of up to 256 taps.

    Of what is rectified it keeps the output, too, which the next operation most often keeps anyway.
    """

    @staticmethod
    def forward(ctx, x, settings):
        """``make(x_shape, *parameters)`` is the geometry of the operation that users called."""
        operation, make, parameters, return_indices, activation, backend = settings
        x = arrays.as_array(x, "input", anywhere=True)
        is_on_host = type(x) is np.ndarray
        key = (operation, x.shape, x.dtype, is_on_host, *map(id, parameters))
        call = _known.get(key)
        if call is None:
            call = _checked(is_on_host, x, operation, make, *unwrap(tuple(parameters)))
            _known.keep(key, parameters, call)
        ctx.call = call
        ctx.kernels = backends.select(backend, arrays.HOST if is_on_host else arrays.device_of(x))
        x, ctx.format = arrays.dense_4d(x if call.batched else x[None])
        needs_grad = ctx.needs_input_grad[0]
        activation = checked_activation(activation)
        out, offsets = _forward(ctx, x, return_indices or needs_grad)
        if activation:
            out = passes.run(ctx.kernels, "relu_forward", out)
        if needs_grad:
            ctx.save(offsets, out if activation else None)
        if not return_indices:
            return out if call.batched else out[0]
        results = out, _flat_indices(call.geometry, offsets)
        return results if call.batched else tuple(array[0] for array in results)

    @staticmethod
    def backward(ctx, grad_out, grad_indices=None):
        offsets, rectified = ctx.saved
        call, layout = ctx.call, ctx.format
        grad_out = arrays.to_format(grad_out if call.batched else grad_out[None], layout)
        if rectified is not None:
            grad_out = rectified_gradient(ctx.kernels, grad_out, rectified)
        grad_input = arrays.empty(call.geometry.x_shape, call.dtype.storage, layout, near=grad_out)
        if call.geometry.N:
            ctx.kernels.run(call.task("max_pool2d_grad_input", (layout, layout)), grad_out, offsets, grad_input)
        return grad_input if call.batched else grad_input[0], None


_known: Calls[Call] = Calls()


def _checked(is_on_host, x, operation, make, *parameters) -> Call:
    dtype = dtypes.common_float_type(not is_on_host, input=x)
    return Call(make(batched_shape(operation, x.shape), *parameters), dtype, x.ndim == 4)


def _geometry(shape, kernel_size, stride, padding, dilation, ceil_mode) -> Pool2dGeometry:
    return Pool2dGeometry.of(shape, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)


def _forward(ctx, x, wants_offsets):
    call, layout = ctx.call, ctx.format
    out = arrays.empty(call.out_shape, call.dtype.storage, layout, near=x)
    if not wants_offsets:
        if call.geometry.N:
            ctx.kernels.run(call.task("max_pool2d_forward", (layout, layout)), x, out)
        return out, None
    offsets = arrays.empty(call.out_shape, np.dtype(offsets_dtype(call.geometry)), layout, near=x)
    if call.geometry.N:
        ctx.kernels.run(call.task("max_pool2d_forward", (layout, layout), _WITH_OFFSETS), x, out, offsets)
    return out, offsets


def _flat_indices(g: Pool2dGeometry, offsets: np.ndarray) -> np.ndarray:
    """Offsets inside windows -> positions in the flattened (H, W) plane; never outside it."""
    kh, kw = np.divmod(offsets.astype(np.int64), g.cols.kernel)
    oh, ow = (np.arange(axis.out, like=offsets) for axis in (g.rows, g.cols))
    rows, cols = g.rows.position(oh[:, None], kh), g.cols.position(ow, kw)
    return np.clip(rows, 0, g.rows.size - 1) * g.cols.size + np.clip(cols, 0, g.cols.size - 1)
