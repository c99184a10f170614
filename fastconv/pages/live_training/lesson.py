"""One network, and how far it has come in learning the digits."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from fastconv import functional, rng
from fastconv.datasets.transforms import random_shift
from fastconv.nn import CrossEntropyLoss, Module
from fastconv.optim import AdamW
from fastconv.pages.live_training.settings import RECIPE, Settings
from fastconv.training import predict
from fastconv.training.evaluation import count_correct
from fastconv.training.run import Run


@dataclass(frozen=True, slots=True)
class Look:
    """A copy of the network that nothing changes any more, and its logits (N, 10) of all test images."""

    model: Module
    logits: np.ndarray


class Lesson:
    """A network drawn from ``seed``, and the steps that teach it: the same seed and settings give the same numbers.

    ``losses`` and ``accuracies`` are those of every batch so far; ``tests`` are (step, loss, accuracy) of the test
    images, one for every ``look`` after new steps. Only one thread may use a lesson; a ``Look`` is for all.
    """

    def __init__(self, seed: int, settings: Settings):
        rng.manual_seed(seed)
        self.model = RECIPE.model()
        self._optimizer = AdamW(self.model.parameters(), lr=RECIPE.learning_rate, weight_decay=RECIPE.weight_decay)
        self._loss, self._augment = CrossEntropyLoss(), random_shift(RECIPE.shift)
        self._images, self._labels = RECIPE.load("train", None)
        self.test_images, self.test_labels = RECIPE.load("test", None)
        self.run = Run(self.model, self._optimizer, None, self._images.shape, settings.batch_size, seed)
        self.run.start()
        self.losses: list[float] = []
        self.accuracies: list[float] = []
        self.tests: list[tuple[int, float, float]] = []

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return len(self.losses)

    def step(self, settings: Settings) -> None:
        """Learn from the next batch."""
        run = self.run
        if run.position == 0:
            run.batch_size = settings.batch_size
        self._optimizer.param_groups[0]["lr"] = settings.learning_rate
        rows = run.next_rows()
        labels = self._labels[rows]
        self._optimizer.zero_grad()
        logits = self.model(self._augment(self._images[rows], run.shuffling))
        value = self._loss(logits, labels)
        value.backward()
        self._optimizer.step()
        loss, correct = value.item(), count_correct(logits.detach(), labels)
        run.commit(loss * len(rows), correct, 0.0)
        if run.position == run.batches:
            run.finish_epoch((None, None))
        self.losses.append(loss)
        self.accuracies.append(correct / len(rows))

    def look(self) -> Look:
        """The network as it is now, tested."""
        frozen = copy.deepcopy(self.model)
        frozen.eval()
        frozen.requires_grad_(False)
        logits = predict(frozen, self.test_images, batch_size=len(self.test_images))
        accuracy = float(np.mean(logits.argmax(axis=1) == self.test_labels))
        self.tests.append((self.steps, float(functional.cross_entropy(logits, self.test_labels)), accuracy))
        return Look(frozen, logits)
