"""Checkpoints: one .npz file from which a training run continues bit for bit.

Arrays: ``model/<name>``, ``optimizer/<position>/<name>``, ``order``. All else is JSON in the metadata ``checkpoint``.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

import numpy as np

from fastconv import parameters, rng, weights
from fastconv.errors import FormatError
from fastconv.training.history import Epoch, History
from fastconv.training.run import Run

_KEY = "checkpoint"
_VERSION = 1
_DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)


def check_path(path: str | os.PathLike) -> str:
    """The path as a str; raises ValueError unless it ends in .npz, FileNotFoundError where the folder is absent."""
    name = os.fsdecode(path)
    if os.path.splitext(name)[1].lower() != ".npz":
        raise ValueError(f"a checkpoint is an .npz file, got {name!r}")
    folder = os.path.dirname(name) or "."
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"the folder {folder!r} for the checkpoint does not exist")
    return name


def save(path: str, run: Run) -> None:
    """Write the run as it was at the last finished batch; the old file stays until the new one is complete."""
    optimizer = run.optimizer.state_dict()
    arrays = {f"model/{name}": tensor.cpu().numpy() for name, tensor in run.model.state_dict().items()}
    numbers: dict[str, dict[str, Any]] = {}
    for position, kept in optimizer["state"].items():
        numbers[str(position)] = {name: item for name, item in kept.items() if not isinstance(item, np.ndarray)}
        arrays |= {f"optimizer/{position}/{name}": item for name, item in kept.items() if isinstance(item, np.ndarray)}
    if run.order is not None:
        arrays["order"] = run.order
    record = {
        "version": _VERSION,
        "shape": run.shape,
        "batch_size": run.batch_size,
        "seed": run.seed,
        "epoch": run.epoch,
        "position": run.position,
        "totals": [run.loss_sum, run.correct, run.seconds],
        "history": run.history.rows(),
        "generators": run.generators,
        "optimizer": [type(run.optimizer).__name__, optimizer["param_groups"], numbers],
        "scheduler": None if run.scheduler is None else [type(run.scheduler).__name__, run.scheduler.state_dict()],
    }
    weights.save(arrays, path, {_KEY: json.dumps(record, default=_plain)})


def model_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The model's part of a checkpoint, for ``load_state_dict``; raises FormatError or OSError."""
    _record(os.fsdecode(path))
    return _below("model/", weights.load(path))


def load_history(path: str | os.PathLike) -> History:
    """The epochs that a checkpoint's run has finished; raises FormatError or OSError."""
    name = os.fsdecode(path)
    try:
        return History([Epoch.of(row) for row in _record(name)["history"]])
    except _DAMAGE as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{name}: a damaged checkpoint: {error}") from error


def restore(path: str, run: Run) -> None:
    """Put the run where the checkpoint left it; raises FormatError or OSError, and changes nothing, where it cannot."""
    record, arrays = _record(path), weights.load(path)
    try:
        _check_same_run(record, run)
        epoch, position, order = _checked_position(record, arrays, run)
        loss_sum, correct, seconds = _checked_totals(record)
        epochs = [Epoch.of(row) for row in record["history"]]
        if [row.number for row in epochs] != list(range(1, epoch + 1)):
            raise ValueError(f"the history does not have the {epoch} epochs that are done")
        shuffling, process = (_generator(record["generators"][name]) for name in ("shuffling", "process"))
        _load_states(record, arrays, run)
    except FormatError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path}: a damaged checkpoint, or that of another run: {error}") from error
    run.epoch, run.position, run.order, run.seed = epoch, position, order, record["seed"]
    run.loss_sum, run.correct, run.seconds = loss_sum, correct, seconds
    run.history.epochs[:] = epochs
    run.shuffling = shuffling
    rng.set_state(process.bit_generator.state)
    run.mark()


def _record(path: str) -> dict[str, Any]:
    text = weights.load_metadata(path).get(_KEY)
    if text is None:
        raise FormatError(f"{path}: is not a checkpoint of a training run")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the checkpoint is not valid JSON ({error!s:.200})") from error
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        raise FormatError(f"{path}: not a checkpoint of version {_VERSION}")
    return record


def _check_same_run(record: dict[str, Any], run: Run) -> None:
    here = {"shape": list(run.shape), "batch_size": run.batch_size}
    if run.seed is not None:
        here["seed"] = run.seed
    for name, value in here.items():
        if record[name] != value:
            raise ValueError(f"{name} is {record[name]!r:.100} there and {value} here")
    if record["seed"] is not None:
        parameters.integer("seed", record["seed"])


def _checked_position(record, arrays, run: Run) -> tuple[int, int, np.ndarray | None]:
    epoch, position = (parameters.integer(name, record[name]) for name in ("epoch", "position"))
    if epoch < 0 or not 0 <= position <= run.batches:
        raise ValueError(f"epoch {epoch}, batch {position} of {run.batches} does not exist")
    order = arrays.get("order")
    if (order is None) != (position == 0):
        raise ValueError("the order of the samples must be there exactly after the first batch of an epoch")
    if order is not None and (order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(run.count))):
        raise ValueError(f"the order is no permutation of {run.count} samples")
    return epoch, position, order


def _checked_totals(record) -> tuple[float, int, float]:
    loss_sum, correct, seconds = record["totals"]
    if type(loss_sum) is not float or type(seconds) is not float or not math.isfinite(seconds):
        raise TypeError("the totals of the epoch are no numbers")
    return loss_sum, parameters.integer("correct", correct), seconds


def _generator(state: Any) -> np.random.Generator:
    generator = np.random.default_rng()
    generator.bit_generator.state = state
    return generator


def _load_states(record, arrays: dict[str, np.ndarray], run: Run) -> None:
    """Model, optimiser and schedule: all, or none where one of them refuses."""
    kind, groups, numbers = record["optimizer"]
    _check_kind("optimizer", kind, run.optimizer)
    state: dict[int, dict[str, Any]] = {int(position): dict(kept) for position, kept in numbers.items()}
    for name, array in _below("optimizer/", arrays).items():
        position, _, slot = name.partition("/")
        state.setdefault(int(position), {})[slot] = array
    if (record["scheduler"] is None) != (run.scheduler is None):
        raise ValueError("a schedule is here or there, but not in both")
    before = run.optimizer.state_dict(), run.scheduler and run.scheduler.state_dict()
    try:
        run.optimizer.load_state_dict({"state": state, "param_groups": groups})
        if run.scheduler is not None:
            kind, settings = record["scheduler"]
            _check_kind("scheduler", kind, run.scheduler)
            run.scheduler.load_state_dict(settings)
        run.model.load_state_dict(_below("model/", arrays))
    except BaseException:
        run.optimizer.load_state_dict(before[0])
        if run.scheduler is not None:
            run.scheduler.load_state_dict(before[1])
        raise


def _plain(item: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    return item.item()


def _check_kind(role: str, kind: Any, here: Any) -> None:
    if kind != type(here).__name__:
        raise ValueError(f"the {role} is {kind!r:.50} there and {type(here).__name__} here")


def _below(prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
