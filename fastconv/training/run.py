"""Where a training run stands: all that must be known to continue it as if it had never stopped."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv import rng
from fastconv.autograd import tensor
from fastconv.nn import Module
from fastconv.training.history import Epoch, History


class Run:
    """The model, what trains it, and the position: ``position`` batches of epoch number ``epoch`` are done.

    The position moves in ``commit`` and ``finish_epoch`` only; ``roll_back`` undoes what an unfinished batch did to the
    random generators and to the model's buffers.
    """

    def __init__(self, model: Module, optimizer: Any, scheduler: Any, shape: tuple[int, ...], batch_size: int, seed):
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.shape, self.batch_size, self.seed = shape, batch_size, seed
        self.history = History()
        self.epoch = self.position = 0
        self.order: np.ndarray | None = None
        self.loss_sum, self.correct, self.seconds = 0.0, 0, 0.0
        self.shuffling = np.random.default_rng(0)
        self.mark()

    def start(self) -> None:
        """Seed the generators: for a seed the process's, too; without one, shuffling follows the process's."""
        if self.seed is None:
            self.shuffling = np.random.default_rng(rng.generator().integers(2**63))
        else:
            process, shuffling = np.random.SeedSequence(self.seed).spawn(2)
            rng.set_state(np.random.default_rng(process).bit_generator.state)
            self.shuffling = np.random.default_rng(shuffling)
        self.mark()

    @property
    def count(self) -> int:
        """The number of training samples."""
        return self.shape[0]

    @property
    def batches(self) -> int:
        """The number of batches of one epoch."""
        return -(-self.count // self.batch_size)

    def next_rows(self) -> np.ndarray:
        """The samples of the next batch; draws the order of the epoch first where it begins."""
        if self.order is None:
            self.order = self.shuffling.permutation(self.count)
        return self._rows(self.order, self.position)

    def coming_rows(self, count: int) -> list[np.ndarray]:
        """The samples of so many batches behind the next one, as far as the epoch has them."""
        ahead = range(self.position + 1, min(self.position + 1 + count, self.batches))
        return [] if self.order is None else [self._rows(self.order, position) for position in ahead]

    def _rows(self, order: np.ndarray, position: int) -> np.ndarray:
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def commit(self, loss: float, correct: int, seconds: float) -> None:
        """One more batch is done."""
        self.loss_sum += loss
        self.correct += correct
        self.seconds += seconds
        self.position += 1
        self.mark()

    def finish_epoch(self, validation: tuple[float, float] | tuple[None, None]) -> Epoch:
        """Go on to the next epoch; returns the report on this one."""
        rate = float(self.optimizer.param_groups[0]["lr"])
        figures = (self.loss_sum / self.count, self.correct / self.count, rate, *validation, self.seconds)
        self.history.epochs.append(Epoch(self.epoch + 1, *figures))
        if self.scheduler is not None:
            self.scheduler.step()
        self.epoch += 1
        self.position, self.order = 0, None
        self.loss_sum, self.correct, self.seconds = 0.0, 0, 0.0
        self.mark()
        return self.history[-1]

    def mark(self) -> None:
        """Remember the generators and the buffers as they are now."""
        self.generators = {"process": rng.get_state(), "shuffling": self.shuffling.bit_generator.state}
        self.buffers = [tensor(buffer) for buffer in self.model.buffers()]

    def roll_back(self) -> None:
        """Return to what ``mark`` remembered."""
        rng.set_state(self.generators["process"])
        self.shuffling.bit_generator.state = self.generators["shuffling"]
        for buffer, values in zip(self.model.buffers(), self.buffers, strict=True):
            buffer.copy_(values)
        if self.position == 0:
            self.order = None
