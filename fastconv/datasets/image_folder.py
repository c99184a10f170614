"""A folder of images, one sub-folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastconv import parameters
from fastconv.datasets.image_file import MAX_PIXELS, read_image
from fastconv.datasets.lazy_images import LazyImages, thread_count
from fastconv.datasets.transforms import preprocess
from fastconv.errors import FormatError

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_WHAT_TO_DO = ("raise", "skip")


class ImageFolder:
    """The images below ``folder``, of the class that their sub-folder is called after: data for ``fastconv.training``.

    Classes are the sub-folders in alphabetical order, or ``classes`` in the given one, of which some may be absent
    then; within a class files come in the order of their paths, from all depths. Counted are the usual suffixes; hidden
    files and folders are not. ``transform`` makes an array of each image (default: ``transforms.preprocess()``); they
    are decoded when they are needed. A damaged file is an error at that time, or, where ``damaged="skip"``, looked for
    now, by decoding all of them, and left out: ``skipped`` lists (path, reason).

    Raises FileNotFoundError where there is no class, or one without images, ValueError for a class that is not listed,
    FormatError or UnsafeFileError for damaged and dangerous files.

    >>> import tempfile
    >>> from fastconv.datasets.image_file import pillow
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("dog", "cat"):
    ...         os.mkdir(f"{folder}/{name}")
    ...         pillow().new("RGB", (300, 280)).save(f"{folder}/{name}/1.png")
    ...     data = ImageFolder(folder)
    ...     data.classes, data.labels.tolist(), data.images.shape
    (['cat', 'dog'], [0, 1], (2, 3, 224, 224))
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        transform: Callable[..., np.ndarray] | None = None,
        *,
        classes: Sequence[str] | None = None,
        damaged: str = "raise",
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        if damaged not in _WHAT_TO_DO:
            raise ValueError(f"damaged must be 'raise' or 'skip', got {damaged!r}")
        self.folder = os.fsdecode(folder)
        self.classes = _classes(self.folder, classes)
        found = [(path, label) for label, name in enumerate(self.classes) for path in _files(self.folder, name)]
        self.skipped: list[tuple[str, str]] = []
        if damaged == "skip":
            self.skipped = _damaged([path for path, _ in found], threads, max_pixels)
            bad = {path for path, _ in self.skipped}
            found = [(path, label) for path, label in found if path not in bad]
        _check_complete(self.folder, self.classes, {label for _, label in found}, classes is not None)
        self.labels = np.array([label for _, label in found], np.int64)
        transform = preprocess() if transform is None else transform
        self.images = LazyImages([path for path, _ in found], transform, threads=threads, max_pixels=max_pixels)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"ImageFolder({self.folder!r}: {len(self)} images of {len(self.classes)} classes)"

    def subset(self, rows) -> ImageFolder:
        """Those images alone, with all classes."""
        chosen = np.arange(len(self))[rows]
        part = object.__new__(ImageFolder)
        part.__dict__.update(self.__dict__, skipped=[], labels=self.labels[chosen])
        whole = self.images
        paths = [whole.paths[row] for row in chosen]
        part.images = LazyImages(paths, whole.transform, threads=whole.threads, max_pixels=whole.max_pixels)
        return part

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageFolder, ImageFolder]:
        """Two disjoint parts, of which the second has this fraction of every class, at least one and never all.

        The same seed gives the same parts. Raises ValueError for a fraction outside (0, 1) or a class of one image.
        """
        share = parameters.finite("fraction", fraction)
        if not 0 < share < 1:
            raise ValueError(f"fraction must lie between 0 and 1, got {share}")
        generator, chosen = np.random.default_rng(seed), np.zeros(len(self), bool)
        for label in np.unique(self.labels):
            rows = np.flatnonzero(self.labels == label)
            if len(rows) < 2:
                raise ValueError(f"class {self.classes[label]!r} has a single image, which cannot be in both parts")
            count = min(max(1, round(share * len(rows))), len(rows) - 1)
            chosen[generator.permutation(rows)[:count]] = True
        return self.subset(~chosen), self.subset(chosen)


def _classes(folder: str, wanted: Sequence[str] | None) -> list[str]:
    with os.scandir(folder) as entries:
        there = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not there:
        raise FileNotFoundError(f"{folder}: holds no folder; there must be one per class, named after it")
    if wanted is None:
        return there
    if isinstance(wanted, str) or len(set(wanted)) != len(wanted):
        raise ValueError(f"classes must be different names, got {wanted!r:.200}")
    if unknown := [name for name in there if name not in wanted]:
        raise ValueError(f"{folder}: {', '.join(unknown)} are not among the classes {', '.join(wanted)}")
    return list(wanted)


def _files(folder: str, name: str) -> list[str]:
    """The image files of a class, from all depths, links followed, each folder once."""
    found, seen = [], set()
    for place, folders, files in os.walk(os.path.join(folder, name), followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(child for child in folders if not child.startswith("."))
        found += [os.path.join(place, file) for file in _images(files)]
    return sorted(found)


def _images(files: list[str]) -> Iterator[str]:
    return (file for file in files if file.lower().endswith(SUFFIXES) and not file.startswith("."))


def _damaged(paths: list[str], threads: int | None, max_pixels: int) -> list[tuple[str, str]]:
    """Which of the files cannot be read, and why."""

    def reason(path: str) -> str:
        try:
            read_image(path, max_pixels)
        except (FormatError, OSError) as error:
            return str(error).removeprefix(f"{path}: ")
        return ""

    with ThreadPoolExecutor(thread_count(threads)) as pool:
        return [(path, why) for path, why in zip(paths, pool.map(reason, paths), strict=True) if why]


def _check_complete(folder: str, classes: list[str], labels: set[int], may_lack: bool) -> None:
    empty = [name for label, name in enumerate(classes) if label not in labels]
    if not labels or (empty and not may_lack):
        raise FileNotFoundError(
            f"{folder}: no images in {', '.join(empty)}; counted are files that end in {', '.join(SUFFIXES)}"
        )
