"""Networks whose weights come from a file."""

from __future__ import annotations

import os
from collections.abc import Callable

from fastconv import weights
from fastconv.nn import Module, init


def load(build: Callable[[], Module], path: str | os.PathLike) -> Module:
    """Build a network without drawing weights, and have it hold those of the file.

    Raises what ``weights.load`` raises, and ShapeError for missing, unexpected and misshapen keys, in one report.
    """
    state = weights.load(path, writable=True)
    with init.skipped():
        model = build()
    model.load_state_dict(state, assign=True)
    return model
