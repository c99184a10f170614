"""A checked pooling, ordinary or adaptive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastconv import parameters
from fastconv.geometry.axes import AdaptiveAxis, Axis
from fastconv.geometry.shapes import Shape, check_extents, check_fits


@dataclass(frozen=True, slots=True)
class Pool2dGeometry:
    """A checked 2-d pooling: (N, C, H, W) -> (N, C, OH, OW).

    With ``ceil_mode`` the size rounds up, but every window starts inside the input or its low padding.

    >>> Pool2dGeometry.of((1, 96, 55, 55), 3, 2).out_shape
    (1, 96, 27, 27)
    """

    N: int
    C: int
    rows: Any  # Axis, or AdaptiveAxis where the windows are unlike
    cols: Any

    @classmethod
    def of(cls, x_shape: Shape, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False) -> Pool2dGeometry:
        """Check everything and compute every size; raises ShapeError, ValueError or TypeError."""
        N, C, H, W = x_shape
        kernel = parameters.kernel_size(kernel_size)
        stride = kernel if stride is None else parameters.stride(stride)
        dilation = parameters.dilation(dilation)
        pads = parameters.pool_padding(padding, kernel)
        ceil_mode = parameters.flag("ceil_mode", ceil_mode)
        check_extents("input", x_shape)
        rows = Axis.of(H, kernel[0], stride[0], pads[0], dilation[0], ceil_mode=ceil_mode)
        cols = Axis.of(W, kernel[1], stride[1], pads[1], dilation[1], ceil_mode=ceil_mode)
        if rows.out < 1 or cols.out < 1:
            check_fits(rows, cols)
        return cls(N, C, rows, cols)

    @classmethod
    def adaptive(cls, x_shape: Shape, output_size) -> Pool2dGeometry:
        """Windows that cut the plane into ``output_size`` parts; None keeps the size of an axis.

        Raises ShapeError, ValueError or TypeError.

        >>> Pool2dGeometry.adaptive((1, 512, 7, 9), (4, None)).out_shape
        (1, 512, 4, 9)
        """
        N, C, *sizes = x_shape
        wanted = parameters.output_size(output_size)
        check_extents("input", x_shape)
        rows, cols = (AdaptiveAxis.of(n, n if out is None else out) for n, out in zip(sizes, wanted, strict=True))
        parameters.kernel_size((rows.kernel, cols.kernel))
        return cls(N, C, rows, cols)

    @property
    def taps(self) -> int:
        """Inputs under one output, at most: kH * kW."""
        return self.rows.kernel * self.cols.kernel

    @property
    def x_shape(self) -> Shape:
        """(N, C, H, W)."""
        return (self.N, self.C, self.rows.size, self.cols.size)

    @property
    def out_shape(self) -> Shape:
        """(N, C, OH, OW)."""
        return (self.N, self.C, self.rows.out, self.cols.out)

    @property
    def flops(self) -> int:
        """Comparisons (or additions) of one pass: N C OH OW kH kW."""
        return self.N * self.C * self.rows.out * self.cols.out * self.taps
