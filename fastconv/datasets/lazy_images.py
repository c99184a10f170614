"""Images that stay in their files until they are needed, decoded by several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fastconv import parameters
from fastconv.datasets.image_file import MAX_PIXELS, read_image
from fastconv.errors import FastconvError, ShapeError

# More threads wait for one another: the outer loops of decoding are Python's.
_MOST_THREADS = 8


class LazyImages:
    """What training takes for an array (N, C, H, W) of images, but in files: ``images[rows]`` decodes those rows.

    ``transform`` makes an array (C, H, W) of each RGB image, always of the first one's shape and dtype; random numbers
    belong into the augmentation instead. Results do not depend on the number of ``threads`` (default: that of the
    cores, at most 8). At most the rows that are read and those that were announced are in memory. Raises ValueError
    without any path, TypeError, and for the first image, as for others when they are read, what ``read_image`` and the
    transform raise, with the path.

    >>> import tempfile
    >>> from fastconv.datasets.image_file import pillow
    >>> from fastconv.datasets.transforms import to_array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pillow().new("RGB", (4, 2), "red").save(f"{folder}/red.png")
    ...     images = LazyImages([f"{folder}/red.png"] * 3, to_array())
    ...     images.shape, images[[2, 0]][:, :, 0, 0].tolist()
    ((3, 3, 2, 4), [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike],
        transform: Callable[..., np.ndarray],
        *,
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ):
        self.paths = [os.fsdecode(path) for path in paths]
        self.transform = transform
        self.threads = thread_count(threads)
        self.max_pixels = parameters.positive_int("max_pixels", max_pixels)
        if not self.paths:
            raise ValueError("paths must name at least one image")
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="fastconv-images")
        self._pending: dict[bytes, list[Future]] = {}
        first = self._transformed(self.paths[0])
        self._image_shape, self.dtype = first.shape, first.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        return (len(self.paths), *self._image_shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows) -> np.ndarray:
        return self.read(rows) if np.ndim(np.arange(len(self))[rows]) else self.read([rows])[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """All of them, decoded."""
        if copy is False:
            raise ValueError("images in files cannot become an array without a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def read(self, rows, soon: Sequence = ()) -> np.ndarray:
        """The images of these rows, slices or integers; those that come ``soon`` are decoded meanwhile, in order.

        What an earlier call announced and this one no longer does is given up, and everything where an image cannot be
        read.
        """
        parts = [np.atleast_1d(np.arange(len(self))[part]) for part in (rows, *soon)]
        before, self._pending = self._pending, {}
        for part in parts:
            key = part.tobytes()
            if key not in self._pending:
                self._pending[key] = before.pop(key) if key in before else self._started(part)
        for futures in before.values():
            _give_up(futures)
        current = self._pending.pop(parts[0].tobytes())
        try:
            images = [future.result() for future in current]
        except BaseException:  # Ctrl-C, too, wants no more images
            _give_up(current)
            self.forget()
            raise
        return np.stack(images) if images else np.empty((0, *self._image_shape), self.dtype)

    def forget(self) -> None:
        """Give up what was announced."""
        for futures in self._pending.values():
            _give_up(futures)
        self._pending = {}

    def _started(self, rows: np.ndarray) -> list[Future]:
        return [self._pool.submit(self._decoded, self.paths[row]) for row in rows]

    def _decoded(self, path: str) -> np.ndarray:
        array = self._transformed(path)
        if (array.shape, array.dtype) != (self._image_shape, self.dtype):
            raise ShapeError(
                f"{path}: becomes {array.dtype} of shape {array.shape}, the first image {self.dtype} of shape "
                f"{self._image_shape}; the transform must make all of them alike"
            )
        return array

    def _transformed(self, path: str) -> np.ndarray:
        image = read_image(path, self.max_pixels)
        try:
            return self.transform(image)
        except FastconvError as error:
            raise type(error)(f"{path}: {error}") from error


def thread_count(wanted: int | None) -> int:
    """How many threads decode: as many as asked for, or those of the cores."""
    if wanted is None:
        return min(_MOST_THREADS, os.cpu_count() or 1)
    return parameters.positive_int("threads", wanted)


def _give_up(futures: list[Future]) -> None:
    for future in futures:
        future.cancel()
