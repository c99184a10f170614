"""Training what is not frozen of a network, by the shortest way."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from fastconv import parameters
from fastconv.datasets.transforms import Augmentation
from fastconv.errors import UnsupportedError
from fastconv.nn import Module
from fastconv.optim import AdamW, CosineAnnealingLR
from fastconv.training.features import features, split
from fastconv.training.history import Epoch, History
from fastconv.training.loop import fit


def finetune(
    model: Module,
    data,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    validation=None,
    augment: Augmentation | None = None,
    passes: int | None = None,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    progress: bool | None = None,
    callback: Callable[[Epoch], Any] | None = None,
) -> History:
    """Train the layers that ``nn.freeze`` left, with AdamW and one cosine of the learning rate over all epochs.

    The frozen part runs once, and its ``features`` are kept, in memory or in the ``folder``, where every epoch would
    see the same: without ``augment``, or with so many ``passes`` of it, of which each epoch sees all. Otherwise, and
    for models that cannot be ``split``, it runs in every epoch. ``data`` and ``validation`` are (images, labels) or an
    ImageFolder. Raises what ``features`` and ``fit`` raise, ValueError where nothing is left to train.

    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.freeze(nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(4, 4)}), "flatten")
    >>> data = np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2), np.arange(4)
    >>> history = finetune(net, data, epochs=2, progress=False)
    >>> history[-1].loss < history[0].loss
    True
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("the whole model is frozen: nothing is left to train")
    if passes is not None and augment is None:
        raise ValueError("passes needs an augment: without one all of them are the same")
    count = parameters.positive_int("epochs", epochs)
    frozen, rest = _parts(model) if augment is None or passes is not None else (None, model)
    if frozen is not None:
        made = partial(features, frozen, batch_size=batch_size, folder=folder, progress=progress)
        data = made(data, augment=augment, passes=1 if passes is None else passes, seed=seed)
        validation = None if validation is None else made(validation)
        augment = None
    optimizer = AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    return fit(
        rest,
        data,
        epochs=count,
        batch_size=batch_size,
        optimizer=optimizer,
        scheduler=CosineAnnealingLR(optimizer, T_max=count),
        validation=validation,
        seed=seed,
        augment=augment,
        progress=progress,
        callback=callback,
    )


def _parts(model: Module) -> tuple[Module | None, Module]:
    """What need run but once, if anything, and the rest."""
    try:
        return split(model)
    except (UnsupportedError, ValueError):
        return None, model
