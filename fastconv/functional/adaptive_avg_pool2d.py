"""Two-dimensional adaptive average-pooling: the windows of average-pooling where they are of any sizes."""

from __future__ import annotations

from fastconv.functional.avg_pool2d import AvgPool2d
from fastconv.geometry import Pool2dGeometry


def adaptive_avg_pool2d(x, output_size, *, backend: str | None = None):
    """Average the inputs of each of ``output_size`` = OH or (OH, OW) parts of the plane; None keeps the size.

    Output (oh, ow) is the mean of rows floor(oh·H / OH) .. ceil((oh + 1)·H / OH) − 1 and of the same columns.

    Shapes: (N, C, H, W) -> (N, C, OH, OW); (C, H, W) -> (C, OH, OW). Raises ShapeError, ValueError or TypeError.

    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.arange(15.0).reshape(1, 1, 3, 5), (1, 2))[0, 0].tolist()
    [[6.0, 8.0]]
    """
    settings = [adaptive_avg_pool2d.__name__, Pool2dGeometry.adaptive, [output_size], (False, None), backend]
    return AvgPool2d.apply(x, settings)
