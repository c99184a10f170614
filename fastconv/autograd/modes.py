"""Whether operations are recorded."""

from __future__ import annotations

import functools
from contextvars import ContextVar

from fastconv.scopes import Scope

_grad_enabled: ContextVar[bool] = ContextVar("fastconv_grad_enabled", default=True)


class no_grad(Scope):  # noqa: N801 - a context manager and decorator, named as torch's
    """Record nothing inside the ``with`` block or the decorated function."""

    def __init__(self):
        super().__init__(_grad_enabled, False)

    def __call__(self, function):
        """The function, run without recording."""

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)

        return wrapped


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return _grad_enabled.get()
