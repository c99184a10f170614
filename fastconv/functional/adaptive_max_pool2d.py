"""Two-dimensional adaptive max-pooling: the windows of max-pooling where they are of any sizes."""

from __future__ import annotations

from fastconv.functional.max_pool2d import MaxPool2d
from fastconv.geometry import Pool2dGeometry
from fastconv.parameters import flag


def adaptive_max_pool2d(x, output_size, return_indices=False, *, backend: str | None = None):
    """Take the largest input of each of ``output_size`` = OH or (OH, OW) parts of the plane; None keeps the size.

    Output (oh, ow) has rows floor(oh·H / OH) .. ceil((oh + 1)·H / OH) − 1 and the same columns. ``return_indices`` adds
    the int64 positions of the winners in the flattened (H, W) plane. NaN wins (the last), else the first.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> adaptive_max_pool2d(np.arange(15.0).reshape(1, 1, 3, 5), (1, 2))[0, 0].tolist()
    [[12.0, 14.0]]
    """
    wants = flag("return_indices", return_indices)
    settings = [adaptive_max_pool2d.__name__, Pool2dGeometry.adaptive, [output_size], wants, None, backend]
    return MaxPool2d.apply(x, settings)
