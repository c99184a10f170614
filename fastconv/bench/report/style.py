"""What all charts share: colours, how numbers and names are written, and matplotlib itself, loaded when it is used."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from fastconv.bench.records import OURS, Run
from fastconv.errors import missing_extra

INK, GREY, FAINT, RED = "#1c2733", "#67727e", "#e3e7eb", "#b3261e"
_STRONG = ("#0b5cad", "#e07000", "#0f8a6c", "#7a3fb0", "#a8860a", "#0893b2")
_MUTED = ("#9aa7b5", "#cdbf9f", "#b6c9ae", "#c9b0c2", "#cfd5db", "#a99f94")


def colours(run: Run) -> dict[str, str]:
    """Contestant -> colour, this package's first."""
    names = dict.fromkeys(record.contestant for record in run.records)
    ours = [name for name in names if name.startswith(OURS)]
    peers = [name for name in names if not name.startswith(OURS)]
    return {
        name: palette[number % len(palette)]
        for members, palette in ((ours, _STRONG), (peers, _MUTED))
        for number, name in enumerate(members)
    }


def significant(value: float) -> str:
    """Three digits, and no exponent for what is large.

    >>> significant(1234.5), significant(0.012345)
    ('1234', '0.0123')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def units(error: float) -> str:
    """An error in units of what it is measured by, with an exponent where it is beyond all bounds.

    >>> units(0.74), units(69.3), units(1.7e39)
    ('0.7', '69.3', '2e+39')
    """
    return f"{error:.1f}" if error < 1e5 else f"{error:.0e}"


def percent(fraction: float) -> str:
    """A fraction in per cent, with two digits where it is small.

    >>> percent(0.973), percent(0.0345)
    ('97', '3.5')
    """
    return f"{100 * fraction:.0f}" if abs(fraction) >= 0.0995 else f"{100 * fraction:.2g}"


def counted(number: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "thread"), counted(2, "thread")
    ('1 thread', '2 threads')
    """
    return f"{number} {noun}{'s' if number != 1 else ''}"


def one_line(text: str) -> str:
    """The same words between single spaces."""
    return " ".join(text.split())


def elided(text: str, length: int) -> str:
    """The beginning of a text, with a mark where it goes on.

    >>> elided("fastconv:cython", 9)
    'fastconv…'
    """
    text = one_line(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


@contextlib.contextmanager
def plain(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """matplotlib's own defaults whatever the user has set, and these settings."""
    drawing("figure")
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings or {})
        yield


def drawing(module: str) -> ModuleType:
    """A module of matplotlib; raises ImportError with the pip line where it is missing."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "bench", "drawing") from None
