"""Tiles of Winograd's minimal filtering to points and back, emitted: vectors of channels, one after the other.

Over a tile of ``size`` x ``size`` targets there are (size + 2)^2 pixels of the source and as many points, which lie
``step`` bytes apart. ``bytes`` are those of the channels, a vector at least: the last one ends with the last channel.
"""

from __future__ import annotations

import itertools
import math

from llvmlite import ir

from fastconv._kernels.numba_cpu.arguments import RELU, RELU6
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, carried, counted, load, shifted, smaller
from fastconv._kernels.numba_cpu.winograd_transforms import Transforms, transformed_rows

TAPS = 3
# What the next call needs is wanted in the first cache.
_NEAREST = 3


def source_module(dtype: str, size: int) -> ir.Module:
    """Code of ``void (pixels, next_pixels, points, bytes, step)``, where pixels are tables of addresses.

    What the next tile reads and this one does not is asked for.
    """
    v, b, (pixels, following, points), (bytes_, step) = _begin("winograd_source", dtype, 3, 2)
    across, transform = size + TAPS - 1, Transforms(v, b, size).source
    last = b.sub(bytes_, WORD(VECTOR_BYTES))
    with counted(b, bytes_, VECTOR_BYTES) as byte:
        at = smaller(b, byte, last)
        for row, column in itertools.product(range(across), range(TAPS - 1, across)):
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
    """Code of ``void (taps, points, count, step, width)``: nine vectors for each of some channels, one after the other.

    The points of the next channel are ``width`` bytes further.
    """
    v, b, (taps, points), (count, step, width) = _begin("winograd_weight", dtype, 2, 3)
    transform = Transforms(v, b, size).weight
    with counted(b, count, 1) as channel:
        first = shifted(b, taps, b.mul(channel, WORD(TAPS**2 * VECTOR_BYTES)))

        def tap(row, column):
            return v.load(b, shifted(b, first, WORD((row * TAPS + column) * VECTOR_BYTES)))

        _store_points(v, b, transformed_rows(transform, TAPS, tap), shifted(b, points, b.mul(channel, width)), step)
    b.ret_void()
    return v.module


MODULES = {"source": source_module, "target": target_module, "weight": weight_module}


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
