"""Pooling layers."""

from __future__ import annotations

from fastconv import functional, parameters
from fastconv.nn import checks
from fastconv.nn.module import Module


class MaxPool2d(Module):
    """The largest input under each window: ``functional.max_pool2d``; ``stride`` defaults to ``kernel_size``.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), with or without N; with ``return_indices`` also the int64 positions of the
    winners. Bad arguments raise ValueError, ShapeError or TypeError here.

    >>> import numpy as np
    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        checks.pool2d(kernel_size, stride, padding, dilation, ceil_mode=ceil_mode)
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices = parameters.flag("return_indices", return_indices)
        self.ceil_mode = ceil_mode

    def forward(self, x, *, activation=None):
        """The pooled input, with an ``activation``, and the positions where they were asked for."""
        return functional.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
            activation=activation,
        )

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of the inputs under each window: ``functional.avg_pool2d``; ``stride`` defaults to ``kernel_size``.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), with or without N. Bad arguments raise ValueError, ShapeError or TypeError
    here.

    >>> import numpy as np
    >>> AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__()
        checks.pool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.kernel_size, self.padding, self.ceil_mode = kernel_size, padding, ceil_mode
        self.stride = kernel_size if stride is None else stride
        self.count_include_pad = parameters.flag("count_include_pad", count_include_pad)
        given = divisor_override is not None
        self.divisor_override = parameters.positive_int("divisor_override", divisor_override) if given else None

    def forward(self, x):
        """The averaged input."""
        return functional.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """The arguments that torch shows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of each of ``output_size`` parts of the plane: ``functional.adaptive_avg_pool2d``.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), with or without N; None keeps the size of an axis. A bad size raises
    ValueError or TypeError here.

    >>> import numpy as np
    >>> AdaptiveAvgPool2d(1)(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[7.5]]]]
    """

    def __init__(self, output_size):
        super().__init__()
        parameters.output_size(output_size)
        self.output_size = output_size

    def forward(self, x):
        """The averaged input."""
        return functional.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """The argument."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """The largest input of each of ``output_size`` parts of the plane: ``functional.adaptive_max_pool2d``.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), with or without N; with ``return_indices`` also the int64 positions of the
    winners; None keeps the size of an axis. Bad arguments raise ValueError or TypeError here.

    >>> import numpy as np
    >>> AdaptiveMaxPool2d((2, 1))(np.arange(16.0).reshape(1, 1, 4, 4)).tolist()
    [[[[7.0], [15.0]]]]
    """

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        parameters.output_size(output_size)
        self.output_size = output_size
        self.return_indices = parameters.flag("return_indices", return_indices)

    def forward(self, x):
        """The pooled input, and the positions where they were asked for."""
        return functional.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """The argument that torch shows."""
        return f"output_size={self.output_size}"


class MaxUnpool2d(Module):
    """Values put back where ``MaxPool2d(..., return_indices=True)`` took them: ``functional.max_unpool2d``.

    Shapes: (N, C, OH, OW) twice -> (N, C, H, W), with or without N. Bad arguments raise ValueError, ShapeError or
    TypeError here; an index outside the output raises IndexError in ``forward``.

    >>> import numpy as np
    >>> MaxUnpool2d(2)(np.ones((1, 1, 1, 1)), np.array([[[[3]]]])).tolist()
    [[[[0.0, 0.0], [0.0, 1.0]]]]
    """

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        geometry = checks.pool2d(kernel_size, stride, padding)
        self.kernel_size = (geometry.rows.kernel, geometry.cols.kernel)
        self.stride = (geometry.rows.stride, geometry.cols.stride)
        self.padding = checks.shortest_padding(geometry)

    def forward(self, x, indices, output_size=None):
        """The scattered input; zeros where no index points."""
        return functional.max_unpool2d(x, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
