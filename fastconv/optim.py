"""Optimisers and learning-rate schedules, with torch's arithmetic, defaults and names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastconv import arrays, parameters
from fastconv.autograd import Tensor, unwrap
from fastconv.errors import ShapeError


class Optimizer:
    """The base: groups of parameters with their hyperparameters, and what is remembered of each parameter.

    Subclasses name their remembered arrays in ``slots`` and define ``_check`` and ``_update``. Raises TypeError or
    ValueError for parameters that cannot be optimised and for hyperparameters out of range.
    """

    slots: tuple[str, ...] = ()

    def __init__(self, params: Iterable, **defaults: Any):
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        if isinstance(params, Tensor):
            raise TypeError("params must be an iterable of Tensors or of dicts, got a single Tensor")
        given = list(params)
        if not given:
            raise ValueError("optimizer got an empty parameter list")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimise more parameters: ``{"params": ..., "lr": ...}``; what is left out has the default."""
        tensors = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
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
        """Change every parameter that has a gradient; raises ShapeError before any change where one does not fit."""
        for tensor in self._tensors():
            if tensor.grad is not None and tensor.grad.shape != tensor.shape:
                raise ShapeError(f"a gradient has shape {tensor.grad.shape}, its parameter has shape {tensor.shape}")
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._update(unwrap(tensor), unwrap(tensor.grad), self.state.setdefault(tensor, {}), group)
                    tensor.bump_version()

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything, in plain arrays, numbers and lists; parameters are known by their position."""
        positions = {id(tensor): position for position, tensor in enumerate(self._tensors())}
        groups = [
            {**group, "params": [positions[id(tensor)] for tensor in group["params"]]} for group in self.param_groups
        ]
        state = {
            positions[id(tensor)]: {name: np.copy(item) if name in self.slots else item for name, item in kept.items()}
            for tensor, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` gave; raises ValueError or TypeError, and changes nothing, if it is not that."""
        try:
            saved, kept = list(state_dict["param_groups"]), dict(state_dict["state"])
            sizes = [len(group["params"]) for group in saved]
            groups = [{**old, **new, "params": old["params"]} for old, new in zip(self.param_groups, saved)]
            for group in groups:
                self._check(group)
            tensors = list(self._tensors())
            state = {
                tensors[int(position)]: self._restored(tensors[int(position)], kept[position]) for position in kept
            }
        except (KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"not the state of a {type(self).__name__} of these parameters: {error!r}") from error
        if sizes != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the saved parameter groups differ from the optimizer's in number or size")
        self.param_groups[:], self.state = groups, state

    def _restored(self, tensor: Tensor, kept: Mapping[str, Any]) -> dict[str, Any]:
        """What is remembered of one parameter, checked and copied."""
        restored: dict[str, Any] = {}
        for name, item in kept.items():
            if name not in self.slots:
                restored[name] = parameters.integer(name, item)
                continue
            array = arrays.as_array(item, name)
            if array.shape != tensor.shape:
                raise ShapeError(f"{name} has shape {array.shape}, its parameter has shape {tensor.shape}")
            restored[name] = array.astype(tensor.dtype, casting="same_kind", copy=True)
        return restored

    def _tensors(self) -> Iterable[Tensor]:
        return (tensor for group in self.param_groups for tensor in group["params"])

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for hyperparameters out of range."""
        for name in ("lr", "weight_decay"):
            if not 0.0 <= group[name] < math.inf:
                raise ValueError(f"invalid {name}: {group[name]} is not a finite number >= 0")
            group[name] = float(group[name])

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


class SGD(Optimizer):
    """Stochastic gradient descent: b ← momentum·b + (1 − dampening)·g, p ← p − lr·b, with g = grad + weight_decay·p.

    With ``nesterov`` the step is lr·(g + momentum·b) (Sutskever et al. 2013). Raises ValueError for bad values.

    >>> import fastconv as fc
    >>> x = fc.tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([x], lr=0.5)
    >>> (x * x).sum().backward(); optimizer.step(); x.tolist()
    [0.0]
    """

    slots = ("momentum_buffer",)

    def __init__(self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov
        )

    def _check(self, group):
        super()._check(group)
        if not 0.0 <= group["momentum"] < math.inf:
            raise ValueError(f"invalid momentum: {group['momentum']} is not a finite number >= 0")
        if parameters.flag("nesterov", group["nesterov"]) and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _update(self, p, grad, state, group):
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.copy()
            else:
                buffer *= momentum
                buffer += (1.0 - group["dampening"]) * grad
            grad = grad + momentum * buffer if group["nesterov"] else buffer
        p -= group["lr"] * grad


class Adam(Optimizer):
    """p ← p − lr · m̂ / (√v̂ + eps), m and v the running means of g and g², g = grad + weight_decay·p.

    After D. Kingma and J. Ba (2015); ``amsgrad`` divides by the largest v̂ so far. Raises ValueError for bad values.

    >>> import fastconv as fc
    >>> x = fc.tensor([1.0], requires_grad=True)
    >>> optimizer = Adam([x], lr=0.5)
    >>> (x * x).sum().backward(); optimizer.step(); round(x.item(), 6)
    0.5
    """

    slots = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def _check(self, group):
        super()._check(group)
        beta1, beta2 = group["betas"] = tuple(group["betas"])
        if not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0):
            raise ValueError(f"invalid betas: {group['betas']} do not both lie in [0, 1)")
        if not 0.0 <= group["eps"] < math.inf:
            raise ValueError(f"invalid eps: {group['eps']} is not a finite number >= 0")
        parameters.flag("amsgrad", group["amsgrad"])

    def _update(self, p, grad, state, group):
        if group["weight_decay"]:
            grad = self._decayed(p, grad, group)
        beta1, beta2 = group["betas"]
        for slot in self.slots if group["amsgrad"] else self.slots[:2]:
            if slot not in state:
                state[slot] = np.zeros_like(p)
        step = state["step"] = state.get("step", 0) + 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean += (1.0 - beta1) * (grad - mean)
        square *= beta2
        square += (1.0 - beta2) * (grad * grad)
        if group["amsgrad"]:
            square = np.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        denominator = np.sqrt(square)
        denominator /= math.sqrt(1.0 - beta2**step)
        denominator += group["eps"]
        p -= (group["lr"] / (1.0 - beta1**step)) * (mean / denominator)

    def _decayed(self, p, grad, group):
        """The gradient with the decay that belongs in it."""
        return grad + group["weight_decay"] * p


class AdamW(Adam):
    """Adam whose decay bypasses the running means: p ← p·(1 − lr·weight_decay) first (Loshchilov and Hutter 2019).

    Raises ValueError for bad values.

    >>> import fastconv as fc
    >>> x = fc.tensor([1.0], requires_grad=True)
    >>> optimizer = AdamW([x], lr=0.5, weight_decay=0.1)
    >>> (x * x).sum().backward(); optimizer.step(); round(x.item(), 6)
    0.45
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)

    def _decayed(self, p, grad, group):
        """The gradient as it is: the parameter itself decays."""
        p *= 1.0 - group["lr"] * group["weight_decay"]
        return grad
