"""Batch normalisation, with what may follow it in the same pass: a sum and a rectifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastconv import arrays, backends, device_arrays, dtypes, parameters
from fastconv._kernels.contract import NORM_COEFFICIENTS, NORM_SUMS
from fastconv.autograd import Function, Tensor, unwrap
from fastconv.errors import ShapeError
from fastconv.functional.calls import Call, Calls
from fastconv.functional.relu import checked_activation, checked_residual, rectified_gradient
from fastconv.geometry import ChannelsGeometry

_WIDE = np.dtype(np.float64)
_known: Calls[Call] = Calls()


def batch_norm(
    x,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    *,
    residual=None,
    activation: str | None = None,
    backend: str | None = None,
):
    """(x − mean) / √(var + eps) · weight + bias, channel by channel (S. Ioffe and C. Szegedy 2015).

    While ``training``, mean and variance are those of the batch, and ``running_mean`` and ``running_var`` (Tensors or
    arrays, or both None) move towards them in place: r ← (1 − momentum)·r + momentum·batch, the variance unbiased.
    Of a channel with an infinite value the mean is infinite and the variance NaN. Otherwise they are the running ones.
    ``residual`` is added to the result, and ``activation="relu"`` rectifies it, both in the same pass.

    Shapes: (N, C), (N, C, L) or (N, C, H, W), per channel (C,) -> that of x. Raises ShapeError, DTypeError, TypeError,
    and ValueError where a batch has a single value per channel, nothing says what mean and variance are, or
    ``momentum`` or ``eps`` is not finite, ``eps`` below zero or, in training, zero.

    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> batch_norm(x, None, None, training=True, eps=1e-12).round(6).tolist()
    [[-1.0], [1.0]]
    """
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must be given both or neither")
    if not parameters.flag("training", training) and running_mean is None:
        raise ValueError("running_mean and running_var must be given where training is False")
    # A list: the tape looks for Tensors in tuples, and would hand on arrays, whose writes it could not see.
    numbers = parameters.finite("momentum", momentum), _eps(eps, training)
    options = [running_mean, running_var, training, *numbers, checked_activation(activation)]
    return BatchNorm.apply(x, weight, bias, residual, options, backend)


@dataclass(frozen=True, slots=True)
class _Statistics:
    """Mean and variance of every channel, and what normalises: scale = weight / √(var + eps)."""

    mean: np.ndarray
    inverse_deviation: np.ndarray
    scale: np.ndarray
    of_batch: bool


class BatchNorm(Function):
    """Keeps x and what every channel was normalised with; the output where only it tells what was rectified."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, options, backend):
        x = arrays.as_array(x, "input", anywhere=True)
        *running, training, momentum, eps, ctx.activation = options
        running_mean, running_var = map(_adopted, running)
        ctx.call = _call_of(x)
        g, ctx.dtype = ctx.call.geometry, ctx.call.dtype
        weight, bias = (_per_channel(item, name) for item, name in ((weight, "weight"), (bias, "bias")))
        _check(x, g, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
        moves = [item for item in (running_mean, running_var) if training and g.N and item is not None]
        _check_moving(moves)
        residual = None if residual is None else checked_residual(residual, x, ctx.dtype.storage)
        ctx.shape, ctx.kernels = x.shape, backends.select(backend, arrays.device_of(x))
        x, ctx.format = arrays.dense_4d(arrays.dense_any(x)[0].reshape(g.x_shape))
        residual = None if residual is None else arrays.to_format(residual.reshape(g.x_shape), ctx.format)
        mean, variance = _moments(ctx, x, training, running_mean, running_var)
        inverse = 1 / np.sqrt(variance + eps)
        scale = inverse if weight is None else weight * inverse
        ctx.statistics = _Statistics(mean, inverse, scale, training)
        ctx.coefficients = _coefficients(mean, scale, bias, x)
        out = arrays.empty(g.x_shape, x.dtype, ctx.format, near=x)
        if out.size:
            added = () if residual is None else (residual,)
            task = _task(ctx, "batch_norm_forward", 2 + len(added), *(["residual"] if added else []))
            ctx.kernels.run(task, x, ctx.coefficients, *added, out)
        for running, of_batch in zip(moves, (mean, variance * (g.count / max(1, g.count - 1))), strict=False):
            _move(running, of_batch, momentum)
        ctx.masked_by_output = ctx.activation and (residual is not None or not training)
        out = out.reshape(ctx.shape)
        ctx.save(x, out if ctx.masked_by_output else None)
        return out

    @staticmethod
    def backward(ctx, grad_out):
        x, out = ctx.saved
        g = ctx.call.geometry
        if ctx.masked_by_output:
            grad_out = rectified_gradient(ctx.kernels, grad_out, out)
        grad_residual = grad_out if ctx.needs_input_grad[3] else None
        grad_out = arrays.to_format(grad_out.reshape(g.x_shape), ctx.format)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        of_batch = ctx.statistics.of_batch
        sums = arrays.zeros((len(NORM_SUMS), g.C), _WIDE, near=x)
        if g.N and (needs_weight or needs_bias or of_batch):
            task = _task(ctx, "batch_norm_grad_sums", 2, masks=not ctx.masked_by_output)
            ctx.kernels.run(task, grad_out, x, ctx.coefficients, sums)
        # The kernel's distances are from the rounded mean.
        sums[1] += (ctx.coefficients[0] - ctx.statistics.mean) * sums[0]
        grad_input = _grad_input(ctx, grad_out, x, sums).reshape(ctx.shape) if needs_x else None
        grad_weight = (sums[1] * ctx.statistics.inverse_deviation).astype(grad_out.dtype) if needs_weight else None
        grad_bias = sums[0].astype(grad_out.dtype) if needs_bias else None
        return grad_input, grad_weight, grad_bias, grad_residual, None, None


def _grad_input(ctx, grad_out, x, sums):
    g, s = ctx.call.geometry, ctx.statistics
    grad_input = arrays.empty(g.x_shape, grad_out.dtype, ctx.format, near=x)
    if not g.N:
        return grad_input
    if not s.of_batch:
        task = _task(ctx, "batch_norm_grad_input", 2, masks=False)
        ctx.kernels.run(task, grad_out, ctx.coefficients, grad_input)
        return grad_input
    # A copy: several threads may walk over one retained tape.
    coefficients = ctx.coefficients.copy()
    slope = s.scale * s.inverse_deviation**2 * sums[1] / g.count
    offset = s.scale * sums[0] / g.count + (coefficients[0] - s.mean) * slope
    for name, row in (("offset", offset), ("slope", slope)):
        coefficients[NORM_COEFFICIENTS.index(name)] = row
    task = _task(ctx, "batch_norm_grad_input", 3, "x", masks=not ctx.masked_by_output)
    ctx.kernels.run(task, grad_out, x, coefficients, grad_input)
    return grad_input


def _call_of(x):
    key = (x.shape, x.dtype)
    call = _known.get(key)
    if call is None:
        call = Call(ChannelsGeometry.of(x.shape), dtypes.common_float_type(input=x), True)
        _known.keep(key, [], call)
    return call


def _coefficients(mean, scale, bias, x):
    """Rows of contract.NORM_COEFFICIENTS; what rounding the mean takes away, the shift gives back."""
    rows = arrays.zeros((len(NORM_COEFFICIENTS), len(mean)), x.dtype, near=x)
    rows[0], rows[1] = mean, scale
    rows[2] = (0 if bias is None else bias) + (rows[0] - mean) * scale
    return rows


def _task(ctx, op, arrays_of_activations, *present, masks=True):
    activation = ctx.activation if masks else None
    return ctx.call.task(op, (ctx.format,) * arrays_of_activations, frozenset(present), activation)


def _moments(ctx, x, training, running_mean, running_var):
    """Mean and biased variance in float64: of the batch, or the running ones."""
    g = ctx.call.geometry
    if not training:
        # Copies: the running ones may move before backward reads these.
        return (_array(item, "a running statistic").astype(_WIDE) for item in (running_mean, running_var))
    mean, variance = (arrays.zeros((g.C,), _WIDE, near=x) for _ in range(2))
    if not g.N:
        return mean, variance + 1
    if g.count < 2:
        raise ValueError(f"expected more than 1 value per channel when training, got input of shape {ctx.shape}")
    ctx.kernels.run(_task(ctx, "batch_norm_statistics", 1, masks=False), x, mean, variance)
    return mean, variance


def _move(running, batch, momentum):
    """running ← (1 − momentum)·running + momentum·batch, in place."""
    array = unwrap(running)
    array[...] = (1 - momentum) * _array(array, "a running statistic").astype(_WIDE) + momentum * batch
    if isinstance(running, Tensor):
        running.bump_version()


def _eps(value, training):
    eps = parameters.eps(value)
    if training and eps == 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    return eps


def _per_channel(item, name):
    return None if item is None else _array(item, name)


def _adopted(running):
    """A running statistic whose memory can be written: of a GPU as the library has it that computes there."""
    is_known = running is None or isinstance(running, (np.ndarray, Tensor))
    return running if is_known or not device_arrays.is_on_device(running) else device_arrays.adopted(running)


def _array(item, name):
    return arrays.as_array(unwrap(item), name, anywhere=True)


def _check_moving(running):
    """Statistics that cannot be written are refused before anything is computed."""
    for item in running:
        array = unwrap(item)
        if not arrays.is_writeable(array) or (isinstance(item, Tensor) and item.requires_grad):
            raise ValueError("running_mean and running_var must be writeable and must not require gradients")


def _check(x, g, **per_channel):
    for name, item in per_channel.items():
        if item is None:
            continue
        if not (isinstance(item, (np.ndarray, Tensor)) or device_arrays.is_on_device(item)):
            raise TypeError(f"{name} must be an array or a Tensor, got {type(item).__name__}")
        if item.shape != (g.C,):
            expected = f"({g.C},), one value per channel of input {x.shape}"
            raise ShapeError(f"{name} must have shape {expected}, got {item.shape}")
        array = _array(item, name)
        if array.dtype != x.dtype:
            dtypes.common_float_type(input=x, **{name: array})
        arrays.common_device(input=x, **{name: array})
