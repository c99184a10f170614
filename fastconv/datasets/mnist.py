"""MNIST: 70,000 handwritten digits, 28×28, in the IDX format.

The images are by Y. LeCun, C. Cortes and C. Burges, made from NIST's databases.
"""

import os

import numpy as np

from fastconv.datasets.idx import read_idx
from fastconv.datasets.images import check_labels, check_split, scaled
from fastconv.errors import FormatError
from fastconv.files.cache import dataset_folder, fetch
from fastconv.files.remote import RemoteFile

_MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")


def _remote(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(name, size, sha256, tuple(mirror + name for mirror in _MIRRORS))


FILES = {
    "train": (
        _remote(
            "train-images-idx3-ubyte.gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        _remote(
            "train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
    ),
    "test": (
        _remote(
            "t10k-images-idx3-ubyte.gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        _remote("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
}


def load_mnist(
    split: str = "train", root: str | os.PathLike | None = None, download: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, 1, 28, 28) in 0..1 and labels int64 (N,) of MNIST: 60,000 for "train", 10,000 for "test".

    The two `.gz` files are read from the folder `root` (default: `datasets/mnist` in FASTCONV_HOME) and fetched
    into it once if `download` is true; their SHA-256 is checked at every load.

    Raises ValueError for another split, DataUnavailableError (a FileNotFoundError) when a file is absent and cannot
    be fetched, FormatError when a file is damaged.
    """
    check_split(split, tuple(FILES))
    folder = dataset_folder("mnist", root)
    images_path, labels_path = (fetch(remote, folder, download) for remote in FILES[split])
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise FormatError(f"{images_path}: expected uint8 images (N, 28, 28), got {images.dtype} {images.shape}")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise FormatError(
            f"{labels_path}: expected {len(images)} uint8 labels, one per image, got {labels.dtype} {labels.shape}"
        )
    check_labels(labels, labels_path)
    return scaled(images[:, None], 255), labels.astype(np.int64)
