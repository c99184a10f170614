"""Types of arguments that are lists, separated by commas."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable

from fastconv.cli import positive

ALL = "all"


def words(text: str) -> list[str]:
    """Words separated by commas, none of them empty."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise ArgumentTypeError(f"must be names separated by commas, got {text!r}")
    return found


def numbers(text: str) -> list[int]:
    """Positive integers, each once."""
    return list(dict.fromkeys(positive(word) for word in words(text)))


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of a list of known names, each once; ``all`` stands for every one."""

    def parse(text: str) -> list[str]:
        found = list(dict.fromkeys(words(text)))
        if ALL in found:
            return list(known)
        if unknown := [word for word in found if word not in known]:
            raise ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)} and {ALL}")
        return found

    return parse
