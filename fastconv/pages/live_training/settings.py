"""What can be changed while the network learns, and to what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastconv.training.recipes import RECIPES

RECIPE = RECIPES["digits"]
# Passes over the data until training ends by itself.
EPOCHS = 100

# What the page offers, in its order. Paces are steps per second; 0 is as fast as the machine can.
OFFERS: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.0003, 0.001, RECIPE.learning_rate, 0.01, 0.03),
    "batch_size": (16, 32, RECIPE.batch_size, 128),
    "pace": (2, 10, 25, 50, 0),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The learning rate and the pace hold from the next step on, the batch size from the next epoch on."""

    learning_rate: float = RECIPE.learning_rate
    batch_size: int = RECIPE.batch_size
    pace: int = 25

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """These settings with others among them; raises ValueError for what is not offered.

        >>> Settings().changed({"batch_size": 32, "pace": 0})
        Settings(learning_rate=0.003, batch_size=32, pace=0)
        """
        return replace(self, **{name: _offered(name, value) for name, value in values.items()})


def _offered(name: str, value) -> Any:
    if name not in OFFERS:
        raise ValueError(f"there is no setting {name!r:.40}; there are {', '.join(OFFERS)}")
    offers = OFFERS[name]
    if type(value) not in (int, float) or value not in offers:
        raise ValueError(f"{name} must be one of {', '.join(map(str, offers))}, got {value!r:.40}")
    return offers[offers.index(value)]
