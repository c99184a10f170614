"""The microkernel, emitted for every tile of V vectors x P columns, whose sums stay in registers.

    acc[o][p] += w[e + t * w_step + o] * broadcast(x[e + t * x_step + p * x_shift])

over all entries e of a table of offsets and t = 0 .. count - 1. Forward and grad_input read packed weights as w and
pixels as x; grad_weight reads pixels of grad_out as w; pointwise convolution of planes reads pixels as w. All steps,
shifts and offsets are in bytes.
"""

from __future__ import annotations

import itertools

from llvmlite import ir

from fastconv._kernels.numba_cpu.arguments import RELU, RELU6, structure
from fastconv._kernels.numba_cpu.foresight import Foresight
from fastconv._kernels.numba_cpu.settings import COLUMNS, VECTOR_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, internal_function, load, shifted, smaller

# How a panel ends, with RELU and RELU6. STREAMS: past the caches; all lanes are valid, all places aligned to vectors.
# ADDS: to what is there. With foresight's FORESEES, ``ahead`` is asked for.
BIAS_LANES, BIAS_COLUMNS, STREAMS, ADDS = 1, 2, 8, 16
# All that the tiles of one region share. ``entries`` are pairs: offset in x, offset in w. ``per_chunk`` entries are
# summed before their sum is added to the others': rounding errors stay small. ``target_step`` leads from one column to
# the next, ``channels`` counts valid lanes, ``first`` says that sums hold nothing yet, ``last`` that the result goes
# to the target. ``w_shift`` and ``target_shift`` lead from one output channel to the next where lanes do not hold them.
# ``orders`` of lanes are those of groups that share a vector. ``ahead`` is what is read after this: lines of
# ``ahead_step`` bytes with each term, two at most.
PANEL = structure(
    "entries", "bias", "entry_count", "count", "x_step", "x_shift", "w_step", "per_chunk", "target_step", "channels",
    "first", "last", "ending", "w_shift", "target_shift", "orders",
    "ahead", "ahead_step",
)  # fmt: skip
# Columns that share an address: base, base + shift and base + 2 * shift are addressing modes.
_SHARE = 3


def panel_module(dtype: str, vectors: int) -> ir.Module:
    """Code of ``void (columns, panel, x, w, sums, target)``: the tile of so many columns."""
    return tiles_module(Tile, dtype, vectors)


def tiles_module(kind: type[Tile], dtype: str, vectors: int) -> ir.Module:
    """The same for tiles of some kind."""
    module = ir.Module(f"{kind.name}_{vectors}")
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 6), "entry")
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    arguments = [builder.inttoptr(word, BYTES) for word in entry.args[1:]]
    never = entry.append_basic_block("never")
    switch = builder.switch(entry.args[0], never)
    ir.IRBuilder(never).unreachable()
    for columns in range(1, kind.widest[vectors - 1] + 1):
        block = entry.append_basic_block(f"columns_{columns}")
        switch.add_case(WORD(columns), block)
        builder.position_at_end(block)
        builder.call(kind(module, dtype, vectors, columns).emit(), arguments, tail=True)
        builder.ret_void()
    return module


class Tile:
    """One tile's function while it is emitted; lists of sums go column by column."""

    name, widest, foresees = "panel", COLUMNS, True

    def __init__(self, module, dtype, vectors, columns):
        self.v, self.vectors, self.columns = Vectors(module, dtype), vectors, columns
        self.function, self.b = internal_function(module, f"{self.name}_{vectors}x{columns}", [BYTES] * 5)
        self.panel, self.x, self.w, self.sums, self.target = self.function.args
        self.places = list(itertools.product(range(columns), range(vectors)))
        self.zeros = [self.v.zero] * len(self.places)
        self.foresight = [Foresight(self)] if self.foresees and vectors > 1 else []

    def emit(self) -> ir.Function:
        """Fill the function."""
        b, entry = self.b, self.b.block
        per_chunk, first_panel = self.field("per_chunk"), self._flag("first")
        last = self._flag("last")
        chunk, flush, finish, left_off = (b.append_basic_block(n) for n in ("chunk", "flush", "finish", "left_off"))
        entries, entry_count = b.inttoptr(self.field("entries"), BYTES), self.field("entry_count")
        steps = self._steps()
        b.branch(chunk)

        b.position_at_end(chunk)
        table, left, first = b.phi(BYTES), b.phi(WORD), b.phi(ir.IntType(1))
        in_chunk = smaller(b, left, per_chunk)
        acc = self._sum_entries(table, in_chunk, steps)
        remaining = b.sub(left, per_chunk)
        more = b.icmp_signed(">", remaining, WORD(0))
        b.cbranch(b.or_(more, b.not_(last)), flush, finish)

        b.position_at_end(flush)
        self._flush(acc, first)
        rest = shifted(b, table, b.mul(per_chunk, WORD(16)))
        b.cbranch(more, chunk, left_off)
        starts = ((table, entries, rest), (left, entry_count, remaining), (first, first_panel, ir.IntType(1)(0)))
        for phi, initial, later in starts:
            phi.add_incoming(initial, entry)
            phi.add_incoming(later, b.block)

        b.position_at_end(left_off)
        b.ret_void()
        b.position_at_end(finish)
        self._finish(acc, first)
        return self.function

    def field(self, name):
        return load(self.b, shifted(self.b, self.panel, WORD(8 * PANEL.names.index(name))), WORD, 8)

    def _flag(self, name):
        return self.b.icmp_signed("!=", self.field(name), WORD(0))

    def _steps(self):
        """What leads from one product to the next: count, steps; shifts of 0, 1 .. columns."""
        shift = self.field("x_shift")
        shifts = [WORD(0), shift, *(self.b.mul(shift, WORD(columns)) for columns in range(2, _SHARE + 1))]
        return self.field("count"), *self._product_steps(), shifts

    def _product_steps(self):
        """Steps of x and of w, and where the vectors of w are."""
        weights = [WORD(o * VECTOR_BYTES) for o in range(self.vectors)]
        return self.field("x_step"), self.field("w_step"), weights

    def _bases(self, x, shifts):
        """The addresses, x_step from product to product, from which ``_factors`` reads."""
        bases = [x]
        while len(bases) * _SHARE < self.columns:
            bases.append(shifted(self.b, bases[-1], shifts[_SHARE]))
        return bases

    def _places(self, bases, shifts):
        """The columns of x, one after the other."""
        return (shifted(self.b, bases[p // _SHARE], shifts[p % _SHARE]) for p in range(self.columns))

    def _factors(self, bases, shifts):
        """What the columns multiply the vectors of w with, one after the other."""
        return (self._factor(place) for place in self._places(bases, shifts))

    def _factor(self, place):
        return self.v.broadcast(self.b, place)

    def _sum_entries(self, table, entries, steps):
        """Sums over some entries of the table, from zero; zero for none."""
        b, before = self.b, self.b.block
        loop, summed = b.append_basic_block("entry"), b.append_basic_block("summed")
        b.cbranch(b.icmp_signed(">", entries, WORD(0)), loop, summed)
        b.position_at_end(loop)
        place, left = b.phi(BYTES), b.phi(WORD)
        acc = [b.phi(self.v.kind) for _ in self.places]
        x = shifted(b, self.x, load(b, place, WORD, 8))
        w = shifted(b, self.w, load(b, shifted(b, place, WORD(8)), WORD, 8))
        self.entry = place
        new = self._sum_products(x, w, acc, steps)
        remaining = b.sub(left, WORD(1))
        following = [(place, table, shifted(b, place, WORD(16))), (left, entries, remaining)]
        for phi, initial, later in [*following, *zip(acc, self.zeros, new, strict=True)]:
            phi.add_incoming(initial, before)
            phi.add_incoming(later, b.block)
        b.cbranch(b.icmp_signed(">", remaining, WORD(0)), loop, summed)
        return self._merged(summed, (before, self.zeros), (b.block, new))

    def _sum_products(self, x, w, acc, steps):
        """The innermost loop: every column times every vector, ``count`` times."""
        b, v, before = self.b, self.v, self.b.block
        count, x_step, w_step, weight_shifts, shifts = steps
        bases = [(w, w_step), *((base, x_step) for base in self._bases(x, shifts))]
        bases += [(foresight.of_entry(self.entry, count), foresight.step) for foresight in self.foresight]
        loop, done = b.append_basic_block("product"), b.append_basic_block("products")
        b.branch(loop)
        b.position_at_end(loop)
        left, w_now, *bases_now = (b.phi(kind) for kind in (WORD, *[BYTES] * len(bases)))
        sums = [b.phi(v.kind) for _ in self.places]
        weights = [v.load(b, shifted(b, w_now, weight_shift)) for weight_shift in weight_shifts]
        new = []
        for foresight in self.foresight:
            foresight.ask(bases_now[-1])
        for p, value in enumerate(self._factors(bases_now, shifts)):
            row = sums[p * self.vectors : (p + 1) * self.vectors]
            new += [v.multiply_add(b, weight, value, old) for weight, old in zip(weights, row, strict=True)]
        remaining = b.sub(left, WORD(1))
        places = zip((w_now, *bases_now), bases, strict=True)
        following = [(now, base, shifted(b, now, step)) for now, (base, step) in places]
        for phi, initial, later in [(left, count, remaining), *following, *zip(sums, acc, new, strict=True)]:
            phi.add_incoming(initial, before)
            phi.add_incoming(later, loop)
        b.cbranch(b.icmp_signed(">", remaining, WORD(0)), loop, done)
        b.position_at_end(done)
        return new

    def _merged(self, block, *sources):
        """Continue in a block with the sums of the block that it is entered from."""
        self.b.position_at_end(block)
        merged = [self.b.phi(self.v.kind) for _ in sources[0][1]]
        for origin, values in sources:
            for phi, value in zip(merged, values, strict=True):
                phi.add_incoming(value, origin)
        return merged

    def _where(self, condition, acc, change):
        """The sums, changed where the condition holds by a function of number and value."""
        b, before = self.b, self.b.block
        then, done = b.append_basic_block("then"), b.append_basic_block("done")
        b.cbranch(condition, then, done)
        b.position_at_end(then)
        changed = list(itertools.starmap(change, enumerate(acc)))
        b.branch(done)
        return self._merged(done, (before, acc), (then, changed))

    def _sum_place(self, number):
        return shifted(self.b, self.sums, WORD(number * VECTOR_BYTES))

    def _add_kept(self, number, value):
        return self.b.fadd(value, self.v.load(self.b, self._sum_place(number)))

    def _activated(self, acc):
        """The sums after the activation that is asked for."""
        for flag, change in ((RELU, self.v.rectified), (RELU6, self.v.capped)):
            acc = self._where(self.asked(flag), acc, lambda _, value, change=change: change(self.b, value))
        return acc

    def asked(self, flag):
        """Whether the panel is to end like this."""
        return self.b.icmp_signed("!=", self.b.and_(self.field("ending"), WORD(flag)), WORD(0))

    def _flush(self, acc, first):
        """Keep the sums, or add them to those that were kept."""
        added = self._where(self.b.not_(first), acc, self._add_kept)
        for number, value in enumerate(added):
            self.v.store(self.b, value, self._sum_place(number))

    def _finish(self, acc, first):
        """The epilogue: kept sums, bias, activation, store."""
        b, v = self.b, self.v
        bias = b.inttoptr(self.field("bias"), BYTES)

        def add_lanes(number, value):
            return b.fadd(value, v.load(b, shifted(b, bias, WORD(self.places[number][1] * VECTOR_BYTES))))

        def add_columns(number, value):
            return b.fadd(value, v.broadcast(b, shifted(b, bias, WORD(self.places[number][0] * v.size))))

        acc = self._where(b.not_(first), acc, self._add_kept)
        for flag, change in ((BIAS_LANES, add_lanes), (BIAS_COLUMNS, add_columns)):
            acc = self._where(self.asked(flag), acc, change)
        self._store(self._activated(acc))

    def _target_columns(self):
        """Where the columns of the result begin."""
        columns, step = [self.target], self.field("target_step")
        while len(columns) < self.columns:
            columns.append(shifted(self.b, columns[-1], step))
        return columns

    def _store(self, acc):
        b, columns = self.b, self._target_columns()
        places = [shifted(b, columns[p], WORD(o * VECTOR_BYTES)) for p, o in self.places]
        stores = list(zip(self.places, acc, places, strict=True))
        with b.if_else(self.asked(STREAMS)) as (past, into):
            with past:
                for _, value, place in stores:
                    self.v.stream(b, value, place)
            with into:
                self._store_valid(stores)
        b.ret_void()

    def _store_valid(self, stores):
        """Into the caches, and nothing where lanes are not valid."""
        b, v = self.b, self.v
        valid = b.sub(self.field("channels"), WORD((self.vectors - 1) * v.lanes))
        last = [store[1:] for store in stores if store[0][1] == self.vectors - 1]
        for _, value, place in (store for store in stores if store[0][1] < self.vectors - 1):
            v.store(b, value, place)
        with b.if_else(b.icmp_signed("==", valid, WORD(v.lanes))) as (whole, part):
            with whole:
                for value, place in last:
                    v.store(b, value, place)
            with part:
                mask = v.first_lanes(b, valid)
                for value, place in last:
                    v.store_masked(b, value, place, mask)
