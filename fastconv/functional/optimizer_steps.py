"""One step of an optimiser on one parameter: everything is read and written once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastconv import arrays, backends
from fastconv._kernels.contract import ADAM_SETTINGS, SGD_SETTINGS
from fastconv.functional import passes

_MOMENTUM = frozenset({"momentum_buffer"})
_LARGEST = frozenset({"max_exp_avg_sq"})


def sgd_step_(
    p: np.ndarray, grad: np.ndarray, momentum_buffer: np.ndarray | None, group: Mapping[str, Any], begins: bool
) -> None:
    """Stochastic gradient descent as ``optim.SGD`` says, in place; the buffer ``begins`` with the gradient."""
    settings = {**group, "share": 1.0 - group["dampening"], "begins": begins}
    kept = [] if momentum_buffer is None else [momentum_buffer]
    _step("sgd_step_", p, grad, _settings(SGD_SETTINGS, settings), kept, _MOMENTUM if kept else frozenset())


def adam_step_(
    p: np.ndarray, grad: np.ndarray, kept: list[np.ndarray], group: Mapping[str, Any], step: int, *, decouples: bool
) -> None:
    """Adam as ``optim.Adam`` says, or, where decay ``decouples``, ``optim.AdamW``; ``kept`` as its slots, in place."""
    (beta1, beta2), decay = group["betas"], group["weight_decay"]
    settings = {
        "step_size": group["lr"] / (1.0 - beta1**step),
        "weight_decay": 0.0 if decouples else decay,
        "shrink": 1.0 - group["lr"] * decay if decouples else 1.0,
        "share": 1.0 - beta1,
        "keep_square": beta2,
        "share_square": 1.0 - beta2,
        "root": math.sqrt(1.0 - beta2**step),
        "eps": group["eps"],
    }
    _step("adam_step_", p, grad, _settings(ADAM_SETTINGS, settings), kept, _LARGEST if len(kept) > 2 else frozenset())


def _settings(names, values):
    return np.array([values[name] for name in names], np.float64)


def _step(op, p, grad, settings, kept, present):
    """Kernels see arrays in C order and of one dtype, whatever a user has put into ``grad`` or ``state``."""
    if not p.size:
        return
    grad, *updated = (arrays.dense(array.astype(p.dtype, copy=False)) for array in (grad, p, *kept))
    backends.select(device=arrays.device_of(p)).run(passes.call_of(p).task(op, (), present), grad, settings, *updated)
    for array, dense in zip((p, *kept), updated, strict=True):
        if dense is not array:
            array[...] = dense
