"""What users may write for kernel_size, stride, padding, dilation and the like, expanded to one form."""

import math
import operator

from fastconv.errors import ShapeError

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
LARGEST = 2**31 - 1


def integer(name: str, value) -> int:
    """An int from anything that is one by nature; raises TypeError for bool, float, str and the rest."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r} of type {type(value).__name__}") from None


def number(name: str, value) -> float:
    """A float; raises TypeError for what is no real number."""
    if isinstance(value, (str, bool)) or not hasattr(value, "__float__") or hasattr(value, "__len__"):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def finite(name: str, value) -> float:
    """A float that is neither infinite nor NaN; raises ValueError."""
    result = number(name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}")
    return result


def eps(value) -> float:
    """What is added to a variance: finite, not below zero."""
    result = finite("eps", value)
    if result < 0:
        raise ValueError(f"eps must not be negative, got {result}")
    return result


def flag(name: str, value) -> bool:
    """A bool; raises TypeError for what only looks like one."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


def positive_int(name: str, value) -> int:
    """An int of at least 1; raises ValueError with the number received."""
    number = integer(name, value)
    if number < 1:
        raise ValueError(f"{name} must be a positive int, got {number}")
    return _bounded(name, number, value)


def kernel_size(value) -> Pair:
    """(kH, kW), both positive."""
    pair = _pair("kernel_size", value)
    if min(pair) < 1:
        raise ValueError(f"kernel_size must be 2 positive ints, got {value!r}")
    _bounded("kernel_size", pair[0] * pair[1], value)
    return pair


def input_size(value) -> Pair:
    """(H, W) of the inputs of a layer, both positive; raises ValueError."""
    pair = _pair("input_size", value)
    if min(pair) < 1:
        raise ValueError(f"input_size must be 2 positive ints, got {value!r}")
    return pair


def stride(value) -> Pair:
    """(sH, sW), both positive; raises ShapeError in torch's words."""
    pair = _pair("stride", value)
    if min(pair) < 1:
        raise ShapeError(f"non-positive stride is not supported, got stride={value!r}")
    return pair


def dilation(value) -> Pair:
    """(dH, dW), both positive, 1 meaning dense; raises ShapeError in torch's words."""
    pair = _pair("dilation", value)
    if min(pair) < 1:
        raise ShapeError(f"dilation should be greater than zero, got dilation={value!r}")
    return pair


def output_size(value) -> tuple[int | None, int | None]:
    """(OH, OW) of an adaptive pooling, both positive; None stands for the size of the input."""
    if not _sequence(value):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"output_size must be an int, None or 2 of them, got {value!r}")
    first, second = (None if item is None else positive_int("output_size", item) for item in value)
    return first, second


def output_padding(value, stride: Pair, dilation: Pair) -> Pair:
    """(oH, oW) of a transposed convolution, each below the stride or the dilation; raises ValueError."""
    pair = _pair("output_padding", value)
    if any(not 0 <= o < max(s, d) for o, s, d in zip(pair, stride, dilation, strict=True)):
        raise ValueError(
            f"output padding must be smaller than either stride or dilation, and not negative, got "
            f"output_padding={value!r} with stride={stride} and dilation={dilation}"
        )
    return pair


def padding_mode(value) -> str:
    """One of PADDING_MODES."""
    if value not in PADDING_MODES:
        raise ValueError(f"padding_mode must be one of {', '.join(PADDING_MODES)}, got {value!r}")
    return value


def conv_padding(value, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """((top, bottom), (left, right)) from an int, a pair, explicit pads, "valid" or "same".

    "same" pads d*(k - 1) in all, the odd one at the end, so that at stride 1 the size stays.
    """
    if not isinstance(value, str):
        return _pads(value)
    if value == "valid":
        return (0, 0), (0, 0)
    if value != "same":
        raise ValueError(f"padding must be 'same', 'valid', an int, a pair or explicit pads, got {value!r}")
    if stride != (1, 1):
        raise ValueError(
            f"padding='same' is not supported for strided convolutions, got stride={stride}; "
            "give the pads explicitly as padding=((top, bottom), (left, right))"
        )
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    top_bottom, left_right = ((total // 2, total - total // 2) for total in totals)
    return top_bottom, left_right


def pool_padding(value, kernel: Pair) -> Pads:
    """((top, bottom), (left, right)), at most half of the kernel; raises ShapeError in torch's words."""
    if isinstance(value, str):
        raise TypeError(f"padding of a pooling must be an int, a pair or explicit pads, got {value!r}")
    pads = _pads(value)
    for pair, k in zip(pads, kernel, strict=True):
        if max(pair) > k // 2:
            raise ShapeError(
                "pad should be smaller than or equal to half of kernel size, "
                f"but got pad={max(pair)}, kernel_size={k} in padding={value!r}"
            )
    return pads


def explicit_padding(value) -> Pads:
    """((top, bottom), (left, right)) from an int, a pair or explicit pads."""
    if isinstance(value, str):
        raise TypeError(f"padding of a transposed convolution must be an int, a pair or explicit pads, got {value!r}")
    return _pads(value)


def pad_ends(value) -> tuple[int, ...]:
    """(left, right, top, bottom, ...) of some axes, the last first; negative numbers cut. Raises ValueError."""
    if not _sequence(value) or len(value) % 2:
        raise ValueError(f"pad must be an even number of ints, 2 for each axis, got {value!r}")
    return tuple(_bounded("pad", integer("pad", item), value) for item in value)


def _bounded(name, number, value):
    if number > LARGEST:
        raise ValueError(f"{name} is too large: {value!r} is above {LARGEST}")
    return number


def _sequence(value):
    return isinstance(value, (tuple, list)) or (hasattr(value, "__array__") and hasattr(value, "__len__") > 0)


def _pair(name, value) -> Pair:
    if _sequence(value):
        if len(value) != 2:
            raise ValueError(f"{name} must be an int or 2 ints, got {value!r}")
        first, second = (_bounded(name, integer(name, item), value) for item in value)
        return first, second
    number = _bounded(name, integer(name, value), value)
    return number, number


def _pads(value) -> Pads:
    if _sequence(value) and len(value) == 4:
        raise ValueError(
            f"padding={value!r} is ambiguous (frameworks disagree on the order of four numbers); "
            "write padding=((top, bottom), (left, right))"
        )
    if _sequence(value) and len(value) == 2 and all(_sequence(item) for item in value):
        pads = _pair("padding", value[0]), _pair("padding", value[1])
    else:
        vertical, horizontal = _pair("padding", value)
        pads = (vertical, vertical), (horizontal, horizontal)
    if min(map(min, pads)) < 0:
        raise ShapeError(f"negative padding is not supported, got padding={value!r}")
    return pads
