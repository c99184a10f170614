"""Training and evaluation mode for the length of a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fastconv.nn import Module


@contextlib.contextmanager
def mode(model: Module, training: bool) -> Iterator[None]:
    """Switch the model and all below it; afterwards each module has its own former mode again."""
    former = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in former:
            module.training = was_training
