"""Adam and AdamW."""

from __future__ import annotations

import math

import numpy as np

from fastconv import parameters
from fastconv.functional.optimizer_steps import adam_step_
from fastconv.optim.optimizer import Optimizer


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
    counters = ("step",)
    # Whether the decay bypasses the running means.
    _decouples = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad)

    def _check(self, group):
        super()._check(group)
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be 2 numbers, got {betas!r}")
        beta1, beta2 = group["betas"] = tuple(parameters.number("betas", beta) for beta in betas)
        group["eps"] = parameters.number("eps", group["eps"])
        if not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0):
            raise ValueError(f"invalid betas: {group['betas']} do not both lie in [0, 1)")
        if not 0.0 <= group["eps"] < math.inf:
            raise ValueError(f"invalid eps: {group['eps']} is not a finite number >= 0")
        parameters.flag("amsgrad", group["amsgrad"])

    def _update(self, p, grad, state, group):
        slots = self.slots if group["amsgrad"] else self.slots[:2]
        kept = {slot: state[slot] if slot in state else np.zeros_like(p) for slot in slots}
        step = state.get("step", 0) + 1
        adam_step_(p, grad, list(kept.values()), group, step, decouples=self._decouples)
        state.update(kept, step=step)


class AdamW(Adam):
    """Adam whose decay bypasses the running means: p ← p·(1 − lr·weight_decay) first (Loshchilov and Hutter 2019).

    Raises ValueError for bad values.

    >>> import fastconv as fc
    >>> x = fc.tensor([1.0], requires_grad=True)
    >>> optimizer = AdamW([x], lr=0.5, weight_decay=0.1)
    >>> (x * x).sum().backward(); optimizer.step(); round(x.item(), 6)
    0.45
    """

    _decouples = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
