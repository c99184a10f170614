"""How a digit finder is taught: windows of forms that are composed for it, with and without a digit in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv import datasets, models, nn, rng
from fastconv.datasets.transforms import random_brightness
from fastconv.nn import Module
from fastconv.optim import AdamW, CosineAnnealingLR
from fastconv.scanning.finder import BACKGROUND, MARGIN, OFF, WINDOW
from fastconv.scanning.forms import SIZE, Form, compose_form
from fastconv.scanning.matching import OVERLAP, overlap
from fastconv.training import Epoch, fit


@dataclass(frozen=True)
class Recipe:
    """Forms of the training digits, and AdamW with one cosine of the learning rate over the epochs."""

    forms: int = 200
    shape: tuple[int, int] = (64, 96)
    digits: int = 30
    epochs: int = 25
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    batch_size: int = 64
    seed: int = 0


RECIPE = Recipe()


def train_finder(
    recipe: Recipe = RECIPE, *, progress: bool | None = None, callback: Callable[[Epoch], object] | None = None
) -> Module:
    """A digit finder, frozen, taught with the 1,437 training digits; the same recipe gives the same numbers.

    Raises what ``training.fit`` raises.
    """
    rng.manual_seed(recipe.seed)
    model = models.digit_finder()
    optimizer = AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    fit(
        model,
        lessons(recipe),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=optimizer,
        scheduler=CosineAnnealingLR(optimizer, T_max=recipe.epochs),
        seed=recipe.seed,
        augment=random_brightness(0.3),
        progress=progress,
        callback=callback,
    )
    return nn.freeze(model)


def lessons(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, 1, 12, 12) and their classes: the digits of some forms, and as many windows of background.

    A digit may be one pixel off the middle along each axis, which makes more of the few there are; the best of its
    neighbouring places is found all the same.
    """
    images, labels = datasets.load_digits("train")
    generator = np.random.default_rng(recipe.seed)
    windows, classes = [], []
    for number in range(recipe.forms):
        form = compose_form(
            images, labels, shape=recipe.shape, count=recipe.digits, gap=number % 3, seed=int(generator.integers(2**32))
        )
        page = np.pad(form.ink, MARGIN + OFF)
        shown = [(value, *(generator.integers(-OFF, OFF + 1, 2) + place)) for value, *place in form.digits]
        shown += [(BACKGROUND, *place) for place in _background(form, len(form.digits), generator)]
        for value, top, left in shown:
            windows.append(page[None, top + OFF : top + OFF + WINDOW, left + OFF : left + OFF + WINDOW])
            classes.append(value)
    return np.stack(windows), np.array(classes)


def _background(form: Form, count: int, generator) -> list[tuple[int, int]]:
    """Places where no digit stands, half of them beside one; what a digit fills by more than half is left out."""
    shape = np.subtract(form.ink.shape, SIZE - 1)
    corners = np.array([digit[1:] for digit in form.digits])
    places: list[tuple[int, int]] = []
    while len(places) < count:
        place = generator.integers(shape)
        if len(places) % 2:
            place = generator.choice(corners) + generator.integers(1 - SIZE, SIZE, 2)
        is_inside = (place >= 0).all() and (place < shape).all()
        if is_inside and max(overlap(place, corner) for corner in corners) <= OVERLAP:
            places.append((int(place[0]), int(place[1])))
    return places
