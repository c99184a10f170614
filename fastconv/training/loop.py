"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from fastconv import parameters
from fastconv.nn import CrossEntropyLoss, Module
from fastconv.optim import Adam
from fastconv.training import checkpoint as checkpoints
from fastconv.training import progress as bars
from fastconv.training.augmentation import Augmentation
from fastconv.training.data import checked_pair
from fastconv.training.evaluation import count_correct, evaluate
from fastconv.training.history import Epoch, History
from fastconv.training.interrupts import NEVER, Interrupts
from fastconv.training.modes import mode
from fastconv.training.run import Run


def fit(
    model: Module,
    data,
    *,
    epochs: int,
    batch_size: int = 64,
    optimizer=None,
    loss=None,
    scheduler=None,
    validation=None,
    seed: int | None = None,
    augment: Augmentation | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    progress: bool | None = None,
    callback: Callable[[Epoch], Any] | None = None,
) -> History:
    """Train on ``data``, a pair (images, labels), until ``epochs`` passes over it are done in all.

    Defaults: Adam, cross-entropy. ``scheduler`` steps and ``callback`` is called after every epoch; ``validation`` is a
    pair, too; ``augment(images, generator)`` changes every batch. ``seed`` restarts the generator of ``fastconv.rng``
    and fixes the order of the samples: the same seed gives the same numbers. ``progress`` draws bars: None where tqdm
    is installed and stderr is a terminal.

    ``checkpoint``, an .npz path, is rewritten in one step every ``checkpoint_every`` epochs, at the end, and when
    Ctrl-C stops the run, after the current batch; KeyboardInterrupt is raised then. A second Ctrl-C does not wait for
    the batch, which is undone. ``resume`` continues from the file as if the run had never stopped, bit for bit.

    Raises TypeError, ValueError, ShapeError or DTypeError for bad arguments, FormatError, with nothing changed, for a
    checkpoint that is damaged or belongs to another run, FileNotFoundError where there is none.

    >>> import numpy as np
    >>> from fastconv.nn import Flatten, Linear, Sequential
    >>> images = np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2)
    >>> history = fit(Sequential(Flatten(), Linear(4, 4)), (images, np.arange(4)), epochs=2, seed=0)
    >>> len(history), history[-1].loss < history[0].loss
    (2, True)
    """
    images, labels = checked_pair(data)
    held_out = None if validation is None else checked_pair(validation, "validation")
    epochs, size, every = _checked_counts(epochs, batch_size, checkpoint_every)
    path = None if checkpoint is None else checkpoints.check_path(checkpoint)
    shown = bars.is_shown(progress)
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    loss = CrossEntropyLoss() if loss is None else loss
    if parameters.flag("resume", resume) and path is None:
        raise ValueError("resume=True needs a checkpoint to continue from")
    run = Run(model, optimizer, scheduler, images.shape, size, seed)
    with Interrupts() as interrupts, mode(model, training=True):
        with interrupts.patient(NEVER):
            if resume and path is not None:
                checkpoints.restore(path, run)
            else:
                run.start()
        start = (run.epoch, run.position)
        try:
            while run.epoch < epochs:
                title = f"epoch {run.epoch + 1}/{epochs}"
                with bars.bar(shown, title, run.batches, run.position, stays=callback is None) as bar:
                    _train(run, images, labels, loss, augment, interrupts, bar)
                    result = (None, None) if held_out is None else evaluate(model, held_out, loss=loss)
                    with interrupts.patient(NEVER):
                        epoch = run.finish_epoch(result)
                    bar.set_postfix_str(_figures(epoch))
                if path is not None and (run.epoch % every == 0 or run.epoch == epochs):
                    with interrupts.patient(NEVER):
                        checkpoints.save(path, run)
                if callback is not None:
                    callback(epoch)
        except KeyboardInterrupt:
            with interrupts.patient(NEVER):
                run.roll_back()
                if path is not None and (run.epoch, run.position) != start:
                    checkpoints.save(path, run)
            raise
    return run.history


def _train(run: Run, images, labels, loss, augment, interrupts: Interrupts, bar) -> None:
    """The batches that are left of this epoch; each is done and committed, or leaves no trace."""
    while run.position < run.batches:
        with interrupts.patient(1):
            began = time.perf_counter()
            rows = run.next_rows()
            batch, classes = images[rows], labels[rows]
            if augment is not None:
                batch = augment(batch, run.shuffling)
            run.optimizer.zero_grad()
            logits = run.model(batch)
            value = loss(logits, classes)
            value.backward()
            total, correct = value.item() * len(rows), count_correct(logits.numpy(), classes)
            with interrupts.patient(NEVER):
                run.optimizer.step()
                run.commit(total, correct, time.perf_counter() - began)
        bar.update()


def _checked_counts(epochs, batch_size, checkpoint_every) -> tuple[int, int, int]:
    return (
        parameters.positive_int("epochs", epochs),
        parameters.positive_int("batch_size", batch_size),
        parameters.positive_int("checkpoint_every", checkpoint_every),
    )


def _figures(epoch: Epoch) -> str:
    text = f"loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}"
    if epoch.validation_accuracy is None:
        return text
    return f"{text}, validation {epoch.validation_loss:.4f}, {epoch.validation_accuracy:.2%}"
