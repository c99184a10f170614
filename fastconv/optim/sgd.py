"""Stochastic gradient descent."""

from __future__ import annotations

import math

import numpy as np

from fastconv import parameters
from fastconv.functional.optimizer_steps import sgd_step_
from fastconv.optim.optimizer import Optimizer


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
        group["dampening"] = parameters.number("dampening", group["dampening"])
        group["momentum"] = parameters.number("momentum", group["momentum"])
        if not math.isfinite(group["dampening"]):
            raise ValueError(f"invalid dampening: {group['dampening']} is not a finite number")
        if not 0.0 <= group["momentum"] < math.inf:
            raise ValueError(f"invalid momentum: {group['momentum']} is not a finite number >= 0")
        if parameters.flag("nesterov", group["nesterov"]) and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _update(self, p, grad, state, group):
        if not group["momentum"]:
            sgd_step_(p, grad, None, group, begins=False)
            return
        begins = "momentum_buffer" not in state
        buffer = np.zeros_like(p) if begins else state["momentum_buffer"]
        sgd_step_(p, grad, buffer, group, begins)
        state["momentum_buffer"] = buffer
