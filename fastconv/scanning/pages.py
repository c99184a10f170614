"""Forms as files: pages in image files, and what stands on them in JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fastconv import parameters
from fastconv.datasets import read_image
from fastconv.datasets.image_file import pillow
from fastconv.errors import FormatError, ShapeError
from fastconv.scanning.finder import Found
from fastconv.scanning.forms import SIZE, Digit, Form
from fastconv.scanning.ink import ink_of

Place = TypeVar("Place", Found, Digit)


@dataclass(frozen=True)
class Page:
    """A form from a file: its ``grey`` levels (H, W), and its ``ink`` with digits of 8 pixels, not of ``scale``."""

    grey: np.ndarray
    ink: np.ndarray
    scale: int

    def placed(self, one: Place) -> Place:
        """A digit that was found, or is, in the ink, with its corner in the pixels of the file."""
        top, left = (round(place * self.scale / SIZE) for place in (one.top, one.left))
        return one._replace(top=top, left=left)


def read_page(path: str | os.PathLike, *, scale: int = SIZE, ink: str = "auto") -> Page:
    """The form in an image file, grey or in colour, whose digits are ``scale`` pixels high; ``ink`` as in ``ink_of``.

    Raises ShapeError for one that is smaller than a digit, FormatError for what is no image, ValueError, OSError.
    """
    scale = parameters.positive_int("scale", scale)
    image = read_image(path).convert("L")
    if min(image.size) < scale:
        raise ShapeError(
            f"{os.fsdecode(path)}: a form must be at least as large as a digit, {scale}x{scale} pixels, got "
            f"{image.height}x{image.width}"
        )
    grey = np.asarray(image)
    if scale != SIZE:
        width, height = (max(SIZE, round(extent * SIZE / scale)) for extent in image.size)
        image = image.resize((width, height), pillow().Resampling.LANCZOS)
    return Page(grey, ink_of(np.asarray(image), ink), scale)


def write_form(form: Form, path: str | os.PathLike, *, scale: int = SIZE, **facts) -> str:
    """Write a form, dark on white, its digits ``scale`` pixels high, and beside it ``.json`` with their places.

    Returns the name of that. ``facts`` are kept in it, too. Raises ValueError or OSError.
    """
    scale = parameters.positive_int("scale", scale)
    image = pillow().fromarray(np.rint(255 - 255 * form.ink).astype(np.uint8))
    if scale != SIZE:
        width, height = (max(1, round(extent * scale / SIZE)) for extent in image.size)
        image = image.resize((width, height), pillow().Resampling.BICUBIC)
    image.save(path)
    digits = [
        {"value": value, "top": round(top * scale / SIZE), "left": round(left * scale / SIZE)}
        for value, top, left in form.digits
    ]
    truth = f"{os.path.splitext(os.fsdecode(path))[0]}.json"
    with open(truth, "w", encoding="utf-8") as file:
        json.dump({**facts, "scale": scale, "digits": digits}, file, indent=1)
    return truth


def read_truth(path: str | os.PathLike, scale: int = SIZE) -> list[Digit]:
    """What ``write_form`` says of a form, with the corners where digits of 8 pixels would have them.

    Raises FormatError for another file, or one of another ``scale``; OSError.
    """
    name = os.fsdecode(path)
    with open(name, encoding="utf-8") as file:
        try:
            truth = json.load(file)
            digits = [[parameters.integer(key, entry[key]) for key in Digit._fields] for entry in truth["digits"]]
            placed = [Digit(value, *(round(at * SIZE / scale) for at in corner)) for value, *corner in digits]
            written = truth["scale"]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FormatError(f"{name}: no list of a form's digits ({type(error).__name__}: {error!s:.100})") from None
    if written != scale:
        raise FormatError(
            f"{name}: its digits are {written} pixels high, but those of the form were said to be {scale}"
        )
    return placed
