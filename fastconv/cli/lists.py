"""Types of arguments that are lists, separated by commas."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from typing import Any

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


def floats(text: str) -> list[float]:
    """Numbers of any kind."""
    return [_number(word, float, "numbers") for word in words(text)]


def counts(text: str) -> list[int]:
    """Integers from 0 on, each once."""
    found = list(dict.fromkeys(_number(word, int, "integers") for word in words(text)))
    if min(found) < 0:
        raise ArgumentTypeError(f"must be integers from 0 on, got {text!r}")
    return found


def _number(word: str, kind: Callable[[str], Any], what: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        raise ArgumentTypeError(f"must be {what} separated by commas, got {word!r}") from None


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
