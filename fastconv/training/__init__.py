"""Training, evaluation and prediction, with checkpoints that continue bit for bit, and from frozen features."""

from fastconv.datasets.transforms import random_shift
from fastconv.training.checkpoint import load_history, model_state
from fastconv.training.evaluation import Evaluation, evaluate, predict
from fastconv.training.features import features, split
from fastconv.training.finetuning import finetune
from fastconv.training.history import Epoch, History
from fastconv.training.loop import fit
from fastconv.training.network_files import load_network, save_network

__all__ = [
    "Epoch",
    "Evaluation",
    "History",
    "evaluate",
    "features",
    "finetune",
    "fit",
    "load_history",
    "load_network",
    "model_state",
    "predict",
    "random_shift",
    "save_network",
    "split",
]
