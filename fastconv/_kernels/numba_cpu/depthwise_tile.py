"""The microkernels of depthwise convolution, emitted for every tile of P neighbouring pixels.

    forward, grad_input:  target[p] = bias + sum over e, k of weight[e][k] * x[e + (p * S + k) * x_step]
    grad_weight:          sums[e][k] += sum over p of target[p] * x[e + (p * S + k) * x_step]

for one vector of lanes after the other; e is an entry of a table of offsets, k one of K taps whose sources are
neighbours. In channels_last lanes are channels, pixels are columns, and an entry is a row of taps. In planes lanes are
columns, pixels are rows, and an entry is a column of taps.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.arguments import RELU, RELU6
from fastconv._kernels.numba_cpu.depthwise_arguments import FOLD, FORM_HALF, FORMS, PIXELS, TILE
from fastconv._kernels.numba_cpu.vectors import (
    BYTES,
    WORD,
    Vectors,
    carried,
    counted,
    internal_function,
    load,
    shifted,
    smaller,
    where,
)

# Sources that share an address: base, base + step and base + 2 * step are addressing modes.
_SHARE = 3


def tile_module(dtype: str, kind: str, width: int) -> ir.Module:
    """Code of ``void (number, tile, x, w, target)`` for vectors of ``width`` bytes; w are the weights, or the sums.

    The number of form f with P pixels is f * PIXELS + P - 1. Only pixel_sum has the last form. FOLD, of grad_weight
    alone, adds up the lanes of each of ``vectors`` sums at x; the results are neighbours at the target.
    """
    module = ir.Module(kind)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 5), "entry")
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    arguments = [builder.inttoptr(word, BYTES) for word in entry.args[1:]]
    never = entry.append_basic_block("never")
    switch = builder.switch(entry.args[0], never)
    ir.IRBuilder(never).unreachable()
    v = Vectors(module, dtype, width)
    forms = FORMS if kind == "pixel_sum" else FORMS[:FORM_HALF]
    tiles = [(*form, pixels + 1) for form in forms for pixels in range(PIXELS)]
    found = {i: KINDS[kind](v, "_".join(map(str, (kind, *tile))), *tile).emit() for i, tile in enumerate(tiles)}
    found |= {FOLD: _fold(v)} if kind == "grad" else {}
    for number, function in found.items():
        block = entry.append_basic_block(function.name)
        switch.add_case(WORD(number), block)
        builder.position_at_end(block)
        builder.call(function, arguments, tail=True)
        builder.ret_void()
    return module


def _field(b, tile, name):
    return load(b, shifted(b, tile, WORD(8 * TILE.names.index(name))), WORD, 8)


def _fold(v):
    function, b = internal_function(v.module, "fold", [BYTES] * 4)
    tile, x, _, target = function.args
    with counted(b, _field(b, tile, "vectors"), 1) as number:
        sums = v.load(b, shifted(b, x, b.mul(number, WORD(v.lanes * v.size))))
        v.store_sum(b, sums, shifted(b, target, b.mul(number, WORD(v.size))))
    b.ret_void()
    return function


class _Tile:
    """One tile's function while it is emitted."""

    may_skip = True

    def __init__(self, v, name, taps, step, pixels):
        self.v, self.taps, self.step, self.pixels = v, taps, step, pixels
        self.bytes = v.lanes * v.size
        self.function, self.b = internal_function(v.module, name, [BYTES] * 4)
        self.tile, self.x, self.w, self.target = self.function.args

    def emit(self) -> ir.Function:
        b = self.b
        last, self.x_step = self.field("last"), self.field("x_step")
        self.w_step, self.target_step = self.field("w_step"), self.field("target_step")
        with counted(b, self.field("vectors"), 1) as number:
            self.emit_vector(number, smaller(b, b.mul(number, WORD(self.bytes)), last))
        b.ret_void()
        return self.function

    def field(self, name):
        return _field(self.b, self.tile, name)

    def each_entry(self, values, body):
        """``body(x offset, w offset, values) -> values`` for every entry of the table."""
        b, entries = self.b, self.b.inttoptr(self.field("entries"), BYTES)

        def entry(index, now):
            place = shifted(b, entries, b.mul(index, WORD(16)))
            return body(load(b, place, WORD, 8), load(b, shifted(b, place, WORD(8)), WORD, 8), now)

        return carried(b, self.field("entry_count"), values, entry)

    def places(self, first, step, count):
        """Places first + i * step."""
        b, found = self.b, [first]
        shifts = [WORD(0), step, self.b.add(step, step)]
        base_step = b.add(shifts[2], step)
        for i in range(1, count):
            if i % _SHARE == 0:
                first = shifted(b, first, base_step)
            found.append(shifted(b, first, shifts[i % _SHARE]))
        return found

    def add_sources(self, acc, x, factor, own):
        """Every source of an entry goes to sum ``own(p, k)`` times ``factor(p, k)`` for those pixels and taps that
        read it."""
        b, v, acc = self.b, self.v, list(acc)
        sources = (self.pixels - 1) * self.step + self.taps if self.step else self.pixels // 2 + 1
        for q, place in enumerate(self.places(x, self.x_step, sources)):
            uses = [(p, self.tap(q, p)) for p in range(self.pixels) if 0 <= self.tap(q, p) < self.taps]

            def add(old, place=place, uses=uses):
                value = v.load(b, place)
                return [v.multiply_add(b, factor(*use), value, now) for use, now in zip(uses, old, strict=True)]

            old = [acc[own(*use)] for use in uses]
            new = self._where_present(q, sources - 1, old, add)
            for use, value in zip(uses, new, strict=True):
                acc[own(*use)] = value
        return acc

    def prefetch(self, x, targets, distance):
        """What the next row of this tile reads, and targets that are so much further."""
        if self.taps == 1:
            return
        b, v, count = self.b, self.v, self.field("next_rows")
        first = shifted(b, x, self.field("next"))

        def row(index, _):
            place = shifted(b, first, b.mul(index, self.field("next_step")))
            for source in self.places(place, self.x_step, self.pixels * self.step or self.pixels // 2):
                v.prefetch(b, source)
            return []

        carried(b, count, [], row)
        with b.if_then(b.icmp_signed(">", count, WORD(0))):
            for place in targets:
                # Asking for a line in order to write there (prefetchw) took longer than the sums on AMD's Zen 4.
                v.prefetch(b, shifted(b, place, distance))

    def tap(self, q, p):
        """Which tap of a pixel a source is."""
        return q - p * self.step if self.step else p + 1 - 2 * q

    def _where_present(self, q, last, old, add):
        """The sources at the ends of several taps may be padding."""
        if not self.may_skip or self.taps == 1 or q not in (0, last):
            return add(old)
        skipped = self.field("skip_first" if q == 0 else "skip_last")
        return where(self.b, self.b.icmp_signed("==", skipped, WORD(0)), old, add)


class _PixelSum(_Tile):
    """Every lane has weights of its own."""

    def emit_vector(self, _number, at):
        b, v = self.b, self.v
        x, weights = shifted(b, self.x, at), self.lane_weights(self.w, at)
        places = self.places(shifted(b, self.target, at), self.target_step, self.pixels)
        # Of targets, the next tile's: asking for the next row's took longer.
        self.prefetch(x, places, b.mul(self.target_step, WORD(self.pixels)))

        def entry(x_offset, w_offset, acc):
            places = self.places(shifted(b, weights, w_offset), self.w_step, self.taps)
            factors = [self.factor(place) for place in places]
            return self.add_sources(acc, shifted(b, x, x_offset), lambda _, k: factors[k], lambda p, _: p)

        acc = self.each_entry([v.zero] * self.pixels, entry)
        bias = self.field("bias")
        given = b.icmp_signed("!=", bias, WORD(0))
        bias = self.lane_weights(b.inttoptr(bias, BYTES), at)
        (offset,) = where(b, given, [v.zero], lambda _: [self.factor(bias)])
        sums, activation = [b.fadd(value, offset) for value in acc], self.field("activation")
        for flag, change in ((RELU, v.rectified), (RELU6, v.capped)):
            asked = b.icmp_signed("!=", b.and_(activation, WORD(flag)), WORD(0))
            sums = where(b, asked, sums, lambda old, change=change: [change(b, value) for value in old])
        self.store(sums, places)

    def lane_weights(self, place, at):
        """Where those of the lanes are."""
        return shifted(self.b, place, at)

    def factor(self, place):
        return self.v.load(self.b, place)

    def store(self, sums, places):
        for value, place in zip(sums, places, strict=True):
            self.v.store(self.b, value, place)


class _PlaneSum(_PixelSum):
    """All lanes have one weight. What a vector writes beyond the end of a row, the next row overwrites."""

    may_skip = False

    def prefetch(self, x, targets, distance):
        """Padded rows are in the cache."""

    def lane_weights(self, place, at):
        return place

    def factor(self, place):
        return self.v.broadcast(self.b, place)

    def store(self, sums, places):
        b, v, valid = self.b, self.v, self.field("valid")
        super().store(sums[:-1], places[:-1])
        with b.if_else(b.icmp_signed(">=", valid, WORD(v.lanes))) as (whole, part):
            with whole:
                v.store(b, sums[-1], places[-1])
            with part:
                v.store_masked(b, sums[-1], places[-1], v.first_lanes(b, valid))


class _Grad(_Tile):
    def emit_vector(self, number, at):
        b, v = self.b, self.v
        x, sums = shifted(b, self.x, at), shifted(b, self.w, b.mul(number, self.field("sums_step")))
        pixels = self.places(shifted(b, self.target, at), self.target_step, self.pixels)
        self.prefetch(x, pixels, self.field("next_target"))
        factors = [v.load(b, place) for place in pixels]

        def entry(x_offset, w_offset, _):
            zeros = [v.zero] * self.taps
            acc = self.add_sources(zeros, shifted(b, x, x_offset), lambda p, _: factors[p], lambda _, k: k)
            for value, place in zip(acc, self.places(shifted(b, sums, w_offset), self.w_step, self.taps), strict=True):
                v.store(b, b.fadd(v.load(b, place), value), place)
            return []

        self.each_entry([], entry)


KINDS = {"pixel_sum": _PixelSum, "plane_sum": _PlaneSum, "grad": _Grad}
