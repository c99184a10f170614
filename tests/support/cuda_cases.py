"""Cases that the simulator of CUDA finishes in about a second each: every branch of the kernels, few threads."""

from fastconv.bench.cases import AdaptiveMaxPoolCase, ConvCase, LocalCase, PoolCase


def conv(name, x_shape, weight_shape, **parameters):
    return ConvCase(name, "simulated", x_shape, weight_shape, **parameters)


def pool(name, x_shape, kernel_size, **parameters):
    return PoolCase(name, "simulated", x_shape, kernel_size, **parameters)


CONVS = (
    conv("three by three", (1, 3, 4, 5), (5, 3, 3, 3), padding=1),
    conv("groups, strides, unequal pads", (2, 4, 5, 4), (6, 2, 3, 3), stride=2, padding=((1, 0), (0, 2)), groups=2),
    conv("vectors, dilated", (1, 8, 6, 5), (8, 8, 3, 2), padding=(1, 0), dilation=(1, 2), bias=False),
    conv("stride and dilation differ", (1, 4, 7, 9), (4, 4, 2, 3), stride=(3, 2), padding=(1, 3), dilation=(2, 3)),
    conv("stride above kernel", (1, 2, 6, 5), (3, 2, 1, 2), stride=3),
    conv("many rows", (2, 4, 3, 2), (36, 4, 1, 1)),
    conv("depthwise", (1, 5, 3, 4), (5, 1, 2, 2), groups=5, padding=1),
    conv("reflect", (1, 4, 4, 5), (4, 4, 3, 2), padding=((1, 2), (1, 0)), padding_mode="reflect"),
    conv("replicate", (1, 2, 3, 3), (4, 2, 3, 3), padding=3, stride=2, padding_mode="replicate"),
    conv("circular", (1, 2, 4, 3), (4, 2, 3, 3), padding=(2, 1), padding_mode="circular"),
)
LOCALS = (
    LocalCase("three by three", "simulated", (2, 3, 4, 5), (5, 3, 3, 3), padding=1),
    LocalCase("groups, strides, unequal pads", "simulated", (3, 4, 5, 4), (6, 2, 3, 3), 2, ((1, 0), (0, 2)), groups=2),
    LocalCase("dilated", "simulated", (1, 2, 6, 5), (3, 2, 3, 2), padding=(1, 0), dilation=(1, 2), bias=False),
    LocalCase("blocks of sums", "simulated", (1, 70, 2, 2), (2, 70, 2, 2)),
)
# Of the largest tile these fill one or two, with tails.
TILED = (conv("tiles with tails", (1, 4, 3, 5), (12, 4, 2, 2), padding=1),)
# One output, and one tap: what is added up in which order is easy to say.
ORDERED = (
    conv("one output", (1, 8, 3, 3), (3, 8, 3, 3), bias=False),
    conv("one tap", (1, 2, 4, 9), (3, 2, 1, 1), bias=False),
)
# For each variant of convolutions, what it is for.
VARIANTS = {
    "depthwise": (
        conv("depthwise, unequal pads", (2, 3, 5, 4), (3, 1, 3, 3), padding=((1, 0), (2, 1)), groups=3),
        conv("depthwise, strides", (1, 33, 6, 3), (33, 1, 3, 3), stride=2, padding=((1, 1), (1, 0)), groups=33),
        conv("depthwise, wide", (1, 2, 3, 9), (2, 1, 5, 5), stride=2, padding=3, groups=2),
    ),
    "grouped": (
        conv("few channels a group", (2, 6, 4, 5), (10, 3, 3, 2), padding=(1, 0), stride=(1, 2), groups=2),
        conv("fours of channels", (1, 12, 3, 5), (12, 4, 3, 3), padding=1, dilation=(1, 2), groups=3),
        conv("eights of channels", (1, 16, 5, 2), (16, 8, 2, 2), padding=((1, 1), (0, 1)), stride=2, groups=2),
    ),
    "first_layer": (conv("few channels", (2, 3, 5, 4), (3, 3, 3, 2), stride=(2, 1), padding=1),),
    "split": (
        conv("few pixels", (1, 6, 2, 4), (5, 6, 2, 2), padding=(0, 1)),
        conv("few pairs", (1, 24, 2, 2), (20, 24, 1, 1)),
    ),
    "pointwise": (
        conv("pixels in fours", (2, 5, 2, 6), (6, 5, 1, 1)),
        conv("pixels of groups", (1, 8, 3, 3), (8, 4, 1, 1), groups=2),
    ),
    "flattened": (conv("few channels, dilated", (2, 3, 5, 6), (5, 3, 3, 2), padding=(2, 1), dilation=(2, 1)), CONVS[1]),
    "tiled": CONVS[2:3],
    "parts": CONVS[:1],
}
POOLS = (
    pool("three by three", (2, 3, 5, 6), 3, stride=2, padding=1),
    pool("ceil mode, dilated", (1, 4, 7, 6), (2, 3), stride=(2, 1), padding=(1, 0), dilation=(2, 1), ceil_mode=True),
    pool("wide windows", (1, 2, 18, 17), (17, 16), stride=1),
    pool("gaps between windows", (1, 3, 8, 7), 2, stride=3),
    AdaptiveMaxPoolCase("adaptive", "simulated", (1, 2, 7, 5), (3, 4)),
)
