"""Initial values: fill a Tensor in place with constants or with numbers from the process's generator.

All functions return the Tensor, count as one write, and raise TypeError for what is no Tensor. Inside ``skipped()``
they write nothing. The distributions are those of X. Glorot and Y. Bengio (2010) and of K. He et al. (2015).
"""

from __future__ import annotations

import math
from contextvars import ContextVar

import numpy as np

from fastconv import rng
from fastconv.autograd import Tensor, no_grad
from fastconv.scopes import Scope

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 0.75,
}


_skips: ContextVar[bool] = ContextVar("fastconv_init_skips", default=False)


def skipped() -> Scope:
    """Within this context layers are built without drawing values or holding memory for them.

    Such a model cannot compute until ``load_state_dict(state, assign=True)`` has given it all its weights.

    >>> from fastconv import nn
    >>> with skipped():
    ...     layer = nn.Linear(2, 2)
    >>> layer.load_state_dict({"weight": np.eye(2), "bias": np.zeros(2)}, assign=True)
    <All keys matched successfully>
    """
    return Scope(_skips, True)


def is_skipped() -> bool:
    """Whether the values of new parameters are about to come from elsewhere."""
    return _skips.get()


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b).

    >>> import fastconv as fc
    >>> bool((uniform_(fc.tensor([0.0] * 9), 2, 3).numpy() >= 2).all())
    True
    """
    if not b >= a:
        raise ValueError(f"uniform_ expects a <= b, got a={a} and b={b}")
    if is_skipped():
        return _checked(tensor)
    values = rng.generator().random(_checked(tensor).shape, dtype=_drawn(tensor))
    values *= b - a
    values += a
    return _write(tensor, values)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std²)."""
    if not std >= 0:
        raise ValueError(f"normal_ expects std >= 0, got {std}")
    if is_skipped():
        return _checked(tensor)
    values = rng.generator().standard_normal(_checked(tensor).shape, dtype=_drawn(tensor))
    values *= std
    values += mean
    return _write(tensor, values)


def constant_(tensor: Tensor, value: float) -> Tensor:
    """The same value everywhere."""
    return _checked(tensor) if is_skipped() else _write(_checked(tensor), value)


def zeros_(tensor: Tensor) -> Tensor:
    """Zero everywhere."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """One everywhere."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """U(−s, s) with s = gain · √(6 / (fan_in + fan_out)), after Glorot and Bengio."""
    bound = gain * math.sqrt(6.0 / sum(fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound)


def kaiming_uniform_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """U(−s, s) with s = gain · √(3 / fan), after He et al.; ``a`` is the slope of a leaky rectifier.

    Raises ValueError for an unknown ``mode`` or ``nonlinearity`` and for Tensors of fewer than two axes.
    """
    bound = math.sqrt(3.0) * _kaiming_deviation(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Tensor:
    """N(0, gain² / fan), after He et al.; arguments and errors are those of ``kaiming_uniform_``."""
    return normal_(tensor, 0.0, _kaiming_deviation(tensor, a, mode, nonlinearity))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance through a nonlinearity; ``param`` is the slope of ``leaky_relu``."""
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"nonlinearity must be one of leaky_relu, {', '.join(_GAINS)}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs per unit: (C_g · kH · kW, K · kH · kW) of a weight (K, C_g, kH, kW)."""
    shape = _checked(tensor).shape
    if len(shape) < 2:
        raise ValueError(f"fan in and fan out need a Tensor of at least 2 axes, got shape {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def default_(weight: Tensor, bias: Tensor | None) -> None:
    """What Conv2d and Linear start from: weight and bias both U(−1/√fan_in, 1/√fan_in)."""
    kaiming_uniform_(weight, a=math.sqrt(5.0))
    if bias is not None:
        bound = 1.0 / math.sqrt(fan_in_and_fan_out(weight)[0])
        uniform_(bias, -bound, bound)


def _kaiming_deviation(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), fan_in_and_fan_out(tensor), strict=True))
    if mode not in fans:
        raise ValueError(f"mode must be one of {', '.join(fans)}, got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode])


def _checked(tensor) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"expected a Tensor to fill, got {type(tensor).__name__}")
    return tensor


def _drawn(tensor: Tensor):
    return np.float32 if tensor.dtype == np.float32 else np.float64


def _write(tensor: Tensor, values) -> Tensor:
    with no_grad():
        return tensor.copy_(values)
