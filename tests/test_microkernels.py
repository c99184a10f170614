"""The emitted functions alone: every tile, every ending, every shape of a transposition, between fences."""

import ctypes

import numpy as np
import pytest
from support.data import DTYPES, Fenced, assert_same_bits, integers

pytest.importorskip("numba")

from fastconv._kernels.numba_cpu import conv2d_winograd, depthwise_kernels, microkernels
from fastconv._kernels.numba_cpu.arguments import RELU, RELU6, fill
from fastconv._kernels.numba_cpu.depthwise_arguments import COPY, JOIN, SPLIT
from fastconv._kernels.numba_cpu.foresight import FORESEES
from fastconv._kernels.numba_cpu.panel import BIAS_COLUMNS, BIAS_LANES, PANEL
from fastconv._kernels.numba_cpu.settings import COLUMNS, GROUP_COLUMNS, GROUP_WEIGHT_COLUMNS, HAS_FMA, VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import PIECE

TILES = [(vectors, columns + 1) for vectors, most in enumerate(COLUMNS, 1) for columns in range(most)]
# An address of nobody: it can be asked for, but not read.
NOWHERE = 4096
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def invoke(function, *arguments):
    """Call a native function with integers, and with the addresses of arrays."""
    words = [value.ctypes.data if isinstance(value, np.ndarray) else int(value) for value in arguments]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(function.address)(*words)


class Panel:
    """One call: data, what the microkernel is told, and what it must compute."""

    microkernel = staticmethod(microkernels.panel)

    def __init__(self, rng, dtype, vectors, columns, *, entries, count, per_chunk):
        self.dtype, self.vectors, self.columns = np.dtype(dtype), vectors, columns
        size, lanes = self.dtype.itemsize, VECTOR_BYTES // self.dtype.itemsize
        self.width = vectors * lanes
        self.w = integers(rng, (entries, count, self.width), dtype)
        self.kept = integers(rng, (columns, self.width), dtype)
        self.lane_bias, self.column_bias = integers(rng, self.width, dtype), integers(rng, columns, dtype)
        steps = self.take_x(rng, entries, count)
        offsets = np.arange(entries)[:, None] * [self.x[0].nbytes, count * self.width * size]
        self.entries = np.ascontiguousarray(offsets, np.int64)
        self.fields = {
            "entries": self.entries.ctypes.data,
            **{"entry_count": entries, "count": count, "per_chunk": per_chunk},
            **{"w_step": self.width * size, "channels": self.width, **steps},
        }

    def take_x(self, rng, entries, count):
        """Set x, and the factors of w as (entry, column, term, lane); returns what the microkernel is told of them."""
        self.x = integers(rng, (entries, self.columns, count), self.dtype)
        self.factors = self.x[..., None]
        return {"x_step": self.x.itemsize, "x_shift": count * self.x.itemsize}

    def sums(self, *, first):
        total = (self.factors * self.w[:, None]).sum(axis=(0, 2))
        return (total if first else total + self.kept).astype(self.dtype)

    def run(self, target=0, **fields):
        """Call with some more fields; returns what the sums hold afterwards."""
        sums = np.concatenate([self.kept.ravel(), np.full(self.width, 77, self.dtype)])
        context = fill(PANEL, **self.fields | fields)
        function = self.microkernel(self.dtype.name, self.vectors)
        invoke(function, self.columns, context, self.x, self.w, sums, target)
        assert np.all(sums[-self.width :] == 77)
        return sums[: -self.width].reshape(self.kept.shape)


class Groups(Panel):
    """The same where a pixel is a vector, and every term has its order of lanes."""

    microkernel = staticmethod(microkernels.groups)

    def take_x(self, rng, entries, count):
        self.x = integers(rng, (entries, self.columns, self.width), self.dtype)
        order, fields = self.take_orders(rng, count)
        self.factors = self.x[:, :, order]
        return {"x_shift": VECTOR_BYTES, **fields}

    def take_orders(self, rng, count):
        order, pieces = rng.integers(0, self.width, (count, self.width)), self.dtype.itemsize // PIECE
        self.orders = (order[..., None] * pieces + np.arange(pieces)).astype(np.int32)
        return order, {"orders": self.orders.ctypes.data}


class GroupWeights(Groups):
    """The same where every column has its order."""

    microkernel = staticmethod(microkernels.group_weights)

    def take_x(self, rng, entries, count):
        self.x = integers(rng, (entries, count, self.width), self.dtype)
        order, fields = self.take_orders(rng, self.columns)
        self.factors = self.x[:, :, order].swapaxes(1, 2)
        return {"x_step": VECTOR_BYTES, **fields}


ORDERED = ((Groups, GROUP_COLUMNS), (GroupWeights, GROUP_WEIGHT_COLUMNS))
PANELS = [(Panel, *tile) for tile in TILES]
PANELS += [(kind, 1, columns + 1) for kind, (most,) in ORDERED for columns in range(most)]
every_panel = pytest.mark.parametrize(("kind", "vectors", "columns"), PANELS)


@every_dtype
@every_panel
def test_sums_are_kept_or_added(rng, dtype, kind, vectors, columns):
    for entries, count, per_chunk in ((1, 1, 1), (1, 5, 4), (4, 3, 4), (5, 2, 2), (7, 1, 3)):
        panel = kind(rng, dtype, vectors, columns, entries=entries, count=count, per_chunk=per_chunk)
        for first in (True, False):
            assert_same_bits(panel.run(first=first, last=False), panel.sums(first=first))


@every_dtype
@every_panel
def test_what_is_ahead_is_asked_for_and_not_read(rng, dtype, kind, vectors, columns):
    panel = kind(rng, dtype, vectors, columns, entries=4, count=3, per_chunk=2)
    for step in (0, 40, 64, 200):
        found = panel.run(first=True, last=False, ending=FORESEES, ahead=NOWHERE, ahead_step=step)
        assert_same_bits(found, panel.sums(first=True))


@every_dtype
@every_panel
def test_results_get_their_ending_and_nothing_is_written_beyond_them(rng, dtype, kind, vectors, columns):
    panel = kind(rng, dtype, vectors, columns, entries=3, count=2, per_chunk=2)
    lanes = panel.width // vectors
    endings = {
        0: lambda sums: sums,
        BIAS_LANES: lambda sums: sums + panel.lane_bias,
        BIAS_COLUMNS: lambda sums: sums + panel.column_bias[:, None],
        RELU: lambda sums: np.maximum(sums, 0),
        BIAS_LANES | RELU: lambda sums: np.maximum(sums + panel.lane_bias, 0),
        RELU | RELU6: lambda sums: np.clip(sums, 0, 6),
    }
    for number, (ending, change) in enumerate(endings.items()):
        for first in (True, False):
            channels = panel.width - (number + first) % lanes
            bias = panel.column_bias if ending & BIAS_COLUMNS else panel.lane_bias
            target = Fenced((columns, channels), panel.dtype)
            target_step = channels * panel.dtype.itemsize
            fields = {"bias": bias.ctypes.data, "ending": ending, "channels": channels, "target_step": target_step}
            panel.run(target.array, first=first, last=True, **fields)
            expected = change(panel.sums(first=first))[:, :channels].astype(panel.dtype)
            assert np.array_equal(target.array, expected), (ending, first)
            target.check()


class Dots:
    """One call of the microkernel for few output channels, and what it must compute."""

    def __init__(self, rng, dtype, channels, columns, *, entries, count):
        self.dtype, self.channels, self.columns = np.dtype(dtype), channels, columns
        lanes = VECTOR_BYTES // self.dtype.itemsize
        self.x = integers(rng, (entries, columns, count * lanes), dtype)
        self.w = integers(rng, (channels, entries, count * lanes), dtype)
        # Two whole vectors of it are read.
        self.bias = integers(rng, 2 * lanes, dtype)
        self.entries = np.arange(entries)[:, None] * [columns * count * VECTOR_BYTES, count * VECTOR_BYTES]
        self.fields = {
            "entries": self.entries.ctypes.data,
            **{"entry_count": entries, "count": count, "bias": self.bias.ctypes.data},
            **{"x_shift": count * VECTOR_BYTES, "w_shift": entries * count * VECTOR_BYTES},
        }
        self.sums = np.einsum("epc,kec->pk", self.x, self.w).astype(dtype)

    def run(self, target, **fields):
        """Call with some more fields."""
        context = fill(PANEL, **self.fields | fields)
        scratch = np.empty(self.channels * self.columns + VECTOR_BYTES, self.dtype)
        function = microkernels.dots(self.dtype.name, self.channels)
        invoke(function, self.columns, context, self.x, self.w, scratch, target)


@every_dtype
@pytest.mark.parametrize(("channels", "columns"), TILES)
def test_dots_are_summed_along_the_lanes(rng, dtype, channels, columns):
    for entries, count in ((1, 1), (1, 5), (4, 3)):
        dots = Dots(rng, dtype, channels, columns, entries=entries, count=count)
        size, bias = dots.dtype.itemsize, dots.bias[:channels]
        endings = {
            0: dots.sums,
            BIAS_LANES: dots.sums + bias,
            RELU: np.maximum(dots.sums, 0),
            BIAS_LANES | RELU: np.maximum(dots.sums + bias, 0),
            RELU | RELU6: np.clip(dots.sums, 0, 6),
        }
        for ending, expected in endings.items():
            together, apart = Fenced((columns, channels), dtype), Fenced((channels, columns), dtype)
            dots.run(together.array, ending=ending, target_step=channels * size, target_shift=size)
            dots.run(apart.array, ending=ending, target_step=size, target_shift=columns * size)
            for target, found in ((together, together.array), (apart, apart.array.T)):
                # Whether ReLU's zero has a sign, another test says.
                assert np.array_equal(found, expected), (entries, count, ending)
                target.check()


@every_dtype
def test_an_empty_table_of_dots_gives_zero(rng, dtype):
    dots = Dots(rng, dtype, 2, 3, entries=1, count=2)
    target, size = np.full((3, 2), 5, dtype), dots.dtype.itemsize
    dots.run(target, entry_count=0, target_step=2 * size, target_shift=size)
    assert_same_bits(target, np.zeros_like(target))


@every_dtype
def test_relu_of_dots_keeps_nan_and_the_sign_of_zero(rng, dtype):
    tiny, zero = np.finfo(dtype).tiny, np.zeros(1, dtype)
    for factor in np.array([np.nan, -tiny, 0.0, -np.inf, np.inf, -1.0, 1.0, tiny], dtype):
        dots = Dots(rng, dtype, 1, 1, entries=1, count=1)
        dots.x[...], dots.w[...] = tiny, factor
        target = np.empty(1, dtype)
        dots.run(target, ending=RELU, target_step=dots.dtype.itemsize, target_shift=dots.dtype.itemsize)
        # Rounded before it is added to zero, -0 is lost.
        product = tiny * factor if HAS_FMA else tiny * factor + zero
        total = product * dots.dtype.type(dots.x.size)
        assert_same_bits(target, np.where(total < 0, zero, total))


@every_dtype
def test_an_empty_table_gives_zero(rng, dtype):
    panel = Panel(rng, dtype, 1, 3, entries=1, count=2, per_chunk=2)
    target = np.full((3, panel.width), 5, dtype)
    panel.run(target, first=True, last=True, entry_count=0, target_step=panel.width * panel.dtype.itemsize)
    assert_same_bits(target, np.zeros_like(target))


@every_dtype
def test_relu_keeps_nan_and_the_sign_of_zero(dtype):
    tiny = np.finfo(dtype).tiny
    # The product of the second one is too small for anything but -0.
    factors = np.array([np.nan, -tiny, 0.0, -np.inf, np.inf, -1.0, 1.0, tiny], dtype)
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    for w in np.resize(factors, (-(-len(factors) // lanes), lanes)):
        x, entries, target = np.full(1, tiny, dtype), np.zeros((1, 2), np.int64), np.empty(lanes, dtype)
        fields = {"entries": entries.ctypes.data, "channels": lanes, "first": True, "last": True, "ending": RELU}
        context = fill(PANEL, entry_count=1, count=1, per_chunk=1, **fields)
        invoke(microkernels.panel(dtype, 1), 1, context, x, w, np.zeros(lanes, dtype), target)
        # Rounded before it is added to zero, -0 is lost.
        product = x * w if HAS_FMA else x * w + np.zeros(1, dtype)
        assert_same_bits(target, np.where(product < 0, np.zeros(1, dtype), product))


@every_dtype
@pytest.mark.parametrize("tables", ["none", "source", "target"])
def test_transposition(rng, dtype, tables):
    size = np.dtype(dtype).itemsize
    lanes = VECTOR_BYTES // size
    edges = (1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3)
    for rows, columns in ((rows, columns) for rows in edges for columns in edges):
        source, target = Fenced((rows, columns), dtype), Fenced((columns, rows), dtype)
        source.array[...] = rng.integers(0, 1000, (rows, columns))
        steps = {"source": columns * size, "target": rows * size}
        order = np.arange(rows if tables == "source" else columns)
        rng.shuffle(order)
        table = order * steps.get(tables, 0)
        where = {side: (0, table) if side == tables else (step, 0) for side, step in steps.items()}
        function = microkernels.transpose(dtype)
        invoke(function, source.array, *where["source"], target.array, *where["target"], rows, columns)
        expected = (source.array[order] if tables == "source" else source.array).T
        found = target.array[order] if tables == "target" else target.array
        assert_same_bits(found.copy(), expected.copy(), (rows, columns))
        target.check()


@every_dtype
def test_rows_are_copied_split_and_joined_and_nothing_else_is_written(rng, dtype):
    move, size = depthwise_kernels.rows(dtype), np.dtype(dtype).itemsize
    for columns in (
        *range(1, 4),
        *(2 * VECTOR_BYTES // size + more for more in (-1, 0, 1)),
        5 * VECTOR_BYTES // size + 3,
    ):
        for rows in (1, 3):
            wide = Fenced((rows, columns), dtype)
            source = rng.integers(0, 1000, (rows, columns)).astype(dtype)
            halves = np.zeros((2, rows, -(-columns // 2)), dtype)
            step, wide_step = halves.strides[1], source.strides[0]
            invoke(move, COPY, source, wide_step, wide.array, 0, wide_step, columns, rows)
            assert_same_bits(wide.array.copy(), source)
            invoke(move, SPLIT, source, wide_step, halves[0], halves[1], step, columns, rows)
            assert_same_bits(halves[0], np.ascontiguousarray(source[:, ::2]))
            assert_same_bits(halves[1][:, : columns // 2].copy(), np.ascontiguousarray(source[:, 1::2]))
            assert not halves[1][:, columns // 2 :].any()
            wide.array[...] = 0
            invoke(move, JOIN, wide.array, wide_step, halves[0], halves[1], step, columns, rows)
            assert_same_bits(wide.array.copy(), source)
            wide.check()


class Minimal:
    """A tile of every channel by itself through the emitted transforms, and the sum over taps that it must be."""

    def __init__(self, rng, size, channels):
        self.size, self.channels, across = size, channels, size + 2
        vectors, lanes = -(-channels * 4 // VECTOR_BYTES), VECTOR_BYTES // 4
        self.pixels, taps = integers(rng, (across, across, channels)), integers(rng, (vectors, 3, 3, lanes))
        self.bias = integers(rng, channels)
        weight = np.empty((across**2, vectors, lanes), np.float32)
        invoke(self.function("weight"), taps, weight, NOWHERE, vectors, weight.strides[0], VECTOR_BYTES, 64)
        source = Fenced((across**2, channels), "float32")
        table = self.table(self.pixels)
        invoke(self.function("source"), table, table, source.array, 4 * channels, 4 * channels)
        source.check()
        self.products = source.array * weight.reshape(across**2, -1)[:, :channels]
        self.taps = np.concatenate(taps, axis=2)[:, :, :channels]

    def function(self, kind):
        return conv2d_winograd.tile("float32", kind, self.size)

    @staticmethod
    def table(pixels):
        return pixels.ctypes.data + np.arange(pixels[..., 0].size) * pixels.strides[1]

    def sums(self):
        windows = np.lib.stride_tricks.sliding_window_view(self.pixels, (3, 3), (0, 1))
        return np.einsum("hwcij,ijc->hwc", windows, self.taps)

    def run(self, *, activation=0):
        """The targets, and whether they are doubted."""
        target, doubt = Fenced((self.size, self.size, self.channels), "float32"), np.array([77])
        table, size = self.table(target.array), 4 * self.channels
        operands = (self.products, self.bias, table, table, doubt, size, self.products.strides[0], activation)
        invoke(self.function("target"), *operands)
        target.check()
        return target.array, doubt[0]


def minimal_tiles(rng, size):
    lanes = VECTOR_BYTES // 4
    return (Minimal(rng, size, channels) for channels in (lanes, lanes + 1, 3 * lanes - 1, 3 * lanes))


@pytest.mark.parametrize(("size", "error"), [(2, 0), (4, 1e-3)])
def test_tiles_go_to_points_and_back(rng, size, error):
    for tile in minimal_tiles(rng, size):
        expected = tile.sums() + tile.bias
        for activation, low, high in ((0, -np.inf, np.inf), (RELU, 0, np.inf), (RELU | RELU6, 0, 6)):
            found, doubt = tile.run(activation=activation)
            np.testing.assert_allclose(found, np.clip(expected, low, high), rtol=0, atol=error)
            assert doubt == 0


@pytest.mark.parametrize("size", [2, 4])
def test_a_tile_with_anything_that_is_not_finite_is_doubted(rng, size):
    for tile in minimal_tiles(rng, size):
        for value in (np.inf, -np.inf, np.nan):
            products = tile.products.copy()
            tile.products[rng.integers(len(products)), rng.integers(tile.channels)] = value
            assert tile.run(activation=RELU)[1] == 1
            tile.products = products
        assert tile.run()[1] == 0
