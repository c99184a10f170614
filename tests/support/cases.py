"""Cases for tests alone: shapes that no benchmark wants and that the awkward ones lack."""

import itertools

from fastconv.bench.cases import AdaptiveAvgPoolCase, ConvCase, PoolCase


def depthwise(name, N, C, H, W, kernel=3, **parameters):
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    return ConvCase(name, "here", (N, C, H, W), (C, 1, *kernel), groups=C, **parameters)


DEPTHWISE = (
    depthwise("whole vectors", 2, 32, 6, 32, padding=1),
    depthwise("narrow planes", 3, 17, 7, 7, padding=1, bias=False),
    depthwise("planes of one vector", 2, 33, 14, 14, padding=1),
    depthwise("planes of one column", 1, 18, 9, 1, padding=1),
    depthwise("planes of three columns", 2, 16, 4, 3, padding=1),
    depthwise("half a vector is left", 1, 35, 5, 24, padding=1),
    depthwise("more than half a vector is left", 1, 16, 5, 29, padding=1),
    depthwise("blocks of rows", 1, 3, 61, 112, padding=1),
    depthwise("blocks of strided rows", 1, 2, 71, 113, stride=2, padding=1),
    depthwise("larger than caches", 1, 35, 181, 182, padding=1),
    depthwise("stride two", 2, 40, 14, 14, stride=2, padding=1),
    depthwise("stride two, odd", 1, 17, 15, 19, stride=2, padding=1),
    depthwise("stride two, unpadded", 1, 16, 9, 34, stride=2),
    depthwise("stride two, unequal pads", 1, 16, 8, 70, stride=2, padding=((0, 1), (0, 1))),
    depthwise("stride three", 1, 19, 13, 40, stride=3, padding=1),
    depthwise("strides differ", 1, 18, 9, 20, stride=(2, 1), padding=1),
    depthwise("stride above input", 1, 20, 3, 4, stride=7, padding=1),
    depthwise("five by five", 1, 20, 12, 37, 5, padding=2),
    depthwise("five by five, strided", 1, 20, 13, 36, 5, stride=2, padding=2),
    depthwise("seven by one", 1, 16, 11, 18, (7, 1), padding=(3, 0)),
    depthwise("one by three", 2, 16, 3, 45, (1, 3), padding=(0, 1)),
    depthwise("one by one", 1, 21, 5, 16, 1),
    depthwise("dilated", 1, 17, 14, 33, padding=2, dilation=2),
    depthwise("dilated columns", 1, 17, 8, 33, padding=(1, 3), dilation=(1, 3)),
    depthwise("far padding", 1, 16, 4, 17, padding=5),
    depthwise("kernel above input", 1, 17, 3, 2, 5, padding=2),
    depthwise("one channel", 2, 1, 9, 50, padding=1),
    depthwise("reflect", 1, 18, 8, 21, padding=1, padding_mode="reflect"),
    depthwise("reflect, strided", 1, 18, 9, 20, stride=2, padding=1, padding_mode="reflect"),
    depthwise("replicate", 2, 16, 6, 16, padding=(2, 3), padding_mode="replicate"),
    depthwise("circular", 1, 20, 5, 18, padding=1, padding_mode="circular"),
    depthwise("circular, five by five", 1, 16, 7, 9, 5, padding=((4, 1), (2, 3)), padding_mode="circular"),
)


def pointwise(name, x_shape, K, **parameters):
    return ConvCase(name, "here", x_shape, (K, x_shape[1], 1, 1), **parameters)


# Weights that are used for few pixels: tails of vectors, several ranges of input channels.
FEW_PIXELS = (
    pointwise("one pixel", (1, 48, 1, 1), 32),
    pointwise("few pixels in a column", (1, 35, 5, 1), 37),
    pointwise("few pixels of images", (7, 20, 1, 1), 19, bias=False),
    pointwise("few pixels, ranges of channels", (1, 405, 3, 4), 21),
    pointwise("few pixels, few channels", (2, 3, 1, 2), 17),
    pointwise("as many pixels as a tile has at most", (12, 163, 1, 1), 34),
)


def lines(name, x_shape, weight_shape, **parameters):
    return ConvCase(name, "here", x_shape, weight_shape, **parameters)


# Targets that some items, formats and vectors fill in whole cache lines.
WHOLE_LINES = (
    lines("lines of both", (2, 32, 9, 16), (64, 32, 3, 3), padding=1),
    lines("lines of both, strided", (2, 16, 16, 32), (32, 16, 3, 3), stride=2, padding=1),
    lines("lines of both, ranges of channels", (1, 144, 4, 16), (192, 144, 3, 3), padding=1, bias=False),
    lines("lines of both, groups", (1, 64, 5, 16), (96, 32, 3, 3), padding=1, groups=2),
    lines("lines of both, groups that share vectors", (2, 64, 4, 16), (64, 8, 3, 3), padding=1, groups=8),
    lines("lines of both, pointwise", (3, 32, 8, 8), (80, 32, 1, 1)),
    lines("lines of both, several images", (5, 16, 4, 8), (32, 16, 2, 3), padding=((0, 1), (1, 1))),
    lines("lines of both, blocks of rows", (1, 16, 41, 48), (16, 16, 3, 3), padding=1, bias=False),
    lines("lines of pixels", (2, 48, 7, 15), (32, 48, 3, 3), padding=1),
    lines("lines of planes", (2, 20, 6, 16), (24, 20, 3, 3), padding=1),
)

ADAPTIVE = tuple(
    AdaptiveAvgPoolCase(f"adaptive, {shape} to {size}", "here", shape, size)
    for shape, size in (
        ((2, 3, 7, 5), (3, 2)),
        ((1, 20, 13, 17), (6, 6)),
        ((1, 4, 6, 8), (3, 4)),
        ((2, 2, 3, 2), (5, 7)),
        ((1, 67, 7, 7), 1),
        ((1, 3, 1, 9), (2, None)),
        ((2, 5, 37, 41), 1),
        ((1, 20, 37, 41), (5, 1)),
        ((2, 5, 29, 31), (3, 2)),
        ((1, 3, 28, 12), (3, 1)),
    )
)


def _pool(C, width, kernel, stride, **parameters):
    name = f"{C} channels of {width} columns, {kernel} by {stride}"
    return PoolCase(name, "here", (1 + C % 2, C, kernel + 3, width), kernel, stride, **parameters)


# Every number of columns, and of channels, with the windows that networks have.
_WINDOWS = itertools.cycle(((2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0), (3, 2, 0), (3, 3, 0), (5, 2, 2), (2, 2, 1)))
WIDTHS = tuple(
    _pool(1 + 29 * width % 70, width, k, s, padding=p, ceil_mode=width % 2 == 0)
    for width, (k, s, p) in zip(range(5, 71), _WINDOWS, strict=False)
)
WIDTHS += tuple(
    PoolCase(f"{width} columns", "here", (1, 3, 5, width), (2, 1), (2, 1), dilation=(2, 1)) for width in range(1, 5)
)
# Targets that are whole cache lines.
POOL_LINES = (
    PoolCase("lines of pooled planes", "here", (1, 16, 6, 32), 2),
    PoolCase("lines of pooled planes, overlapping", "here", (2, 32, 9, 64), 3, 2, 1),
    PoolCase("lines of pooled planes, stride one", "here", (1, 16, 7, 16), 3, 1, 1),
    PoolCase("lines of pooled planes, five by five", "here", (1, 16, 9, 32), 5, 1, 2),
)
# Few windows, which have gaps between them, or many elements in common.
FEW_WINDOWS = (
    PoolCase("windows far apart", "here", (2, 3, 35, 33), 4, 9),
    PoolCase("windows far apart, padded", "here", (1, 3, 30, 35), (5, 4), (8, 9), padding=2, ceil_mode=True),
    PoolCase("large windows with much in common", "here", (1, 5, 31, 40), (9, 11), (3, 4), padding=(4, 5)),
    PoolCase("large windows side by side", "here", (1, 5, 36, 28), (12, 14)),
)
POOLS = ADAPTIVE + WIDTHS + POOL_LINES + FEW_WINDOWS


def three_by_three(name, x_shape, K, **parameters):
    C_g = x_shape[1] // parameters.get("groups", 1)
    return ConvCase(name, "here", x_shape, (K, C_g, 3, 3), **parameters)


# Tiles of 2 x 2 and 4 x 4 outputs: tails of maps and vectors, every padding, several blocks of tiles and of channels.
WINOGRAD = (
    three_by_three("whole tiles", (2, 16, 8, 8), 16, padding=1),
    three_by_three("tiles and vectors with tails", (1, 19, 7, 9), 35, padding=1),
    three_by_three("unpadded tiles", (1, 33, 9, 6), 17),
    three_by_three("tiles of unequal pads", (1, 17, 6, 5), 16, padding=((0, 2), (1, 0)), bias=False),
    three_by_three("far padding of tiles", (2, 16, 3, 4), 20, padding=2),
    three_by_three("one row of tiles", (1, 16, 1, 13), 16, padding=1),
    three_by_three("tiles of groups", (2, 34, 6, 11), 36, padding=1, groups=2),
    three_by_three("blocks of tiles", (3, 16, 20, 18), 80, padding=1),
    three_by_three("rows of tiles cut into blocks", (1, 16, 5, 230), 16, padding=1),
    three_by_three("tiles, runs of channels", (1, 352, 4, 5), 16, padding=1),
    three_by_three("tiles, parts of both channels", (2, 70, 9, 8), 150, padding=1),
    three_by_three("segments of tiles", (4, 16, 36, 40), 17, padding=1),
)
