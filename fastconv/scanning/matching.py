"""How much of what was found is right, and how much of what is there was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fastconv.scanning.finder import Found
from fastconv.scanning.forms import SIZE, Digit

# Two places are the same if the digits there share more than half of the pixels that they cover together.
OVERLAP = 0.5


@dataclass(frozen=True)
class Score:
    """Counts: digits that were found, what was found where no such digit stands, digits that were not found."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """The share of what was found that is right; 1 where nothing was found."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """The share of the digits that was found; 1 where there are none."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.wrong + other.wrong, self.missed + other.missed)

    def __str__(self) -> str:
        return (
            f"precision {self.precision:.2%}, recall {self.recall:.2%} "
            f"({self.right} right, {self.wrong} wrong, {self.missed} missed)"
        )


def overlap(first, second) -> float:
    """Intersection over union of the squares of two digits whose upper left corners are at (top, left).

    >>> overlap((0, 0), (0, 0)), overlap((0, 0), (4, 0)), overlap((0, 0), (0, 8))
    (1.0, 0.3333333333333333, 0.0)
    """
    height, width = (max(SIZE - abs(int(a) - int(b)), 0) for a, b in zip(first, second, strict=True))
    return height * width / (2 * SIZE * SIZE - height * width)


@dataclass(frozen=True)
class Matched:
    """What was found and is right, what was found and is not, what is there and was not found."""

    right: tuple[Found, ...]
    wrong: tuple[Found, ...]
    missed: tuple[Digit, ...]


def match(found: Iterable[Found], truth: Iterable[Digit]) -> Matched:
    """Compare; each digit counts once, for the best of those that have its value and overlap it by more than half."""
    left = list(truth)
    right: list[Found] = []
    wrong: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):
        matches = [digit for digit in left if digit.value == one.value and overlap(digit[1:3], one[1:3]) > OVERLAP]
        (right if matches else wrong).append(one)
        if matches:
            left.remove(max(matches, key=lambda digit: overlap(digit[1:3], one[1:3])))
    return Matched(tuple(right), tuple(wrong), tuple(left))


def score(found: Iterable[Found], truth: Iterable[Digit]) -> Score:
    """The counts of ``match``.

    >>> score([Found(3, 10, 11, 0.9), Found(3, 40, 40, 0.6)], [Digit(3, 10, 10), Digit(5, 40, 40)])
    Score(right=1, wrong=1, missed=1)
    """
    matched = match(found, truth)
    return Score(len(matched.right), len(matched.wrong), len(matched.missed))
