"""The one list of shapes: tests prove them right, benchmarks time them. Data only.

The suite ``awkward`` has small shapes on which kernels go wrong; the others are the layers of known networks for one
image, with ``count`` saying how often a layer occurs.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ConvCase:
    """One convolution: shapes and what ``functional.conv2d`` is told."""

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

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.conv2d`` and of ``Conv2dGeometry.of``."""
        names = ("stride", "padding", "dilation", "groups", "padding_mode")
        return {name: getattr(self, name) for name in names}

    def with_batch(self, N: int) -> "ConvCase":
        """The same layer for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


@dataclass(frozen=True, slots=True)
class PoolCase:
    """One max-pooling: shape and what ``functional.max_pool2d`` is told."""

    name: str
    suite: str
    x_shape: tuple[int, int, int, int]
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False
    count: int = 1

    @property
    def parameters(self) -> dict:
        """The keyword arguments of ``functional.max_pool2d`` and of ``Pool2dGeometry.of``."""
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        return {name: getattr(self, name) for name in names}

    def with_batch(self, N: int) -> "PoolCase":
        """The same layer for N images."""
        return replace(self, x_shape=(N, *self.x_shape[1:]))


def _odd(name, x_shape, weight_shape, **parameters):
    return ConvCase(name, "awkward", x_shape, weight_shape, **parameters)


def _odd_pool(name, x_shape, kernel_size, **parameters):
    return PoolCase(name, "awkward", x_shape, kernel_size, **parameters)


def _layer(suite, C, H, K, k, stride=1, padding=None, groups=1, count=1, bias=True):
    """A square layer, C channels of H x H to K; half padding unless said."""
    name = f"{C},{H}->{K} k{k}s{stride}" + (f"g{groups}" if groups > 1 else "")
    padding = k // 2 if padding is None else padding
    shapes = (1, C, H, H), (K, C // groups, k, k)
    return ConvCase(name, suite, *shapes, stride, padding, groups=groups, bias=bias, count=count)


def _pool(suite, C, H, k, stride, padding=0):
    return PoolCase(f"pool {C}@{H} k{k}s{stride}", suite, (1, C, H, H), k, stride, padding)


def _resnet(C, H, K, k, stride=1, count=1):
    return _layer("resnet50", C, H, K, k, stride, bias=False, count=count)


def _depthwise(C, H, stride=1, count=1):
    return _layer("mobilenet", C, H, C, 3, stride, groups=C, bias=False, count=count)


def _pointwise(C, H, K, count=1):
    return _layer("mobilenet", C, H, K, 1, bias=False, count=count)


AWKWARD_CONVS = (
    _odd("one of everything", (1, 1, 1, 1), (1, 1, 1, 1)),
    _odd("distinct primes", (2, 3, 11, 7), (5, 3, 3, 2)),
    _odd("distinct primes, strided and padded", (2, 3, 13, 11), (7, 3, 5, 3), stride=(2, 3), padding=(2, 1)),
    _odd("five images, no bias", (5, 2, 6, 7), (3, 2, 3, 3), padding=1, bias=False),
    _odd("stride above kernel", (1, 2, 13, 11), (3, 2, 2, 2), stride=(3, 5)),
    _odd("stride above input", (1, 2, 4, 5), (3, 2, 2, 2), stride=9, padding=1),
    _odd("stride does not divide", (1, 3, 10, 9), (4, 3, 3, 4), stride=2),
    _odd("padding above kernel", (1, 2, 5, 4), (3, 2, 3, 3), padding=4),
    _odd("windows of padding alone", (2, 2, 3, 4), (3, 2, 1, 1), stride=4, padding=5),
    _odd("kernel is input", (2, 3, 5, 4), (4, 3, 5, 4)),
    _odd("kernel above input", (1, 2, 3, 2), (3, 2, 5, 6), padding=(2, 3)),
    _odd("pointwise", (2, 17, 6, 5), (19, 17, 1, 1)),
    _odd("pointwise, strided and padded", (1, 5, 7, 6), (6, 5, 1, 1), stride=2, padding=1),
    _odd("pointwise, many channels", (1, 300, 3, 4), (7, 300, 1, 1)),
    _odd("dilated even kernel", (1, 3, 9, 10), (4, 3, 2, 4), dilation=2),
    _odd("dilated, strided, padded", (1, 2, 12, 13), (3, 2, 3, 2), stride=3, padding=3, dilation=(2, 3)),
    _odd("dilation above input", (1, 2, 4, 5), (3, 2, 2, 3), padding=(5, 6), dilation=(7, 5)),
    _odd("two groups", (2, 6, 7, 5), (10, 3, 3, 3), padding=1, groups=2),
    _odd("two wide groups", (1, 66, 4, 5), (70, 33, 3, 3), padding=1, groups=2, bias=False),
    _odd("three groups, one output each", (1, 6, 5, 6), (3, 2, 2, 3), stride=2, groups=3),
    _odd("depthwise", (2, 5, 8, 7), (5, 1, 3, 3), padding=1, groups=5),
    _odd("depthwise, strided", (1, 19, 9, 8), (19, 1, 3, 3), stride=2, padding=1, groups=19),
    _odd("depthwise, many channels", (1, 67, 5, 6), (67, 1, 3, 3), padding=1, groups=67, bias=False),
    _odd("depthwise with multiplier", (1, 4, 7, 6), (12, 1, 3, 3), padding=1, groups=4),
    _odd("channels above 64", (1, 70, 5, 7), (75, 70, 3, 3), padding=1),
    _odd("channels above 64, strided", (2, 65, 7, 6), (67, 65, 3, 3), stride=2, padding=1, bias=False),
    _odd("channels above 128", (1, 131, 4, 3), (5, 131, 2, 3), padding=1),
    _odd("one output channel", (1, 4, 6, 9), (1, 4, 3, 3), padding=1),
    _odd("width one", (2, 3, 9, 1), (4, 3, 3, 1)),
    _odd("width one, padded", (1, 3, 5, 1), (4, 3, 3, 3), padding=1),
    _odd("width seventeen", (1, 4, 6, 17), (5, 4, 3, 3), padding=1),
    _odd("width seventeen, one row", (1, 3, 1, 17), (18, 3, 1, 4), stride=(1, 2)),
    _odd("wide row", (1, 2, 3, 83), (3, 2, 1, 7), padding=(0, 3)),
    _odd("tall kernel", (1, 2, 41, 3), (3, 2, 7, 1), stride=(2, 1), padding=(3, 0)),
    _odd("first layer", (1, 3, 23, 19), (17, 3, 11, 11), stride=4, padding=2),
    _odd("unequal pads", (1, 3, 6, 5), (4, 3, 3, 3), padding=((0, 2), (3, 1))),
    _odd("unequal pads, dilated", (2, 2, 9, 8), (3, 2, 3, 2), stride=2, padding=((4, 1), (0, 3)), dilation=2),
    _odd("valid", (1, 2, 5, 6), (3, 2, 2, 3), padding="valid"),
    _odd("same, even kernel", (1, 2, 6, 5), (3, 2, 4, 2), padding="same"),
    _odd("same, dilated", (1, 2, 7, 6), (3, 2, 4, 3), padding="same", dilation=(1, 3)),
    _odd("same, reflected", (1, 2, 6, 5), (3, 2, 4, 3), padding="same", padding_mode="reflect"),
    _odd("reflect", (2, 3, 6, 5), (4, 3, 3, 3), padding=2, padding_mode="reflect"),
    _odd("reflect, strided", (1, 2, 5, 4), (3, 2, 3, 2), stride=2, padding=((4, 1), (3, 3)), padding_mode="reflect"),
    _odd("replicate", (2, 3, 6, 5), (4, 3, 3, 3), padding=1, padding_mode="replicate"),
    _odd("replicate, far", (1, 2, 3, 2), (3, 2, 3, 2), stride=2, padding=5, dilation=2, padding_mode="replicate"),
    _odd("circular", (2, 3, 6, 5), (4, 3, 3, 3), padding=1, padding_mode="circular"),
    _odd("circular, once around", (1, 2, 4, 3), (3, 2, 3, 3), padding=((4, 2), (1, 3)), padding_mode="circular"),
    _odd("circular, grouped", (1, 4, 7, 6), (6, 2, 3, 2), padding=3, groups=2, padding_mode="circular"),
)

AWKWARD_POOLS = (
    _odd_pool("one of everything", (1, 1, 1, 1), 1),
    _odd_pool("distinct primes", (2, 3, 11, 7), (3, 2)),
    _odd_pool("overlapping", (2, 3, 9, 8), 3, stride=2, padding=1),
    _odd_pool("overlapping, stride one", (1, 2, 7, 6), (3, 4), stride=1, padding=(1, 2)),
    _odd_pool("stride above kernel", (1, 2, 13, 11), 2, stride=(3, 5)),
    _odd_pool("stride does not divide", (1, 3, 10, 9), 3, stride=2),
    _odd_pool("rounded up", (1, 3, 10, 9), 3, stride=2, ceil_mode=True),
    _odd_pool("rounded up, padded", (2, 2, 7, 10), (2, 3), stride=(3, 4), padding=(1, 1), ceil_mode=True),
    _odd_pool("rounded up, stride above kernel", (1, 2, 8, 11), 2, stride=(5, 4), padding=1, ceil_mode=True),
    _odd_pool("dilated", (1, 3, 12, 11), (3, 2), stride=2, padding=1, dilation=(2, 3)),
    _odd_pool("kernel is input", (2, 3, 5, 4), (5, 4)),
    _odd_pool("kernel one", (1, 3, 6, 5), 1, stride=2),
    _odd_pool("width one", (2, 3, 9, 1), (3, 1), stride=2),
    _odd_pool("width seventeen", (1, 3, 6, 17), 2, stride=1),
    _odd_pool("wide row", (1, 2, 3, 211), 3, stride=(1, 1), padding=1),
    _odd_pool("wide row, strided", (1, 2, 4, 277), 2),
    _odd_pool("channels above 64", (1, 67, 5, 6), 3, stride=2, padding=1),
    _odd_pool("channels above 128", (1, 131, 3, 4), 2, stride=1),
    _odd_pool("unequal pads", (1, 3, 6, 5), 3, stride=2, padding=((0, 1), (1, 0))),
    _odd_pool("one pixel in, more out", (2, 5, 1, 1), 2, stride=1, padding=1),
    _odd_pool("no input at all", (1, 2, 2, 5), 2, padding=(1, 0), dilation=(3, 1)),
    _odd_pool("windows without input", (1, 2, 2, 2), 2, stride=1, padding=1, dilation=3),
    _odd_pool("window of 272 taps", (1, 2, 20, 19), (17, 16), stride=(1, 2), padding=(3, 1)),
)

SMALL_NETWORKS = (
    _layer("lenet", 1, 28, 6, 5),
    _layer("lenet", 6, 14, 16, 5, padding=0),
    _layer("cifar", 3, 32, 32, 3),
    _layer("cifar", 32, 16, 64, 3),
    _layer("digits", 1, 8, 16, 3),
)
ALEXNET = (
    _layer("alexnet", 3, 227, 96, 11, 4, padding=0),
    _layer("alexnet", 96, 27, 256, 5, groups=2),
    _layer("alexnet", 256, 13, 384, 3),
    _layer("alexnet", 384, 13, 384, 3, groups=2),
    _layer("alexnet", 384, 13, 256, 3, groups=2),
)
VGG16 = (
    _layer("vgg16", 3, 224, 64, 3),
    _layer("vgg16", 64, 224, 64, 3),
    _layer("vgg16", 64, 112, 128, 3),
    _layer("vgg16", 128, 112, 128, 3),
    _layer("vgg16", 128, 56, 256, 3),
    _layer("vgg16", 256, 56, 256, 3, count=2),
    _layer("vgg16", 256, 28, 512, 3),
    _layer("vgg16", 512, 28, 512, 3, count=2),
    _layer("vgg16", 512, 14, 512, 3, count=3),
)
RESNET50 = (
    _resnet(3, 224, 64, 7, 2),
    _resnet(64, 56, 64, 1),
    _resnet(64, 56, 64, 3, count=3),
    _resnet(64, 56, 256, 1, count=4),
    _resnet(256, 56, 64, 1, count=2),
    _resnet(256, 56, 512, 1, 2),
    _resnet(256, 56, 128, 1),
    _resnet(128, 56, 128, 3, 2),
    _resnet(128, 28, 128, 3, count=3),
    _resnet(128, 28, 512, 1, count=4),
    _resnet(512, 28, 128, 1, count=3),
    _resnet(512, 28, 1024, 1, 2),
    _resnet(512, 28, 256, 1),
    _resnet(256, 28, 256, 3, 2),
    _resnet(256, 14, 256, 3, count=5),
    _resnet(256, 14, 1024, 1, count=6),
    _resnet(1024, 14, 256, 1, count=5),
    _resnet(1024, 14, 2048, 1, 2),
    _resnet(1024, 14, 512, 1),
    _resnet(512, 14, 512, 3, 2),
    _resnet(512, 7, 512, 3, count=2),
    _resnet(512, 7, 2048, 1, count=3),
    _resnet(2048, 7, 512, 1, count=2),
)
MOBILENET = (
    _layer("mobilenet", 3, 224, 32, 3, 2, bias=False),
    _depthwise(32, 112),
    _depthwise(64, 112, 2),
    _depthwise(128, 56),
    _depthwise(128, 56, 2),
    _depthwise(256, 28),
    _depthwise(256, 28, 2),
    _depthwise(512, 14, count=5),
    _depthwise(512, 14, 2),
    _depthwise(1024, 7),
    _pointwise(32, 112, 64),
    _pointwise(64, 56, 128),
    _pointwise(128, 56, 128),
    _pointwise(128, 28, 256),
    _pointwise(256, 28, 256),
    _pointwise(256, 14, 512),
    _pointwise(512, 14, 512, count=5),
    _pointwise(512, 7, 1024),
    _pointwise(1024, 7, 1024),
)
NETWORK_POOLS = (
    _pool("lenet", 6, 28, 2, 2),
    _pool("lenet", 16, 10, 2, 2),
    _pool("cifar", 32, 32, 2, 2),
    _pool("cifar", 64, 16, 2, 2),
    _pool("alexnet", 96, 55, 3, 2),
    _pool("alexnet", 256, 27, 3, 2),
    _pool("alexnet", 256, 13, 3, 2),
    _pool("vgg16", 64, 224, 2, 2),
    _pool("vgg16", 128, 112, 2, 2),
    _pool("vgg16", 256, 56, 2, 2),
    _pool("vgg16", 512, 28, 2, 2),
    _pool("vgg16", 512, 14, 2, 2),
    _pool("resnet50", 64, 112, 3, 2, 1),
)

CONV_CASES = (*AWKWARD_CONVS, *SMALL_NETWORKS, *ALEXNET, *VGG16, *RESNET50, *MOBILENET)
POOL_CASES = (*AWKWARD_POOLS, *NETWORK_POOLS)
SUITES = tuple(dict.fromkeys(case.suite for case in CONV_CASES))


def conv_cases(suite: str) -> tuple[ConvCase, ...]:
    """The convolutions of a suite."""
    return tuple(case for case in CONV_CASES if case.suite == suite)


def pool_cases(suite: str) -> tuple[PoolCase, ...]:
    """The poolings of a suite."""
    return tuple(case for case in POOL_CASES if case.suite == suite)
