"""Two-dimensional average-pooling and its gradient."""

from __future__ import annotations

import numpy as np

from fastconv import arrays, backends, dtypes
from fastconv.autograd import Function, unwrap
from fastconv.dtypes import FloatType
from fastconv.functional.calls import Call, Calls
from fastconv.geometry import Pool2dGeometry, batched_shape
from fastconv.parameters import flag, positive_int


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
    *,
    backend: str | None = None,
):
    """Average the inputs under each window; ``stride`` defaults to ``kernel_size``.

    out[n, c, oh, ow] = Σ x[n, c, oh·sH − pH + kh, ow·sW − pW + kw] / count, where the count includes padding unless
    ``count_include_pad`` is False, and is ``divisor_override`` where that is given.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)[0, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    divisor = None if divisor_override is None else positive_int("divisor_override", divisor_override)
    counting = (flag("count_include_pad", count_include_pad), divisor)
    # Lists: the tape looks for Tensors in tuples, and would hand on a copy of one, which no call is known by.
    parameters = [kernel_size, stride, padding, ceil_mode]
    return AvgPool2d.apply(x, [avg_pool2d.__name__, _geometry, parameters, counting, backend])


class AvgPool2d(Function):
    """Needs no saved array: the gradient depends on the geometry alone."""

    @staticmethod
    def forward(ctx, x, settings):
        """``make(x_shape, *parameters)`` is the geometry of the operation that users called."""
        operation, make, parameters, counting, backend = settings
        x = arrays.as_array(x, "input", anywhere=True)
        key = (operation, x.shape, x.dtype, counting, *map(id, parameters))
        call = _known.get(key)
        if call is None:
            call = _checked(x, operation, make, counting, *unwrap(tuple(parameters)))
            _known.keep(key, parameters, call)
        ctx.call = call
        ctx.kernels = backends.select(backend, arrays.device_of(x))
        x, ctx.format = arrays.dense_4d(x if call.batched else x[None])
        out = arrays.empty(call.out_shape, call.dtype.storage, ctx.format, near=x)
        if call.geometry.N:
            ctx.kernels.run(call.task("avg_pool2d_forward", (ctx.format,) * 2), x, *call.counts_near(x), out)
        return out if call.batched else out[0]

    @staticmethod
    def backward(ctx, grad_out):
        call, layout = ctx.call, ctx.format
        grad_out = arrays.to_format(grad_out if call.batched else grad_out[None], layout)
        grad_input = arrays.empty(call.geometry.x_shape, call.dtype.storage, layout, near=grad_out)
        if call.geometry.N:
            task = call.task("avg_pool2d_grad_input", (layout, layout))
            ctx.kernels.run(task, grad_out, *call.counts_near(grad_out), grad_input)
        return grad_input if call.batched else grad_input[0], None


class _AverageCall(Call):
    """Has what each output is divided by, as factors of its row and of its column."""

    __slots__ = ("counts",)

    def __init__(
        self, geometry: Pool2dGeometry, dtype: FloatType, batched: bool, include_pad: bool, divisor: int | None
    ):
        super().__init__(geometry, dtype, batched)
        factors = [
            [axis.count(output, include_pad) for output in range(axis.out)] for axis in (geometry.rows, geometry.cols)
        ]
        if divisor is not None:
            factors = [[divisor] * geometry.rows.out, [1] * geometry.cols.out]
        self.counts = [np.array(axis, dtype.storage) for axis in factors]

    def counts_near(self, array: np.ndarray) -> list[np.ndarray]:
        """The same on the device of an array; each copy is queued before what reads it, and nothing waits."""
        return self.counts if type(array) is np.ndarray else [np.asarray(axis, like=array) for axis in self.counts]


_known: Calls[_AverageCall] = Calls()


def _checked(x, operation, make, counting, *parameters) -> _AverageCall:
    dtype = dtypes.common_float_type(input=x)
    return _AverageCall(make(batched_shape(operation, x.shape), *parameters), dtype, x.ndim == 4, *counting)


def _geometry(shape, kernel_size, stride, padding, ceil_mode) -> Pool2dGeometry:
    return Pool2dGeometry.of(shape, kernel_size, stride, padding, ceil_mode=ceil_mode)
