"""Progress bars, where somebody is watching."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from fastconv.errors import missing_extra


def is_shown(wanted: bool | None) -> bool:
    """Whether to draw: as asked for, or where tqdm is installed and stderr is a terminal; raises ImportError."""
    installed = importlib.util.find_spec("tqdm") is not None
    if wanted and not installed:
        raise missing_extra("tqdm", "cli", "a progress bar")
    if wanted is not None:
        return wanted
    return installed and sys.stderr is not None and sys.stderr.isatty()


def bar(shown: bool, description: str, total: int | None, done: int, *, stays: bool, unit: str = "batch") -> Any:
    """A bar to use in a ``with`` statement, with ``update`` and ``set_postfix_str``; ``stays`` on screen or not."""
    if not shown:
        return _Silence()
    from tqdm import tqdm

    return tqdm(desc=description, total=total, initial=done, unit=unit, leave=stays, dynamic_ncols=True)


class _Silence:
    """A bar that draws nothing."""

    def __enter__(self) -> _Silence:
        return self

    def __exit__(self, *exc_info) -> None:
        pass

    def update(self) -> None:
        """Count one unit."""

    def set_postfix_str(self, text: str) -> None:
        """Show figures."""
