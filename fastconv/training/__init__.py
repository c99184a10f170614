"""Training, evaluation and prediction on arrays, with checkpoints that continue bit for bit."""

from fastconv.datasets.transforms import random_shift
from fastconv.training.checkpoint import model_state
from fastconv.training.evaluation import Evaluation, evaluate, predict
from fastconv.training.history import Epoch, History
from fastconv.training.loop import fit

__all__ = ["Epoch", "Evaluation", "History", "evaluate", "fit", "model_state", "predict", "random_shift"]
