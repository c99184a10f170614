"""The training loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import arrays, parameters
from fastconv.datasets.transforms import Augmentation
from fastconv.nn import CrossEntropyLoss, Module
from fastconv.optim import Adam
from fastconv.training import checkpoint as checkpoints
from fastconv.training import progress as bars
from fastconv.training.data import AHEAD, Images, checked_pair, device_of, read
from fastconv.training.evaluation import count_correct, evaluate
from fastconv.training.history import Epoch, History
from fastconv.training.interrupts import NEVER, Interrupts
from fastconv.training.modes import mode
from fastconv.training.run import Run

# How much auxiliary classifiers count: C. Szegedy et al., "Going deeper with convolutions" (2014).
_AUXILIARY = 0.3


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
    """Train on ``data``, (images, labels) or a ``datasets.ImageFolder``, until ``epochs`` passes are done in all.

    Defaults: Adam, cross-entropy. ``scheduler`` steps and ``callback`` is called after every epoch; ``validation`` is
    such data, too; ``augment(images, generator)``, as in ``datasets.transforms``, changes every batch. ``seed``
    restarts the generator of ``fastconv.rng`` and fixes the order of the samples: the same seed gives the same numbers.
    Batches are copied to the device of the model's parameters. ``progress`` draws bars: None where tqdm is installed
    and stderr is a terminal. Of a model that gives several logits in training, as GoogLeNet does, the first count; the
    losses of the others, which are those of auxiliary classifiers, are added with a weight of 0.3.

    ``checkpoint``, an .npz path, is rewritten in one step every ``checkpoint_every`` epochs, at the end, and when
    Ctrl-C stops the run, after the current batch; KeyboardInterrupt is raised then. A second Ctrl-C does not wait for
    the batch, which is undone. ``resume`` continues from the file as if the run had never stopped, bit for bit.

    Raises TypeError, ValueError, ShapeError or DTypeError for bad arguments, FormatError, with nothing changed, for a
    checkpoint that is damaged or belongs to another run, FileNotFoundError where there is none.

    >>> from fastconv.nn import Flatten, Linear, Sequential
    >>> images = np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2)
    >>> history = fit(Sequential(Flatten(), Linear(4, 4)), (images, np.arange(4)), epochs=2, seed=0)
    >>> history[-1].loss < history[0].loss
    True
    """
    images, labels = checked_pair(data)
    job = _Job(
        images,
        labels,
        validation=None if validation is None else checked_pair(validation, "validation"),
        loss=CrossEntropyLoss() if loss is None else loss,
        augment=augment,
        epochs=parameters.positive_int("epochs", epochs),
        path=None if checkpoint is None else checkpoints.check_path(checkpoint),
        every=parameters.positive_int("checkpoint_every", checkpoint_every),
        shows_bars=bars.is_shown(progress),
        callback=callback,
    )
    size = parameters.positive_int("batch_size", batch_size)
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    seed = None if seed is None else parameters.integer("seed", seed)
    run = Run(model, optimizer, scheduler, images.shape, size, seed)
    with Interrupts() as interrupts, mode(model, training=True):
        _begin(job, run, parameters.flag("resume", resume), interrupts)
        _train(job, run, interrupts)
    return run.history


@dataclass(frozen=True, slots=True)
class _Job:
    """What does not change during a run."""

    images: Images
    labels: np.ndarray
    validation: tuple[Images, np.ndarray] | None
    loss: Callable
    augment: Augmentation | None
    epochs: int
    path: str | None
    every: int
    shows_bars: bool
    callback: Callable[[Epoch], Any] | None


def _begin(job: _Job, run: Run, resume: bool, interrupts: Interrupts) -> None:
    if resume and job.path is None:
        raise ValueError("resume=True needs a checkpoint to continue from")
    with interrupts.patient(NEVER):
        if resume and job.path is not None:
            checkpoints.restore(job.path, run)
        else:
            run.start()


def _train(job: _Job, run: Run, interrupts: Interrupts) -> None:
    """The epochs that are left; an interrupt leaves the run, and the checkpoint, at the last finished batch."""
    written = run.epoch, run.position
    try:
        while run.epoch < job.epochs:
            epoch = _train_epoch(job, run, interrupts)
            if job.path is not None and (run.epoch % job.every == 0 or run.epoch == job.epochs):
                with interrupts.patient(NEVER):
                    checkpoints.save(job.path, run)
                    written = run.epoch, run.position
            if job.callback is not None:
                job.callback(epoch)
    except KeyboardInterrupt:
        with interrupts.patient(NEVER):
            run.roll_back()
            if job.path is not None and (run.epoch, run.position) != written:
                checkpoints.save(job.path, run)
        raise


def _train_epoch(job: _Job, run: Run, interrupts: Interrupts) -> Epoch:
    """The batches that are left of one epoch, and its report."""
    title = f"epoch {run.epoch + 1}/{job.epochs}"
    with bars.bar(job.shows_bars, title, run.batches, run.position, stays=job.callback is None) as bar:
        while run.position < run.batches:
            with interrupts.patient(1):
                _train_batch(job, run, interrupts)
            bar.update()
        figures = (None, None) if job.validation is None else evaluate(run.model, job.validation, loss=job.loss)
        with interrupts.patient(NEVER):
            epoch = run.finish_epoch(figures)
        bar.set_postfix_str(_text(epoch))
    return epoch


def _train_batch(job: _Job, run: Run, interrupts: Interrupts) -> None:
    """One batch: done and committed, or without a trace once the run is rolled back."""
    began = time.perf_counter()
    rows = run.next_rows()
    images, labels = read(job.images, rows, run.coming_rows(AHEAD)), job.labels[rows]
    if job.augment is not None:
        images = job.augment(images, run.shuffling)
    run.optimizer.zero_grad()
    device = device_of(run.model)
    value, logits = _loss(job, run.model(arrays.moved(images, device)), arrays.moved(labels, device))
    value.backward()
    total, correct = value.item() * len(rows), count_correct(logits.detach(), labels)
    with interrupts.patient(NEVER):
        run.optimizer.step()
        run.commit(total, correct, time.perf_counter() - began)


def _loss(job: _Job, outputs, labels) -> tuple[Any, Any]:
    """The loss to lower, and the logits that count."""
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    value = job.loss(logits, labels)
    for others in auxiliary:
        if others is not None:
            value = value + job.loss(others, labels) * _AUXILIARY
    return value, logits


def _text(epoch: Epoch) -> str:
    text = f"loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}"
    if epoch.validation_accuracy is None:
        return text
    return f"{text}, validation {epoch.validation_loss:.4f}, {epoch.validation_accuracy:.2%}"
