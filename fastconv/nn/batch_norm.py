"""Batch normalisation layers."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fastconv import arrays, functional, parameters
from fastconv.autograd import Tensor, no_grad, unwrap
from fastconv.errors import ShapeError
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter, float_storage


class _BatchNorm(Module):
    """The layer; subclasses say of which ranks its input may be, and what the axes are called."""

    _axes: ClassVar[dict[int, str]]

    def __init__(
        self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, *, bias=True, dtype=None
    ):
        super().__init__()
        self.num_features = parameters.positive_int("num_features", num_features)
        self.eps = parameters.eps(eps)
        self.momentum = None if momentum is None else parameters.finite("momentum", momentum)
        self.affine = parameters.flag("affine", affine)
        self.track_running_stats = parameters.flag("track_running_stats", track_running_stats)
        shape, storage = (self.num_features,), float_storage(dtype)
        has_bias = parameters.flag("bias", bias) and self.affine
        self.register_parameter("weight", Parameter(np.empty(shape, storage)) if self.affine else None)
        self.register_parameter("bias", Parameter(np.empty(shape, storage)) if has_bias else None)
        tracks = self.track_running_stats
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, Tensor(np.empty(shape, storage)) if tracks else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if tracks else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.copy_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Scale by 1, shift by 0, and forget all batches."""
        self.reset_running_stats()
        with no_grad():
            if self.weight is not None:
                self.weight.copy_(1)
            if self.bias is not None:
                self.bias.zero_()

    def forward(self, x, *, residual=None, activation=None):
        """The normalised batch; ``residual`` and ``activation`` as in ``functional.batch_norm``."""
        self._check(x)
        tracks = self.training and self.track_running_stats
        share = self.momentum
        if share is None:
            share = 1 / (self.num_batches_tracked.item() + 1) if tracks else 0.0
        out = functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            share,
            self.eps,
            residual=residual,
            activation=activation,
        )
        if tracks:
            # An operator of Tensors takes several times as long, and reading the number would wait for a GPU.
            arrays.accumulate_(unwrap(self.num_batches_tracked), 1)
            self.num_batches_tracked.bump_version()
        return out

    def _check(self, x) -> None:
        name, shapes = type(self).__name__, " or ".join(self._axes.values())
        if x.ndim not in self._axes:
            ranks = " or ".join(f"{ndim}D" for ndim in self._axes)
            raise ShapeError(f"expected {ranks} input {shapes} to {name}, got shape {x.shape}")
        if x.shape[1] != self.num_features:
            expected = shapes.replace("C", str(self.num_features))
            raise ShapeError(
                f"{name} with num_features={self.num_features} expects input of shape {expected}, got shape {x.shape}"
            )

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Every channel of (N, C) or (N, C, L) with mean 0 and variance 1, then scaled and shifted: as ``BatchNorm2d``.

    >>> import numpy as np
    >>> BatchNorm1d(3)(np.array([[1, 2, 3], [3, 2, 1]], np.float32)).numpy().round(2).tolist()
    [[-1.0, 0.0, 1.0], [1.0, 0.0, -1.0]]
    """

    _axes: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Every channel of (N, C, H, W) with mean 0 and variance 1, then scaled and shifted: ``functional.batch_norm``.

    In training the statistics are the batch's; in evaluation, the running ones that training left. ``momentum=None``
    averages all batches alike. Without ``affine`` nothing is scaled or shifted, without ``bias`` nothing is shifted;
    without ``track_running_stats`` the batch's statistics serve in evaluation, too. Raises ValueError, TypeError or
    DTypeError here, ShapeError in ``forward``.

    >>> import numpy as np
    >>> layer = BatchNorm2d(3)
    >>> layer(np.zeros((2, 3, 4, 4), np.float32)).shape, list(layer.state_dict())[2:]
    ((2, 3, 4, 4), ['running_mean', 'running_var', 'num_batches_tracked'])
    """

    _axes: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}
