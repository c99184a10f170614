"""How exact results must be: the one place where that is chosen.

``"strict"`` sums directly. ``"high"``, the default, also takes algorithms that keep the bound of a direct sum, such as
Winograd's F(2 x 2, 3 x 3), for which it counts the inputs of one pixel more on each side. ``"fast"`` takes those with a
larger, published bound, too: F(4 x 4, 3 x 3).
"""

from __future__ import annotations

from contextvars import ContextVar

from fastconv.scopes import Scope

STRICT, HIGH, FAST = LEVELS = ("strict", "high", "fast")

_scoped: ContextVar[str | None] = ContextVar("fastconv_precision", default=None)
_process_wide = HIGH


class use_precision(Scope):  # noqa: N801 - a context manager, used like a function
    """Compute everything inside the ``with`` block as exactly as this; other threads are not affected.

    What is recorded inside has its gradients computed so, wherever ``backward`` is called. Raises ValueError for
    anything but "strict", "high" and "fast".

    >>> with use_precision("strict"):
    ...     get_precision()
    'strict'
    """

    def __init__(self, level: str):
        super().__init__(_scoped, _checked(level))


def set_precision(level: str) -> None:
    """Choose for the whole process how exact results must be; "high" is the default.

    "strict": sums are added directly; integers are exact for partial sums below 2^24. "high": the bound of a direct
    sum is kept, counted over the inputs of a whole tile; integers are exact below 2^18. "fast": errors may be four
    times that bound, and integers are rounded. Raises ValueError for anything else.
    """
    global _process_wide
    _process_wide = _checked(level)


def get_precision() -> str:
    """The level that is in force here."""
    return _scoped.get() or _process_wide


def _checked(level: str) -> str:
    if not isinstance(level, str) or level not in LEVELS:
        raise ValueError(f"precision must be one of {', '.join(map(repr, LEVELS))}, got {level!r}")
    return level
