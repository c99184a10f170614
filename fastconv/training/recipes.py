"""Ready-made training runs: a data set, a network for it, and settings that work."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastconv import datasets, models, parameters, rng
from fastconv.datasets.transforms import random_shift
from fastconv.nn import Module
from fastconv.optim import AdamW, CosineAnnealingLR
from fastconv.training.evaluation import Evaluation, evaluate
from fastconv.training.history import Epoch, History
from fastconv.training.loop import fit

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Recipe:
    """AdamW with one cosine of the learning rate over all epochs, on images that are shifted by up to ``shift``."""

    title: str
    load: Callable[[str, Any], Pair]
    model: Callable[[], Module]
    epochs: int
    learning_rate: float
    shift: int
    batch_size: int = 64
    weight_decay: float = 1e-2


class Trained(NamedTuple):
    """What a recipe hands back; ``result`` is the final evaluation on the test images."""

    model: Module
    history: History
    result: Evaluation


RECIPES = {
    "digits": Recipe(
        title="1,437 handwritten digits of 8x8 pixels, tested on 360 others",
        load=lambda split, root: datasets.load_digits(split),
        model=models.digits_net,
        epochs=30,
        learning_rate=3e-3,
        shift=1,
    ),
    "mnist": Recipe(
        title="60,000 handwritten digits of 28x28 pixels, tested on 10,000 others",
        load=datasets.load_mnist,
        model=models.lenet5,
        epochs=10,
        learning_rate=2e-3,
        shift=1,
    ),
    "cifar10": Recipe(
        title="50,000 colour photographs of 32x32 pixels, tested on 10,000 others",
        load=datasets.load_cifar10,
        model=models.cifar_small,
        epochs=20,
        learning_rate=2e-3,
        shift=2,
    ),
}


def describe(dataset: str) -> str:
    """The data in one line; raises ValueError for an unknown name."""
    return _recipe(dataset).title


def train(
    dataset: str,
    *,
    seed: int = 0,
    epochs: int | None = None,
    root: str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = False,
    device: str = "cpu",
    progress: bool | None = None,
    callback: Callable[[Epoch], Any] | None = None,
) -> Trained:
    """Draw the network of a recipe and train it; the same seed gives the same numbers.

    ``root`` is where mnist or cifar10 lie, ``device`` where the network is trained. The test images are the
    validation data of the history: they are only reported, nothing is chosen by them. A resumed run keeps the learning
    rates of the first one's ``epochs``. Raises ValueError for an unknown name, and what the loaders and ``fit`` raise.

    >>> model, history, result = train("digits", epochs=2, progress=False)
    >>> len(history), result.accuracy > 0.5
    (2, True)
    """
    recipe = _recipe(dataset)
    rng.manual_seed(seed)
    # Drawn on the host, whatever the device: the same seed gives the same weights.
    model = recipe.model().to(device)
    epochs = recipe.epochs if epochs is None else parameters.positive_int("epochs", epochs)
    optimizer = AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    test = recipe.load("test", root)
    history = fit(
        model,
        recipe.load("train", root),
        epochs=epochs,
        batch_size=recipe.batch_size,
        optimizer=optimizer,
        scheduler=CosineAnnealingLR(optimizer, T_max=epochs),
        validation=test,
        seed=seed,
        augment=random_shift(recipe.shift),
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        callback=callback,
    )
    return Trained(model, history, evaluate(model, test))


def _recipe(dataset: str) -> Recipe:
    if dataset not in RECIPES:
        raise ValueError(f"dataset must be one of {', '.join(RECIPES)}, got {dataset!r}")
    return RECIPES[dataset]
