"""A checked convolution whose weights are not shared."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.errors import ShapeError
from fastconv.geometry.convolution import Conv2dGeometry
from fastconv.geometry.shapes import Shape

_WEIGHT = "(OH, OW, K, C/groups, kH, kW)"


@dataclass(frozen=True, slots=True)
class LocalConv2dGeometry(Conv2dGeometry):
    """A 2-d convolution with filters of its own at every place: (N, C, H, W), (OH, OW, K, C/groups, kH, kW).

    ``weight[oh, ow]`` and ``bias[oh, ow]`` are those of an ordinary convolution that is used at (oh, ow) alone.

    >>> LocalConv2dGeometry.of((1, 1, 200, 200), (191, 191, 1, 1, 10, 10)).out_shape
    (1, 1, 191, 191)
    """

    @classmethod
    def of(cls, x_shape: Shape, weight_shape: Shape, bias_shape: Shape | None = None, **parameters):
        """Check everything and compute every size; raises ShapeError, ValueError or TypeError."""
        if len(weight_shape) != 6:
            raise ShapeError(f"weight must have shape {_WEIGHT}, got shape {weight_shape}")
        made = cls.at(x_shape, weight_shape[2:], **parameters)
        if weight_shape[:2] != (made.rows.out, made.cols.out):
            raise ShapeError(
                f"weight of shape {weight_shape} = {_WEIGHT} has filters for {weight_shape[0]} by {weight_shape[1]} "
                f"places, but with floor((padded - effective kernel) / stride) + 1 {places(made)}"
            )
        if bias_shape is not None and bias_shape != made.bias_shape:
            raise ShapeError(
                f"bias must have shape {made.bias_shape}, one value per place and output channel, got {bias_shape}"
            )
        return made

    @classmethod
    def at(cls, x_shape: Shape, filters: Shape, **parameters):
        """Given the filters of one place, (K, C/groups, kH, kW), and what ``Conv2dGeometry.of`` is given.

        >>> LocalConv2dGeometry.at((1, 3, 5, 7), (8, 3, 3, 3), padding=1).weight_shape
        (5, 7, 8, 3, 3, 3)
        """
        return super(LocalConv2dGeometry, cls).of(x_shape, filters, **parameters)

    @property
    def weight_shape(self) -> Shape:
        """(OH, OW, K, C/groups, kH, kW)."""
        return (*self.bias_shape, self.C_g, self.rows.kernel, self.cols.kernel)

    @property
    def bias_shape(self) -> Shape:
        """(OH, OW, K)."""
        return (self.rows.out, self.cols.out, self.K)

    @property
    def terms(self) -> int:
        """Weights of one output channel at one place, C_g kH kW."""
        return self.C_g * self.rows.kernel * self.cols.kernel


def places(g: Conv2dGeometry) -> str:
    """How many places an input has for a window, and why.

    >>> places(Conv2dGeometry.of((1, 1, 7, 9), (1, 1, 3, 3), stride=2))
    'an input of (7 x 9) has floor((7 - 3) / 2) + 1 = 3 by floor((9 - 3) / 2) + 1 = 4 places'
    """
    sums = (f"floor(({axis.padded} - {axis.extent}) / {axis.stride}) + 1 = {axis.out}" for axis in (g.rows, g.cols))
    return f"an input of ({g.rows.size} x {g.cols.size}) has {' by '.join(sums)} places"
