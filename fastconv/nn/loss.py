"""Losses as modules."""

from __future__ import annotations

import numpy as np

from fastconv import functional, parameters
from fastconv.autograd import Tensor, tensor
from fastconv.nn.module import Module


class CrossEntropyLoss(Module):
    """−log softmax(x)[target], weighted by class and averaged: ``functional.cross_entropy``.

    Shapes: logits (N, C) or (N, C, d1, ...) and integer classes (N,) or (N, d1, ...) -> (), or the shape of the classes
    with ``reduction="none"``. ``weight`` (C,) is a buffer. Bad arguments raise ValueError or ShapeError here.

    >>> loss = CrossEntropyLoss(label_smoothing=0.1)
    >>> round(loss(np.zeros((1, 4), np.float32), np.array([2])).item(), 4)
    1.3863
    """

    def __init__(self, weight=None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        super().__init__()
        self.register_buffer("weight", None if weight is None else tensor(weight))
        self.ignore_index = parameters.integer("ignore_index", ignore_index)
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        classes = 1 if weight is None else max(1, self.weight.numel())
        # The rules for the options are the function's: a dry run on one sample asks it.
        self.forward(np.zeros((1, classes), np.float32), np.zeros(1, np.int64))

    def forward(self, x, target) -> Tensor:
        """The loss of logits against classes."""
        return functional.cross_entropy(
            x,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
