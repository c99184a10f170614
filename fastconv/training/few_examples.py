"""What transfer is worth on real digits: few examples of new classes, learned with frozen convolutions or from scratch.

The digits 0 to 4 of the bundled training images teach a small network; each stands in all eight positions of a square
(turned by quarters, mirrored), as classes of their own, so that its filters serve more than those five shapes. Then the
digits 5 to 9 are learned from a few examples: by a new head on the frozen convolutions, or by the same network drawn
anew. Both see the same examples and have the same budget: the same number of steps, batches, optimiser, and learning
rates, without augmentation. They are tested on all 180 test images of the digits 5 to 9.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import datasets, parameters, rng
from fastconv.datasets import transforms
from fastconv.nn import Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, freeze, replace_head
from fastconv.optim import AdamW, CosineAnnealingLR
from fastconv.training.evaluation import evaluate
from fastconv.training.features import features, split
from fastconv.training.history import Epoch
from fastconv.training.loop import fit

Pair = tuple[np.ndarray, np.ndarray]

COUNTS = (1, 5, 10, 50)
SEEDS = 10
EPOCHS = 25
STEPS = 100
NEW_CLASSES = 5
FROZEN, SCRATCH = "frozen convolutions", "from scratch"
_POSITIONS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """Test accuracies of one way to learn from ``examples`` per class, one for each seed."""

    examples: int
    method: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Their standard deviation."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


def compare(
    *,
    seed: int = 0,
    seeds: int = SEEDS,
    counts: Sequence[int] = COUNTS,
    epochs: int = EPOCHS,
    device: str = "cpu",
    callback: Callable[[Epoch], Any] | None = None,
) -> list[Outcome]:
    """Teach the digits 0 to 4 once, then learn 5 to 9 in both ways; two outcomes for each of the ``counts``.

    ``seeds`` draws of examples and of what is trained begin at ``seed``; ``callback`` hears of the ``epochs`` of
    teaching. The same numbers give the same outcomes. Raises ValueError or TypeError.

    >>> for outcome in compare(seeds=2, counts=[5], epochs=1):
    ...     print(outcome.method, len(outcome.accuracies))
    frozen convolutions 2
    from scratch 2
    """
    draws = range(seed, seed + parameters.positive_int("seeds", seeds))
    counts = [parameters.positive_int("counts", count) for count in counts]
    taught = freeze(_taught(seed, epochs, device, callback), "pool")
    replace_head(taught, NEW_CLASSES)
    frozen, _ = split(taught)
    examples, test = (_classes(datasets.load_digits(part), range(5, 10)) for part in ("train", "test"))
    kept = features(frozen, test, progress=False)
    outcomes = []
    for count in counts:
        found: dict[str, list[float]] = {FROZEN: [], SCRATCH: []}
        for draw in draws:
            few = _few(examples, count, draw)
            rng.manual_seed(draw)
            replace_head(taught, NEW_CLASSES)
            _, head = split(taught)
            found[FROZEN].append(_learned(head, features(frozen, few, progress=False), kept, draw))
            rng.manual_seed(draw)
            found[SCRATCH].append(_learned(_network(NEW_CLASSES).to(device), few, test, draw))
        outcomes += [Outcome(count, method, tuple(accuracies)) for method, accuracies in found.items()]
    return outcomes


def _network(classes: int) -> Sequential:
    return Sequential(
        {
            "conv1": Conv2d(1, 24, 3, padding=1),
            "relu1": ReLU(),
            "conv2": Conv2d(24, 48, 3, padding=1),
            "relu2": ReLU(),
            "pool": MaxPool2d(2),
            "dropout": Dropout(0.3),
            "flatten": Flatten(),
            "fc": Linear(768, classes),
        }
    )


def _taught(seed: int, epochs: int, device: str, callback) -> Module:
    """The network after the digits 0 to 4."""
    images, labels = _classes(datasets.load_digits("train"), range(5))
    turned = [np.rot90(images, turns, (2, 3)) for turns in range(4)]
    positions = [*turned, *(view[..., ::-1] for view in turned)]
    known = np.concatenate(positions), np.concatenate([labels * _POSITIONS + place for place in range(_POSITIONS)])
    rng.manual_seed(seed)
    model = _network(NEW_CLASSES * _POSITIONS).to(device)
    scenes = transforms.random_shift(1), transforms.random_scale(1.25), transforms.random_brightness(0.3)
    optimizer = AdamW(model.parameters(), lr=4e-3)
    fit(
        model,
        known,
        epochs=epochs,
        optimizer=optimizer,
        scheduler=CosineAnnealingLR(optimizer, T_max=epochs),
        seed=seed,
        augment=transforms.compose(*scenes),
        callback=callback,
    )
    return model


def _classes(data: Pair, wanted: range) -> Pair:
    images, labels = data
    chosen = np.isin(labels, wanted)
    return images[chosen], labels[chosen] - wanted.start


def _few(data: Pair, count: int, seed: int) -> Pair:
    """So many examples of every class, drawn at random."""
    images, labels = data
    generator = np.random.default_rng([seed, count])
    rows = [generator.permutation(np.flatnonzero(labels == label))[:count] for label in range(NEW_CLASSES)]
    chosen = np.concatenate(rows)
    return images[chosen], labels[chosen]


def _learned(model: Module, few: Pair, test: Pair, seed: int) -> float:
    """The test accuracy after STEPS steps."""
    size = min(32, len(few[1]))
    epochs = max(1, round(STEPS / -(-len(few[1]) // size)))
    optimizer = AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=3e-3)
    schedule = CosineAnnealingLR(optimizer, T_max=epochs)
    fit(model, few, epochs=epochs, batch_size=size, optimizer=optimizer, scheduler=schedule, seed=seed, progress=False)
    return evaluate(model, test).accuracy
