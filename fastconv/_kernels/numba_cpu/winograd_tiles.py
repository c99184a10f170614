"""Tiles of Winograd's minimal filtering to points and back, emitted: vectors of channels, one after the other.

Over a tile of ``size`` x ``size`` targets there are (size + 2)^2 pixels of the source and as many points, which lie
``step`` bytes apart. ``bytes`` are those of the channels, a vector at least: the last one ends with the last channel.
"""

from __future__ import annotations

import itertools
import math
from functools import partial

from llvmlite import ir

from fastconv._kernels.numba_cpu.arguments import RELU, RELU6
from fastconv._kernels.numba_cpu.conv2d_arguments import WINOGRAD_CHANNELS
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, carried, counted, load, shifted, smaller
from fastconv._kernels.numba_cpu.winograd_transforms import Transforms, transformed_rows

TAPS = 3
# What the next call needs is wanted in the first cache.
_NEAREST = 3
_LINE = 64


def source_module(dtype: str, size: int) -> ir.Module:
    """Code of ``void (pixels, next_pixels, points, bytes, step)``, where pixels are tables of addresses.

    What the next tile reads and this one does not is asked for.
    """
    return _points_module("winograd_source", dtype, size, size + TAPS - 1, Transforms.source)


def gradient_module(dtype: str, size: int) -> ir.Module:
    """The same of gradients of targets, of which no two tiles have any in common."""
    return _points_module("winograd_gradient", dtype, size, size, Transforms.gradient)


def _points_module(name, dtype, size, across, transform) -> ir.Module:
    v, b, (pixels, following, points), (bytes_, step) = _begin(name, dtype, 3, 2)
    transform = partial(transform, Transforms(v, b, size))
    last = b.sub(bytes_, WORD(VECTOR_BYTES))
    with counted(b, bytes_, VECTOR_BYTES) as byte:
        at = smaller(b, byte, last)
        for row, column in itertools.product(range(across), range(across - size, across)):
            v.prefetch(b, shifted(b, _listed(b, following, row * across + column), at), _NEAREST)

        def pixel(row, column):
            return v.load(b, shifted(b, _listed(b, pixels, row * across + column), at))

        _store_points(v, b, transformed_rows(transform, across, pixel), shifted(b, points, at), step)
    b.ret_void()
    return v.module


def target_module(dtype: str, size: int) -> ir.Module:
    """Code of ``void (points, bias, targets, next_targets, doubt, bytes, step, activation)``.

    Targets are tables of addresses. ``doubt`` becomes 1 where a result is not finite, else 0. What the next tile writes
    is asked for.
    """
    v, b, (points, bias, targets, following, doubt), (bytes_, step, activation) = _begin("winograd_target", dtype, 5, 3)
    across, transform = size + TAPS - 1, Transforms(v, b, size).target
    last, row_step = b.sub(bytes_, WORD(VECTOR_BYTES)), b.mul(step, WORD(across))
    floor = _where(v, b, activation, RELU, 0.0, -math.inf)
    ceiling = _where(v, b, activation, RELU6, 6.0, math.inf)

    def add_vector(index, doubts):
        at = smaller(b, b.mul(index, WORD(VECTOR_BYTES)), last)
        addend, first, (doubts,) = v.load(b, shifted(b, bias, at)), shifted(b, points, at), doubts
        columns = [shifted(b, first, b.mul(step, WORD(column))) for column in range(across)]

        def point(row, column):
            return v.load(b, shifted(b, columns[column], b.mul(row_step, WORD(row))))

        results = itertools.chain.from_iterable(transformed_rows(transform, across, point))
        for number, result in enumerate(results):
            # NaN of what is not finite: the activation would hide minus infinity.
            doubts = v.multiply_add(b, result, v.zero, doubts)
            ended = b.fadd(result, addend)
            ended = b.select(b.fcmp_ordered("<", ended, floor), floor, ended)
            ended = b.select(b.fcmp_ordered(">", ended, ceiling), ceiling, ended)
            v.store(b, ended, shifted(b, _listed(b, targets, number), at))
            v.prefetch(b, shifted(b, _listed(b, following, number), at), _NEAREST, writes=True)
        return [doubts]

    vectors = b.sdiv(b.add(bytes_, WORD(VECTOR_BYTES - 1)), WORD(VECTOR_BYTES))
    (doubts,) = carried(b, vectors, [v.zero], add_vector)
    lanes = ir.IntType(v.lanes)
    found = b.icmp_unsigned("!=", b.bitcast(b.fcmp_unordered("uno", doubts, doubts), lanes), lanes(0))
    b.store(b.zext(found, WORD), b.bitcast(doubt, WORD.as_pointer()))
    b.ret_void()
    return v.module


def _where(v, b, activation, flag, value, other):
    """A vector of one value where the activation has the flag, else of another."""
    return b.select(b.icmp_signed("!=", b.and_(activation, WORD(flag)), WORD(0)), v.constant(value), v.constant(other))


def weight_module(dtype: str, size: int) -> ir.Module:
    """Code of ``void (taps, points, ahead, count, step, width, ahead_step)`` for some channels, nine vectors for each.

    The taps of a channel follow those of the one before. The points of the next channel are ``width`` bytes further.
    With each channel, ``ahead_step`` bytes further each time, a row of the taps that are transformed after these is
    asked for.
    """
    v, b, (taps, points, ahead), (count, step, width, ahead_step) = _begin("winograd_weight", dtype, 3, 4)
    transform = Transforms(v, b, size).weight
    with counted(b, count, 1) as channel:
        first = shifted(b, taps, b.mul(channel, WORD(TAPS**2 * VECTOR_BYTES)))
        following = shifted(b, ahead, b.mul(channel, ahead_step))
        for byte in range(0, WINOGRAD_CHANNELS * TAPS**2 * v.size, _LINE):
            v.prefetch(b, shifted(b, following, WORD(byte)))

        def tap(row, column):
            return v.load(b, shifted(b, first, WORD((row * TAPS + column) * VECTOR_BYTES)))

        _store_points(v, b, transformed_rows(transform, TAPS, tap), shifted(b, points, b.mul(channel, width)), step)
    b.ret_void()
    return v.module


def taps_module(dtype: str, size: int) -> ir.Module:
    """Code of ``void (sums, taps, doubt, count, width, step, others, segment_step, valid)``.

    A vector of output channels of ``count`` input channels: their sums begin ``width`` bytes apart and become nine
    vectors, one after the other. Those of ``others`` segments, each ``segment_step`` bytes after the one before, are
    added first. ``doubt`` becomes 1 where one of the ``valid`` lanes of a result is not finite.
    """
    v, b, (sums, taps, doubt), (count, width, step, others, segment_step, valid) = _begin("winograd_taps", dtype, 3, 6)
    across, transform = size + TAPS - 1, Transforms(v, b, size).taps
    row_step = b.mul(step, WORD(across))

    def add_channel(channel, doubts):
        first, (doubts,) = shifted(b, sums, b.mul(channel, width)), doubts
        columns = [shifted(b, first, b.mul(step, WORD(column))) for column in range(across)]

        def point(row, column):
            place = shifted(b, columns[column], b.mul(row_step, WORD(row)))

            def add_segment(index, total):
                other = shifted(b, place, b.mul(b.add(index, WORD(1)), segment_step))
                return [b.fadd(total[0], v.load(b, other))]

            return carried(b, others, [v.load(b, place)], add_segment)[0]

        results = itertools.chain.from_iterable(transformed_rows(transform, across, point))
        target = shifted(b, taps, b.mul(channel, WORD(TAPS**2 * VECTOR_BYTES)))
        for number, result in enumerate(results):
            v.store(b, result, shifted(b, target, WORD(number * VECTOR_BYTES)))
            doubts = v.multiply_add(b, result, v.zero, doubts)
        return [doubts]

    (doubts,) = carried(b, count, [v.zero], add_channel)
    doubted = b.and_(b.fcmp_unordered("uno", doubts, doubts), v.first_lanes(b, valid))
    lanes = ir.IntType(v.lanes)
    with b.if_then(b.icmp_unsigned("!=", b.bitcast(doubted, lanes), lanes(0)), likely=False):
        b.store(WORD(1), b.bitcast(doubt, WORD.as_pointer()))
    b.ret_void()
    return v.module


MODULES = {
    "source": source_module,
    "gradient": gradient_module,
    "target": target_module,
    "weight": weight_module,
    "taps": taps_module,
}


def _begin(name, dtype, place_count, word_count):
    """Vectors, the builder of a module's only function, and its arguments: places, then words."""
    module = ir.Module(name)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * (place_count + word_count)), "entry")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    places = [b.inttoptr(word, BYTES) for word in function.args[:place_count]]
    return Vectors(module, dtype), b, places, function.args[place_count:]


def _listed(b, table, number):
    """An address of a table."""
    return load(b, shifted(b, table, WORD(8 * number)), BYTES, 8)


def _store_points(v, b, rows, place, step):
    """Points row by row."""
    for row in rows:
        for column, value in enumerate(row):
            v.store(b, value, shifted(b, place, b.mul(step, WORD(column))))
        place = shifted(b, place, b.mul(step, WORD(len(row))))
