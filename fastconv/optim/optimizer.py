"""What all optimisers share: groups of parameters, the step over them, saving and loading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastconv import arrays, device_arrays, dtypes, parameters
from fastconv.autograd import Tensor, unwrap
from fastconv.errors import DTypeError, ShapeError


class Optimizer:
    """The base: groups of parameters with their hyperparameters, and what is remembered of each parameter.

    Subclasses name the arrays that they remember in ``slots``, the integers in ``counters``, and define ``_check`` and
    ``_update``. Raises TypeError or ValueError for parameters that cannot be optimised and for hyperparameters out of
    range.
    """

    slots: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()

    def __init__(self, params: Iterable, **defaults: Any):
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of Tensors or of dicts, got a single Tensor")
        given = _listed(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimise more parameters: ``{"params": ..., "lr": ...}``; what is left out has the default."""
        tensors = [group["params"]] if isinstance(group["params"], Tensor) else _listed(group["params"])
        known = {id(tensor) for other in self.param_groups for tensor in other["params"]}
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(tensor).__name__}"
                )
            if not tensor.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if id(tensor) in known:
                raise ValueError("some parameters appear more than once")
            known.add(id(tensor))
        complete = {**self.defaults, **group, "params": tensors}
        self._check(complete)
        self.param_groups.append(complete)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for tensor in self._tensors():
            if set_to_none:
                tensor.grad = None
            elif tensor.grad is not None:
                tensor.grad.zero_()

    def step(self) -> None:
        """Change every parameter that has a gradient.

        Raises ShapeError, DTypeError or ValueError, before any change, where a gradient or what is kept of a parameter
        does not fit it.
        """
        for tensor in self._tensors():
            if tensor.grad is not None:
                self._check_step(tensor)
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    try:
                        with device_arrays.beside(unwrap(tensor)):
                            self._update(unwrap(tensor), unwrap(tensor.grad), self.state.setdefault(tensor, {}), group)
                    finally:  # an interrupted update, too, may have changed values
                        tensor.bump_version()

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything, in NumPy's arrays, numbers and lists; parameters are known by their position."""
        positions = {id(tensor): position for position, tensor in enumerate(self._tensors())}
        groups = [
            {**group, "params": [positions[id(tensor)] for tensor in group["params"]]} for group in self.param_groups
        ]
        state = {
            positions[id(tensor)]: {name: _saved(item) if name in self.slots else item for name, item in kept.items()}
            for tensor, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` gave; ValueError or TypeError, and no change, if it is something else."""
        tensors = list(self._tensors())
        try:
            saved = [dict(group) for group in state_dict["param_groups"]]
            sizes = [len(group.pop("params")) for group in saved]
            kept = {int(position): dict(items) for position, items in state_dict["state"].items()}
        except (KeyError, AttributeError) as error:
            raise ValueError(f"not the state of an optimizer: {error!r}") from error
        if sizes != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the saved parameter groups differ from the optimizer's in number or size")
        groups = [{**group, "params": own["params"]} for group, own in zip(saved, self.param_groups, strict=True)]
        for group in groups:
            if lacking := [name for name in self.defaults if name not in group]:
                raise ValueError(f"not the state of a {type(self).__name__}: a parameter group lacks {lacking}")
            self._check(group)
        if strangers := [position for position in kept if not 0 <= position < len(tensors)]:
            raise ValueError(f"there are {len(tensors)} parameters, the state is about number {strangers[0]}")
        state = {tensors[position]: self._restored(tensors[position], items) for position, items in kept.items()}
        self.param_groups[:], self.state = groups, state

    def _restored(self, tensor: Tensor, kept: dict[str, Any]) -> dict[str, Any]:
        """What is remembered of one parameter, checked and copied."""
        restored: dict[str, Any] = {name: parameters.integer(name, kept.pop(name, None)) for name in self.counters}
        if any(count < 0 for count in restored.values()):
            raise ValueError(f"a counter is negative: {restored}")
        if strangers := [name for name in kept if name not in self.slots]:
            raise ValueError(f"a {type(self).__name__} does not remember {strangers[0]!r}")
        for name, item in kept.items():
            array = arrays.moved(arrays.as_array(item, name, anywhere=True), arrays.HOST)
            if array.shape != tensor.shape:
                raise ShapeError(f"{name} has shape {array.shape}, its parameter has shape {tensor.shape}")
            copy = array.astype(tensor.dtype, order="C", casting="same_kind", copy=True)
            restored[name] = arrays.moved(copy, tensor.device)
        return restored

    def _tensors(self) -> Iterable[Tensor]:
        return (tensor for group in self.param_groups for tensor in group["params"])

    def _check_step(self, tensor: Tensor) -> None:
        """Raise where a gradient, or what is kept of the parameter, cannot be used."""
        dtypes.float_type(tensor.dtype, "a parameter")
        kept = {name: item for name, item in self.state.get(tensor, {}).items() if name in self.slots}
        for name, array in {"a gradient": unwrap(tensor.grad), **kept}.items():
            if array.shape != tensor.shape:
                raise ShapeError(f"{name} has shape {array.shape}, its parameter has shape {tensor.shape}")
            if array.dtype.kind != "f":
                raise DTypeError(f"{name} has dtype {array.dtype}, its parameter has dtype {tensor.dtype}")
        for name, array in kept.items():
            if not arrays.is_writeable(array):
                raise ValueError(f"{name} is read-only")

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for hyperparameters out of range."""
        for name in ("lr", "weight_decay"):
            group[name] = parameters.number(name, group[name])
            if not 0.0 <= group[name] < math.inf:
                raise ValueError(f"invalid {name}: {group[name]} is not a finite number >= 0")

    def _update(self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change one parameter in place."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [
            "".join(f"\n    {name}: {group[name]}" for name in sorted(group) if name != "params")
            for group in self.param_groups
        ]
        body = "".join(f"Parameter Group {index}{line}\n" for index, line in enumerate(lines))
        return f"{type(self).__name__} (\n{body})"


def _saved(array: np.ndarray) -> np.ndarray:
    """A copy in the memory of the host."""
    saved = arrays.moved(array, arrays.HOST)
    return saved.copy() if saved is array else saved


def _listed(params: Iterable) -> list:
    if callable(getattr(params, "parameters", None)):
        raise TypeError(f"params must be an iterable of Tensors, got a {type(params).__name__}: pass its .parameters()")
    return list(params)
