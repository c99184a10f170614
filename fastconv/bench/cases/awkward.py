"""Small shapes on which kernels go wrong; every test of exactness runs them."""

from fastconv.bench.cases.kinds import ConvCase, PoolCase


def _odd(name, x_shape, weight_shape, **parameters):
    return ConvCase(name, "awkward", x_shape, weight_shape, **parameters)


def _odd_pool(name, x_shape, kernel_size, **parameters):
    return PoolCase(f"pool, {name}", "awkward", x_shape, kernel_size, **parameters)


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
    _odd("depthwise, narrow planes", (2, 33, 7, 7), (33, 1, 3, 3), padding=1, groups=33),
    _odd("depthwise, wide and strided", (1, 17, 9, 75), (17, 1, 3, 3), stride=2, padding=1, groups=17, bias=False),
    _odd("depthwise, many rows", (1, 2, 67, 112), (2, 1, 3, 3), padding=1, groups=2),
    _odd("depthwise, dilated", (1, 18, 12, 37), (18, 1, 5, 3), padding=(2, 4), dilation=(1, 3), groups=18),
    _odd("depthwise, reflect", (1, 35, 6, 17), (35, 1, 3, 3), padding=1, groups=35, padding_mode="reflect"),
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
