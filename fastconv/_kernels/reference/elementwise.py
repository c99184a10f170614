"""Elementwise passes, and the steps of optimisers, in plain NumPy."""

from __future__ import annotations

import numpy as np

from fastconv._kernels.contract import (
    ADAM_SETTINGS,
    DROPOUT_SETTINGS,
    MIX_FIRST,
    MIX_HIGH,
    MIX_SECOND,
    OK,
    SGD_SETTINGS,
    Kernel,
    Variant,
)

_WORD = np.uint64(0xFFFFFFFF)


def relu_forward(x, out):
    """max(x, 0), with NaN -> NaN and -0.0 -> -0.0."""
    out[...] = np.where(x < 0, 0, x)
    return OK


def relu_grad_input(grad_out, out, grad_input):
    """The gradient where the output is not zero."""
    grad_input[...] = np.where(out == 0, 0, grad_out)
    return OK


def add_relu_forward(x, residual, out):
    """max(x + residual, 0)."""
    return relu_forward(x + residual, out)


def hardtanh_forward(x, settings, out):
    """Values between two ends, with NaN -> NaN and -0.0 -> -0.0 where an end is zero."""
    low, high = settings.astype(x.dtype)
    least = np.where(x < low, low, x)
    out[...] = np.where(least > high, high, least)
    return OK


def hardtanh_grad_input(grad_out, out, settings, grad_input):
    """The gradient where the output is between the ends."""
    low, high = settings.astype(out.dtype)
    grad_input[...] = np.where((out > low) & (out < high), grad_out, 0)
    return OK


def accumulate(addend, total):
    """total += addend."""
    total += addend
    return OK


def dropout(x, settings, out):
    """x * scale where a hash of the position in C order is not below the threshold, else zero."""
    s = dict(zip(DROPOUT_SETTINGS, settings.tolist(), strict=True))
    position = np.arange(x.size, dtype=np.uint64)
    low, high = position & _WORD, position >> np.uint64(32)
    mixed = _mixed(low ^ np.uint64(s["seed_low"]))
    mixed = _mixed((mixed + np.uint64(s["seed_high"]) + np.uint64(MIX_HIGH) * high) & _WORD)
    stays = (mixed >= np.uint64(s["threshold"])).reshape(x.shape)
    out[...] = np.where(stays, x * x.dtype.type(s["scale"]), 0)
    return OK


def _mixed(h):
    """32 bits in, 32 bits out; in 64 bits nothing overflows."""
    h = h ^ h >> np.uint64(16)
    h = h * np.uint64(MIX_FIRST) & _WORD
    h = h ^ h >> np.uint64(15)
    h = h * np.uint64(MIX_SECOND) & _WORD
    return h ^ h >> np.uint64(16)


def _prepare_part(problem):
    g = problem.geometry

    def copy_part(x, out):
        out[:, g.offset : g.offset + g.width] = x
        return OK

    return Kernel("direct", copy_part)


def sgd_step(grad, settings, parameter, momentum_buffer=None):
    """One step of stochastic gradient descent, in place."""
    s = dict(zip(SGD_SETTINGS, settings.astype(grad.dtype), strict=True))
    direction = _decayed(grad, parameter, s)
    if momentum_buffer is not None:
        if s["begins"]:
            momentum_buffer[...] = direction
        else:
            momentum_buffer[...] = momentum_buffer * s["momentum"] + s["share"] * direction
        direction = direction + s["momentum"] * momentum_buffer if s["nesterov"] else momentum_buffer
    parameter -= s["lr"] * direction
    return OK


def adam_step(grad, settings, parameter, exp_avg, exp_avg_sq, max_exp_avg_sq=None):
    """One step of Adam, in place."""
    s = dict(zip(ADAM_SETTINGS, settings.astype(grad.dtype), strict=True))
    if s["shrink"] != 1:
        parameter *= s["shrink"]
    direction = _decayed(grad, parameter, s)
    exp_avg += s["share"] * (direction - exp_avg)
    exp_avg_sq[...] = exp_avg_sq * s["keep_square"] + s["share_square"] * (direction * direction)
    square = exp_avg_sq
    if max_exp_avg_sq is not None:
        square = np.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    parameter -= s["step_size"] * (exp_avg / (np.sqrt(square) / s["root"] + s["eps"]))
    return OK


def _decayed(grad, parameter, s):
    """Without decay an infinite parameter must not make NaN."""
    return grad + s["weight_decay"] * parameter if s["weight_decay"] else grad


def _table(function):
    return (Variant("direct", lambda problem: Kernel("direct", function)),)


VARIANTS = {
    "relu_forward": _table(relu_forward),
    "relu_grad_input": _table(relu_grad_input),
    "add_relu_forward": _table(add_relu_forward),
    "hardtanh_forward": _table(hardtanh_forward),
    "hardtanh_grad_input": _table(hardtanh_grad_input),
    "dropout": _table(dropout),
    "copy_part": (Variant("direct", _prepare_part),),
    "accumulate_": _table(accumulate),
    "sgd_step_": _table(sgd_step),
    "adam_step_": _table(adam_step),
}
