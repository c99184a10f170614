"""CIFAR-10: 60,000 colour images of ten classes, 32×32, in its binary and in its Python version.

By A. Krizhevsky, V. Nair and G. Hinton: "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import os

import numpy as np

from fastconv.datasets.archive import MAX_BYTES, read_members
from fastconv.datasets.images import check_labels, check_split, scaled
from fastconv.errors import FormatError
from fastconv.files.cache import dataset_folder, fetch
from fastconv.files.remote import RemoteFile

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY = RemoteFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
PYTHON = RemoteFile(
    "cifar-10-python.tar.gz",
    170_498_071,
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
)
_BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_PIXELS = 3 * 32 * 32

Arrays = tuple[np.ndarray, np.ndarray]


def load_cifar10(split: str = "train", root: str | os.PathLike | None = None, download: bool = True) -> Arrays:
    """Images float32 (N, 3, 32, 32) in 0..1 and labels int64 (N,) of CIFAR-10: 50,000 for "train", 10,000 for "test".

    The archive `cifar-10-binary.tar.gz`, or `cifar-10-python.tar.gz` if only that one is there, is read from the
    folder `root` (default: `datasets/cifar10` in FASTCONV_HOME); the binary one is fetched into it once if neither is
    there and `download` is true. Its SHA-256 is checked at every load; pickles are never executed.

    Raises ValueError for another split, DataUnavailableError (a FileNotFoundError) when the archive is absent and
    cannot be fetched, FormatError when it is damaged.
    """
    check_split(split, tuple(_BATCHES))
    folder = dataset_folder("cifar10", root)
    if (folder / PYTHON.name).is_file() and not os.path.lexists(folder / BINARY.name):
        images, labels = read_python_archive(fetch(PYTHON, folder, download), split)
    else:
        images, labels = read_binary_archive(fetch(BINARY, folder, download), split)
    return scaled(images, 255), labels.astype(np.int64)


def read_binary_archive(path: str | os.PathLike, split: str, max_bytes: int = MAX_BYTES) -> Arrays:
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,) from the binary version, `cifar-10-binary.tar.gz`.

    Raises FormatError for a damaged or foreign archive, UnsafeFileError for one that holds links or unpacks to more
    than `max_bytes`.
    """
    check_split(split, tuple(_BATCHES))
    names = [f"cifar-10-batches-bin/{batch}.bin" for batch in _BATCHES[split]]
    members = read_members(path, names, max_bytes)
    return _joined([_read_records(members[name], f"{path}/{name}") for name in names])


def read_python_archive(path: str | os.PathLike, split: str, max_bytes: int = MAX_BYTES) -> Arrays:
    """Images uint8 (N, 3, 32, 32) and labels uint8 (N,) from the Python version, `cifar-10-python.tar.gz`.

    The pickles in it are read by an interpreter that knows nothing but such batches.

    Raises FormatError for a damaged or foreign archive, UnsafeFileError for one that holds links, unpacks to more
    than `max_bytes` or whose pickles ask for anything else.
    """
    from fastconv.datasets.pickled_batch import read_batch

    check_split(split, tuple(_BATCHES))
    names = [f"cifar-10-batches-py/{batch}" for batch in _BATCHES[split]]
    members = read_members(path, names, max_bytes)
    return _joined([read_batch(members[name], f"{path}/{name}") for name in names])


def _read_records(content: bytes, where: str) -> Arrays:
    """The records of one binary batch: a label byte, then 3,072 pixels in (C, H, W) order."""
    if not content or len(content) % (1 + _PIXELS):
        raise FormatError(f"{where}: {len(content)} bytes are no positive multiple of a record's {1 + _PIXELS}")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    check_labels(records[:, 0], where)
    return records[:, 1:], records[:, 0]


def _joined(batches: list[Arrays]) -> Arrays:
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images).reshape(-1, 3, 32, 32), np.concatenate(labels)
