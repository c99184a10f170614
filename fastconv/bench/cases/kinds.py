"""What a case is: shapes and parameters of one operation. Data only; needs nothing but the standard library.

Every kind says in which ``directions`` it is measured, and of which ``batches`` where nobody asks for others.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

NORMAL = "normal"
SUBNORMAL = "subnormal"
SUBNORMAL_WEIGHTS = "subnormal weights"
# Activations that are not negative, and such whose magnitudes are spread over 2^-12 to 2^12; small integers everywhere.
RECTIFIED, WIDE, INTEGERS = "rectified", "wide", "integers"


@dataclass(frozen=True, slots=True)
class ConvCase:
    """One convolution: shapes and what ``functional.conv2d`` is told.

    ``count`` says how often the layer occurs in its network; ``values`` how the data is drawn.
    """

    kind: ClassVar[str] = "conv2d"
    directions: ClassVar[tuple[str, ...]] = ("forward", "grad_input", "grad_weight")
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    weight_shape: tuple[int, int, int, int]
    stride: int | tuple[int, int] = 1
    padding: int | str | tuple = 0
    dilation: int | tuple[int, int] = 1
    groups: int = 1
    padding_mode: str = "zeros"
    bias: bool = True
    count: int = 1
    values: str = NORMAL

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.conv2d`` and of ``Conv2dGeometry.of``."""
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        return {name: getattr(self, name) for name in names}

    def with_batch(self, N: int) -> "ConvCase":
        """The same layer for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class LocalCase(ConvCase):
    """One convolution without shared weights; ``weight_shape`` is that of the filters of one place."""

    kind: ClassVar[str] = "locally_connected2d"

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.locally_connected2d`` and of ``LocalConv2dGeometry.at``."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}


@dataclass(frozen=True, slots=True)
class PoolCase:
    """One max-pooling: shape and what ``functional.max_pool2d`` is told."""

    kind: ClassVar[str] = "max_pool2d"
    directions: ClassVar[tuple[str, ...]] = ("forward", "grad_input")
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False
    count: int = 1
    values: str = NORMAL

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.max_pool2d`` and of ``Pool2dGeometry.of``."""
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        return {name: getattr(self, name) for name in names}

    def with_batch(self, N: int) -> "PoolCase":
        """The same layer for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class AvgPoolCase(PoolCase):
    """One average-pooling, of windows without gaps: what ``functional.avg_pool2d`` is told."""

    kind: ClassVar[str] = "avg_pool2d"

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.avg_pool2d`` and of ``Pool2dGeometry.of``."""
        names = ("kernel_size", "stride", "padding", "ceil_mode")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPoolCase:
    """One adaptive average-pooling: shape and what ``functional.adaptive_avg_pool2d`` is told."""

    kind: ClassVar[str] = "adaptive_avg_pool2d"
    directions: ClassVar[tuple[str, ...]] = ("forward", "grad_input")
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    output_size: int | tuple[int | None, int | None]
    count: int = 1
    values: str = NORMAL

    @property
    def parameters(self) -> dict:
        """The keyword arguments of the function and of ``Pool2dGeometry.adaptive``."""
        return {"output_size": self.output_size}

    def with_batch(self, N: int) -> "AdaptiveAvgPoolCase":
        """The same layer for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class AdaptiveMaxPoolCase(AdaptiveAvgPoolCase):
    """One adaptive max-pooling."""

    kind: ClassVar[str] = "adaptive_max_pool2d"


@dataclass(frozen=True, slots=True)
class LinearCase:
    """One fully connected layer: (N, inputs) -> (N, outputs)."""

    kind: ClassVar[str] = "linear"
    directions: ClassVar[tuple[str, ...]] = ("forward", "grad_input", "grad_weight")
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    x_shape: tuple[int, int]
    weight_shape: tuple[int, int]
    bias: bool = True
    count: int = 1
    values: str = NORMAL

    def with_batch(self, N: int) -> "LinearCase":
        """The same layer for N samples."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class ChainCase:
    """Convolutions one after the other: what a conversion of layouts in the middle would cost."""

    kind: ClassVar[str] = "chain"
    directions: ClassVar[tuple[str, ...]] = ("forward",)
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    layers: tuple[ConvCase, ...]
    count: int = 1
    values: str = NORMAL

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """The input of the first layer."""
        return self.layers[0].x_shape

    def with_batch(self, N: int) -> "ChainCase":
        """The same layers for N images."""
        return replace(self, layers=tuple(layer.with_batch(N) for layer in self.layers))


@dataclass(frozen=True, slots=True)
class NetworkCase:
    """A whole network, ``name`` of ``fastconv.models``: ``step`` trains it once, ``forward`` only runs it."""

    kind: ClassVar[str] = "network"
    count: ClassVar[int] = 1
    values: ClassVar[str] = NORMAL
    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    directions: tuple[str, ...]
    batches: tuple[int, ...]

    def with_batch(self, N: int) -> "NetworkCase":
        """The same network for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class PassCase:
    """A pass over the activations around a convolution: hardly any arithmetic, so that memory decides."""

    kind: ClassVar[str]
    directions: ClassVar[tuple[str, ...]] = ("forward", "grad_input")
    batches: ClassVar[tuple[int, ...]] = (16,)
    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    count: int = 1
    values: str = NORMAL

    def with_batch(self, N: int) -> Self:
        """The same pass for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class BatchNormCase(PassCase):
    """A batch normalisation as in training, by the statistics of the batch, and the rectifier behind it."""

    kind: ClassVar[str] = "batch_norm"


@dataclass(frozen=True, slots=True)
class ReluCase(PassCase):
    """A rectifier alone."""

    kind: ClassVar[str] = "relu"


@dataclass(frozen=True, slots=True)
class AddReluCase(PassCase):
    """A sum of two branches, rectified: the end of a residual block. Its gradient is that of the rectifier."""

    kind: ClassVar[str] = "add_relu"
    directions: ClassVar[tuple[str, ...]] = ("forward",)


@dataclass(frozen=True, slots=True)
class StepCase:
    """A step of an optimiser on one parameter, which is all elements of ``x_shape``."""

    kind: ClassVar[str]
    directions: ClassVar[tuple[str, ...]] = ("step",)
    batches: ClassVar[tuple[int, ...]] = (1,)
    name: str
    suite: str
    x_shape: tuple[int, int]
    count: int = 1
    values: str = NORMAL

    def with_batch(self, N: int) -> Self:
        """A parameter of N times as many elements; images have no part in it."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class SgdCase(StepCase):
    """A step of stochastic gradient descent with momentum."""

    kind: ClassVar[str] = "sgd"


@dataclass(frozen=True, slots=True)
class AdamCase(StepCase):
    """A step of Adam."""

    kind: ClassVar[str] = "adam"


Case = ConvCase | PoolCase | AdaptiveAvgPoolCase | LinearCase | ChainCase | NetworkCase | PassCase | StepCase
