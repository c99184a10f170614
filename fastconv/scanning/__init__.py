"""Where things are in an image: the response of a template, and a classifier of windows that scans a whole page."""

from fastconv.scanning.comparison import Comparison, compare
from fastconv.scanning.finder import Found, find_digits, probabilities, scan, scan_by_window
from fastconv.scanning.forms import Digit, Form, compose_form
from fastconv.scanning.ink import ink_of
from fastconv.scanning.lessons import Recipe, train_finder
from fastconv.scanning.matching import Matched, Score, match, overlap, score
from fastconv.scanning.peaks import Peak, find_peaks
from fastconv.scanning.response_map import Localization, localize
from fastconv.scanning.trained import load_finder

__all__ = [
    "Comparison",
    "Digit",
    "Form",
    "Found",
    "Localization",
    "Matched",
    "Peak",
    "Recipe",
    "Score",
    "compare",
    "compose_form",
    "find_digits",
    "find_peaks",
    "ink_of",
    "load_finder",
    "localize",
    "match",
    "overlap",
    "probabilities",
    "scan",
    "scan_by_window",
    "score",
    "train_finder",
]
