"""What the page is told, in JSON; large arrays as bytes in base64."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastconv import functional
from fastconv.autograd import no_grad, tensor
from fastconv.datasets import load_digits
from fastconv.nn import Module
from fastconv.pages.live_training.settings import OFFERS
from fastconv.pages.live_training.trainer import Snapshot, Trainer

# Modules of the network whose results are shown.
LAYERS = ("relu1", "relu2", "pool", "relu3")
_PER_CLASS = 2


class Digits(NamedTuple):
    """The test images float32 (N, 1, 8, 8) with their labels, and ``rows``, those that the page shows."""

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


@cache
def digits() -> Digits:
    """The first two of every digit are shown."""
    images, labels = load_digits("test")
    return Digits(images, labels, np.concatenate([np.flatnonzero(labels == n)[:_PER_CLASS] for n in range(10)]))


def about(trainer: Trainer) -> dict[str, Any]:
    """What does not change while the server runs."""
    images, labels, rows = digits()
    return {
        "seed": trainer.seed,
        "epochs": trainer.epochs,
        "offers": OFFERS,
        "tested": len(labels),
        "digits": [{"label": int(labels[row]), "image": _bytes(images[row] * 255)} for row in rows],
    }


def update(snapshot: Snapshot, number: int, before: Snapshot | None) -> dict[str, Any]:
    """What is new since another snapshot; activations are those of the shown digit ``number``."""
    known = before if before is not None and before.lesson == snapshot.lesson else None
    step, tests = (known.step, len(known.tests)) if known else (0, 0)
    images, labels, rows = digits()
    logits = snapshot.look.logits
    return {
        **state(snapshot),
        "digit": number,
        "begin": {"steps": step, "tests": tests},
        "losses": _rounded(snapshot.losses[step:]),
        "accuracies": _rounded(snapshot.accuracies[step:]),
        "tests": [_rounded(test) for test in snapshot.tests[tests:]],
        "right": int(np.count_nonzero(logits.argmax(axis=1) == labels)),
        "filters": _filters(snapshot.look.model),
        "probabilities": [_rounded(line) for line in functional.softmax(logits[rows], 1)],
        "layers": _activations(snapshot.look.model, images[rows[number], None])[1],
    }


def state(snapshot: Snapshot) -> dict[str, Any]:
    """Where the training stands."""
    names = ("lesson", "status", "reason", "step", "epoch", "batch", "batches")
    return {
        **{name: getattr(snapshot, name) for name in names},
        "seconds": round(snapshot.seconds, 2),
        "settings": asdict(snapshot.settings),
    }


def prediction(snapshot: Snapshot, image: np.ndarray) -> dict[str, Any]:
    """What the network makes of an image float32 (1, 1, 8, 8)."""
    logits, layers = _activations(snapshot.look.model, image)
    return {
        "lesson": snapshot.lesson,
        "step": snapshot.step,
        "image": _bytes(image * 255),
        "probabilities": _rounded(functional.softmax(logits, 1)[0]),
        "layers": layers,
    }


def event(name: str, message: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"event: {name}\ndata: {json.dumps(message, allow_nan=False, separators=(',', ':'))}\n\n"


def _activations(model: Module, image: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """The logits (1, 10) of one image, and what the layers that are shown make of it, as bytes of their peak."""
    layers, x = {}, tensor(image)
    with no_grad():
        for name, module in model.named_children():
            x = module(x)
            if name in LAYERS:
                maps = np.nan_to_num(x.numpy()[0])
                peak = max(float(maps.max()), 1e-9)
                layers[name] = {"maps": maps.shape[0], "peak": _number(peak), "values": _bytes(maps * (255 / peak))}
    return x.numpy(), layers


def _filters(model: Module) -> dict[str, Any]:
    """The first layer's weights: bytes around 128, which is 0."""
    weight = np.nan_to_num(model.state_dict()["conv1.weight"].numpy())
    peak = max(float(np.abs(weight).max()), 1e-9)
    return {"maps": len(weight), "peak": _number(peak), "values": _bytes(128 + weight * (127 / peak))}


def _bytes(values: np.ndarray) -> str:
    return base64.b64encode(np.clip(np.rint(values), 0, 255).astype(np.uint8).tobytes()).decode()


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    """With five digits behind the point; None where JSON has no word for it."""
    return round(float(value), 5) if math.isfinite(value) else None
