"""Networks whose weights come from a file, which also decides what their constructor was not told."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv import weights
from fastconv.errors import FormatError, ShapeError
from fastconv.files import hub
from fastconv.models import registry
from fastconv.nn import Module, init

_VARIANCE = ".running_var"
# Options that a file decides by whether it has a key with such a beginning.
_PRESENT = {"aux_logits": ("AuxLogits.", "aux1.", "aux2.")}


def located(source: str | os.PathLike) -> str | os.PathLike:
    """The path of the weights: ``source`` itself, or where those that it names on the hub were downloaded to.

    Raises TypeError and ValueError for what is neither.
    """
    if not isinstance(source, (str, bytes, os.PathLike)):
        kind = type(source).__name__
        raise TypeError(f"weights must be a path or a name on the hub, got {kind}; load_state_dict takes dictionaries")
    if hub.is_name(source, weights.suffixes()):
        return hub.fetch(str(source))
    text = os.fsdecode(source)
    if "://" in text:
        raise ValueError(f"weights must be a path or a name on the hub, got the address {text!r}; download it first")
    if not text or (text.isidentifier() and not os.path.lexists(text)):
        raise ValueError(
            f"weights must be a path or a name such as 'timm/resnet18.tv_in1k', got {text!r}; none are shipped"
        )
    return source


def load(
    build: Callable[..., Module], arguments: Sequence[Any], options: Mapping[str, Any], source: str | os.PathLike
) -> Module:
    """Build a network without drawing weights, and have it hold those of a file, or of a name on the hub.

    Where they are not given, ``num_classes`` and ``aux_logits`` follow the file, and for a file of Keras the options
    that give its graph. Raises what ``weights.load`` raises, and ShapeError for missing, unexpected and misshapen keys,
    in one report; DataUnavailableError for a name on the hub where there is no network.
    """
    path = located(source)
    state: Mapping[str, np.ndarray] = weights.load(path, writable=True)
    given = {*inspect.signature(build).bind_partial(*arguments, **options).arguments, *options}
    if weights.is_keras(path):
        return _from_keras(build, arguments, options, state, given, path)
    found = {
        option: any(name.startswith(beginnings) for name in state)
        for option, beginnings in _PRESENT.items()
        if option in inspect.signature(build).parameters and option not in given
    }
    for option, beginnings in _PRESENT.items():
        if options.get(option) is False:  # heads that nobody asks for are left where they are
            state = {name: array for name, array in state.items() if not name.startswith(beginnings)}
    return _filled(_fitting(build, arguments, {**options, **found}, state, given, path), state, path)


def _from_keras(build, arguments, options, arrays, given, path) -> Module:
    from fastconv.models.from_keras import conversion

    convert = conversion(build.__name__)
    asked = {name: value for name, value in convert.options_for(arrays).items() if name not in given}
    keys = list(_decided(build, arguments, options, asked, path).state_dict())
    state = convert.translate(arrays, keys)
    model = _fitting(build, arguments, {**options, **asked}, state, given, path)
    head = [name for name in keys if name.startswith(f"{convert.head}.")]
    if any(name in state for name in head):
        return _filled(model, state, path)
    targets = model.state_dict()
    state |= {name: np.empty(targets[name].shape, targets[name].dtype) for name in head}
    model = _filled(model, state, path)
    _draw(getattr(model, convert.head).modules())
    return model


def _undrawn(build, arguments, options) -> Module:
    with init.skipped():
        return registry.built(build, arguments, options)


def _decided(build, arguments, options, decided, path) -> Module:
    """The network with options that its file decides, which is at fault where they alone are refused."""
    try:
        return _undrawn(build, arguments, {**options, **decided})
    except ValueError as error:
        _undrawn(build, arguments, options)
        raise FormatError(f"{os.fsdecode(path)}: {error}") from error


def _fitting(build, arguments, options, state, given, path) -> Module:
    """The network, with as many classes as the last layer of the file has, unless that was said."""
    model = _undrawn(build, arguments, options)
    *_, (name, bias) = model.named_parameters()
    rows = state[name].shape[:1] if name in state else bias.shape
    if "num_classes" in given or rows == bias.shape or not rows:
        return model
    return _decided(build, arguments, options, {"num_classes": rows[0]}, path)


def _filled(model: Module, state: Mapping[str, np.ndarray], path) -> Module:
    state = _counted(state)
    try:
        model.load_state_dict(state, assign=True)
    except ShapeError as error:
        raise ShapeError(f"{os.fsdecode(path)}: {error}") from error
    return model


def _counted(state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The state with counts of batches, which Keras and old files of PyTorch lack."""
    modules = (name.removesuffix(_VARIANCE) for name in state if name.endswith(_VARIANCE))
    return {f"{module}.num_batches_tracked": np.zeros((), np.int64) for module in modules} | dict(state)


def _draw(modules: Iterable[Module]) -> None:
    """Give layers that the file lacks what they start from."""
    for module in modules:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
