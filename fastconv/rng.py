"""The one random generator of the process: initialisation, dropout and shuffling draw from it."""

import numpy as np

_generator = np.random.default_rng()


def manual_seed(seed: int) -> None:
    """Start the generator anew; the same seed gives the same numbers."""
    _generator.bit_generator.state = np.random.default_rng(seed).bit_generator.state


def generator() -> np.random.Generator:
    """The generator itself."""
    return _generator


def get_state() -> dict:
    """The generator's state, as plain ints and strings."""
    return dict(_generator.bit_generator.state)


def set_state(state: dict) -> None:
    """Continue from a state that ``get_state`` gave."""
    _generator.bit_generator.state = state
