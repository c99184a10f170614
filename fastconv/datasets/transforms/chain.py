"""Transforms one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def compose(*steps: Callable) -> Callable:
    """One function that hands what it is given from step to step, and to each the arguments behind the first.

    So it composes preprocessing, whose steps take an image, and augmentation, whose steps take a generator, too. Raises
    TypeError for a step that cannot be called.

    >>> compose(abs, str)(-3)
    '3'
    """
    for step in steps:
        if not callable(step):
            raise TypeError(f"a step must be a function, got {step!r}")
    return partial(_run, steps)


def _run(steps: tuple[Callable, ...], subject: Any, *others: Any) -> Any:
    for step in steps:
        subject = step(subject, *others)
    return subject
