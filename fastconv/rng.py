"""The one random generator of the process: initialisation, dropout and shuffling draw from it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@cache
def generator() -> np.random.Generator:
    """The generator itself; made when it is first asked for, because numpy.random is slow to import."""
    import numpy as np

    return np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the generator anew; the same seed gives the same numbers."""
    import numpy as np

    set_state(np.random.default_rng(seed).bit_generator.state)


def get_state() -> dict:
    """The generator's state, as plain ints and strings."""
    return dict(generator().bit_generator.state)


def set_state(state) -> None:
    """Continue from a state that ``get_state`` gave."""
    generator().bit_generator.state = state
