"""Optimisers and learning-rate schedules, with torch's arithmetic, defaults and names."""

from fastconv.optim.adam import Adam, AdamW
from fastconv.optim.optimizer import Optimizer
from fastconv.optim.schedules import CosineAnnealingLR, LRScheduler, StepLR
from fastconv.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "CosineAnnealingLR", "LRScheduler", "Optimizer", "StepLR"]
