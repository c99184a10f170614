"""Learning-rate schedules: a function of the number of steps taken, in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastconv import parameters
from fastconv.optim.optimizer import Optimizer


class LRScheduler:
    """The base: ``step`` counts one more and sets every group's ``lr`` to ``_rate`` of its first one.

    Subclasses name their numbers in ``settings`` and define ``_rate``. As in torch, the group keeps its first rate as
    ``initial_lr``, and a ``last_epoch`` other than −1 asks for groups that have one already (KeyError).
    """

    settings: tuple[str, ...] = ()

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"a schedule needs an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.last_epoch = parameters.integer("last_epoch", last_epoch)
        for index, group in enumerate(optimizer.param_groups):
            if self.last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"param 'initial_lr' is not specified in param_groups[{index}] when resuming")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def step(self) -> None:
        """Go on to the next epoch's learning rate."""
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_last_lr(), strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The learning rate of every group, as ``step`` set it last."""
        return [self._rate(base) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The settings and the count, in plain numbers and lists."""
        return {name: getattr(self, name) for name in ("last_epoch", "base_lrs", *self.settings)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` gave; ValueError or TypeError, and no change, if it is something else.

        The optimizer's own state holds the learning rate itself.
        """
        names = ("last_epoch", "base_lrs", *self.settings)
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(names):
            raise ValueError(
                f"the state of a {type(self).__name__} has the keys {', '.join(names)}, got {state_dict!r:.200}"
            )
        rates = [float(rate) for rate in state_dict["base_lrs"]]
        if len(rates) != len(self.base_lrs):
            raise ValueError(f"{len(rates)} learning rates were saved, the optimizer has {len(self.base_lrs)} groups")
        last_epoch = parameters.integer("last_epoch", state_dict["last_epoch"])
        self._set({name: state_dict[name] for name in self.settings})
        self.last_epoch, self.base_lrs = last_epoch, rates

    def _set(self, values: dict[str, Any]) -> None:
        """Check and keep the settings."""
        raise NotImplementedError

    def _rate(self, base: float) -> float:
        """The learning rate after ``last_epoch`` steps from ``base``."""
        raise NotImplementedError


class StepLR(LRScheduler):
    """lr = base · gamma^⌊t / step_size⌋ after t steps. Raises ValueError for ``step_size`` below 1.

    >>> import fastconv as fc
    >>> from fastconv.optim import SGD
    >>> schedule = StepLR(SGD([fc.tensor([0.0], requires_grad=True)], lr=1.0), step_size=2, gamma=0.5)
    >>> [(schedule.step(), schedule.get_last_lr())[1] for _ in range(4)]
    [[1.0], [0.5], [0.5], [0.25]]
    """

    settings = ("step_size", "gamma")

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self._set({"step_size": step_size, "gamma": gamma})
        super().__init__(optimizer, last_epoch)

    def _set(self, values):
        self.step_size, self.gamma = parameters.positive_int("step_size", values["step_size"]), float(values["gamma"])

    def _rate(self, base):
        return base * self.gamma ** (self.last_epoch // self.step_size)


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (base − eta_min) · (1 + cos(π·t / T_max)) / 2 after t steps (Loshchilov and Hutter 2017).

    Raises ValueError for ``T_max`` below 1.

    >>> import fastconv as fc
    >>> from fastconv.optim import SGD
    >>> schedule = CosineAnnealingLR(SGD([fc.tensor([0.0], requires_grad=True)], lr=1.0), T_max=2)
    >>> [(schedule.step(), round(schedule.get_last_lr()[0], 6))[1] for _ in range(2)]
    [0.5, 0.0]
    """

    settings = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        self._set({"T_max": T_max, "eta_min": eta_min})
        super().__init__(optimizer, last_epoch)

    def _set(self, values):
        self.T_max, self.eta_min = parameters.positive_int("T_max", values["T_max"]), float(values["eta_min"])

    def _rate(self, base):
        return self.eta_min + (base - self.eta_min) * (1.0 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2.0
