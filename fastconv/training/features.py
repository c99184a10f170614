"""The frozen part of a network runs once: what it makes of the images is kept, and the rest is trained on that."""

from __future__ import annotations

import copy
import errno
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from fastconv import arrays, memory, parameters
from fastconv.autograd import no_grad
from fastconv.datasets.transforms import Augmentation
from fastconv.errors import UnsupportedError
from fastconv.nn import Identity, Module, Sequential, head_names
from fastconv.training import progress as bars
from fastconv.training.data import batches, checked_pair, device_of
from fastconv.training.modes import mode


def split(model: Module) -> tuple[Module, Module]:
    """The part at the beginning that ``nn.freeze`` has frozen, and the rest; both hold the model's own layers.

    ``rest(frozen(x))`` is ``model(x)``, and training the rest trains the model. Raises ValueError where nothing at the
    beginning is frozen, or everything is, UnsupportedError for a model that is no chain of ``nn.Sequential`` up to
    there: which of its layers reads what, nobody knows. Of GoogLeNet and Inception v3 the head can be split off.

    >>> from fastconv.nn import Conv2d, Flatten, Linear, freeze
    >>> net = freeze(Sequential({"conv": Conv2d(1, 4, 3), "flatten": Flatten(), "fc": Linear(4, 2)}), "flatten")
    >>> [list(dict(part.named_children())) for part in split(net)]
    [['conv', 'flatten'], ['fc']]
    """
    if not _is_chain(model):
        return _before_head(model)
    frozen, rest = _parted(model)
    if not frozen:
        raise ValueError("nothing at the beginning of the model is frozen: fastconv.nn.freeze does that")
    if not rest:
        raise ValueError("the whole model is frozen: nothing is left to train")
    return Sequential(frozen), Sequential(rest)


def features(
    frozen: Module,
    data,
    *,
    batch_size: int = 64,
    augment: Augmentation | None = None,
    passes: int = 1,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    max_bytes: int | None = None,
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """``data`` for the rest of a network: (features, labels), what ``frozen`` makes of the images, in evaluation mode.

    ``data`` is (images, labels) or an ImageFolder. With ``augment``, ``passes`` versions of every image are drawn, from
    ``seed``, one after the other. The features are in memory, of which they may take half of what is left, or, with a
    ``folder``, in a file there that has no name and goes with the array; ``max_bytes`` sets another limit. Raises
    MemoryError, or OSError for a folder, with both numbers where they would not fit, before more than one batch is
    computed; ShapeError, DTypeError, TypeError or ValueError.

    >>> from fastconv.nn import Flatten
    >>> kept, labels = features(Flatten(), (np.ones((5, 1, 2, 2), np.float32), np.arange(5)))
    >>> kept.shape, labels.tolist()
    ((5, 4), [0, 1, 2, 3, 4])
    """
    images, labels = checked_pair(data)
    size, count = parameters.positive_int("batch_size", batch_size), parameters.positive_int("passes", passes)
    if augment is None and count > 1:
        raise ValueError(f"passes={count} needs an augment: without one all of them are the same")
    limit = None if max_bytes is None else parameters.positive_int("max_bytes", max_bytes)
    total = count * -(-len(images) // size)
    with (
        mode(frozen, training=False),
        no_grad(),
        bars.bar(bars.is_shown(progress), "features", total, 0, stays=False) as bar,
    ):
        results = _results(frozen, images, size, augment, count, seed)
        first = next(results)
        kept, begin = _room(count * len(images), first, folder, limit), 0
        for out in itertools.chain([first], results):
            kept[begin : begin + len(out)] = out
            begin += len(out)
            bar.update()
    return kept, np.tile(labels, count)


def _results(frozen: Module, images, size: int, augment, passes: int, seed: int) -> Iterator[np.ndarray]:
    generator, device = np.random.default_rng(seed), device_of(frozen)
    for _ in range(passes):
        for _, batch in batches(images, size):
            varied = batch if augment is None else augment(batch, generator)
            yield frozen(arrays.moved(varied, device)).cpu().numpy()


def _before_head(model: Module) -> tuple[Module, Module]:
    """A network of this package that ends with its head, which alone is trained: a copy that lacks it, and the head."""
    children = dict(model.named_children())
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    heads = head_names(model) if children else [""]
    is_alone = model._frozen and all(name.rpartition(".")[0] in heads for name in trained)
    if not (is_alone and type(model).__module__.startswith("fastconv.") and list(children)[-1:] == heads[:1]):
        raise UnsupportedError(
            f"{type(model).__name__} is no chain of layers that could be cut in two; train it as a whole"
        )
    trunk = copy.copy(model)
    trunk.__dict__["_modules"] = {**model._modules, heads[0]: Identity()}
    return trunk, children[heads[0]]


def _is_chain(module: Module) -> bool:
    return isinstance(module, Sequential) and type(module).forward is Sequential.forward


def _is_frozen(module: Module) -> bool:
    """Whether training leaves it as it is: parameters of frozen layers may have been asked for gradients again."""
    return all(part._frozen for part in module.modules()) and not any(p.requires_grad for p in module.parameters())


def _parted(chain: Module) -> tuple[dict[str, Module], dict[str, Module]]:
    """The children up to the first layer that is not frozen, and the others; a chain may be cut inside."""
    frozen: dict[str, Module] = {}
    rest: dict[str, Module] = {}
    for name, module in chain.named_children():
        if rest:
            rest[name] = module
        elif _is_frozen(module):
            frozen[name] = module
        elif not _is_chain(module):
            rest[name] = module
        else:
            before, behind = _parted(module)
            frozen |= {name: Sequential(before)} if before else {}
            rest |= {name: Sequential(behind)} if behind else {}
    return frozen, rest


def _room(count: int, batch: np.ndarray, folder: str | os.PathLike | None, limit: int | None) -> np.ndarray:
    """An array for the results of so many images, in the memory format of this batch of them."""
    layout = arrays.memory_format(batch) if batch.ndim == 4 else arrays.CONTIGUOUS
    stored = batch.transpose(0, 2, 3, 1) if layout == arrays.CHANNELS_LAST else batch
    shape = (count, *stored.shape[1:])
    nbytes = math.prod(shape) * batch.dtype.itemsize
    if folder is None:
        _check_memory(nbytes, limit)
        room = np.empty(shape, batch.dtype)
    else:
        room = _mapped(os.fsdecode(folder), shape, batch.dtype, nbytes, limit)
    return room.transpose(0, 3, 1, 2) if layout == arrays.CHANNELS_LAST else room


def _check_memory(nbytes: int, limit: int | None) -> None:
    left = memory.available_bytes()
    most = limit if limit is not None or left is None else left // 2
    if most is not None and nbytes > most:
        raise MemoryError(
            f"the features need {nbytes:,} bytes, above the limit of {most:,}; folder= keeps them in a file, "
            "max_bytes= sets another limit"
        )


def _mapped(folder: str, shape: tuple[int, ...], dtype: np.dtype, nbytes: int, limit: int | None) -> np.ndarray:
    most = shutil.disk_usage(folder).free if limit is None else limit
    if nbytes > most:
        raise OSError(errno.ENOSPC, f"the features need {nbytes:,} bytes, above the limit of {most:,}", folder)
    with tempfile.TemporaryFile(dir=folder, prefix="fastconv-features-") as file:
        if hasattr(os, "posix_fallocate"):
            # A write to a page of a sparse file for which there is no room would kill the process.
            os.posix_fallocate(file.fileno(), 0, nbytes)
        return np.memmap(file, dtype, "r+" if hasattr(os, "posix_fallocate") else "w+", shape=shape).view(np.ndarray)
