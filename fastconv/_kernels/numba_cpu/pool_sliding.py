"""Small square windows that slide down planes, emitted: lanes are neighbouring columns. Each row is pooled along its
columns once, in the order of the taps; the windows that it is in share that."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import ALL, LARGEST_AT, PARTS, SLIDE, VIEW, VIEW_BYTES
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, counted, load, shifted, smaller, where

_TARGETS = PARTS - 1
_BYTE = ir.IntType(8)
# Rows of windows that share none, which a vector of columns slides down before the next one does.
_ROWS = 4


def sliding_module(dtype: str, kind: str, width: int, kernel: int, stride: int) -> ir.Module:
    """Code of ``void (slide, first, last)``: some target rows of a plane, in vectors of ``width`` bytes."""
    module = ir.Module("pool_sliding")
    v = Vectors(module, dtype, width)
    fast, careful = (_Down(v, kind, kernel, stride, is_careful=is_careful).emit() for is_careful in (False, True))

    def down(b, *arguments):
        unordered = b.call(fast, arguments)
        with b.if_then(b.icmp_signed("!=", unordered, WORD(0))):
            b.call(careful, arguments)

    each_view(module, stride < kernel, down)
    return module


def each_view(module, shares_rows, body) -> None:
    """The entry, ``body(builder, slide, view, first, last)`` for every view. Where windows share no rows, a few rows
    are done after the other ones: so they lie in memory."""
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 3), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    slide, first, last = entry.args
    slide = b.inttoptr(slide, BYTES)
    views, count = (field_of(b, SLIDE, slide, name) for name in ("views", "view_count"))

    def run(begin, end):
        with counted(b, count, 1) as number:
            body(b, slide, b.inttoptr(b.add(views, b.mul(number, WORD(VIEW_BYTES))), BYTES), begin, end)

    step = b.sub(last, first)
    if not shares_rows:
        step = b.select(b.icmp_signed("==", count, WORD(1)), step, WORD(_ROWS))
    blocks = b.sdiv(b.sub(b.add(b.sub(last, first), step), WORD(1)), step)
    with counted(b, blocks, 1) as number:
        row = b.add(first, b.mul(number, step))
        run(row, smaller(b, last, b.add(row, step)))
    b.ret_void()


def field_of(b, structure, origin, name):
    """A field of a structure."""
    return load(b, shifted(b, origin, WORD(_at(structure, name))), WORD, 8)


def _at(structure, name):
    return 8 * structure.names.index(name)


class _Down:
    """``bits of lanes with a NaN (slide, view, first, last)``: one vector of columns down some rows. Those NaN are lost
    unless the function ``is_careful``."""

    def __init__(self, v, kind, kernel, stride, *, is_careful):
        self.v, self.kernel, self.stride, self.is_careful = v, kernel, stride, is_careful
        self.sums, self.wants = kind == ALL, kind == LARGEST_AT
        name = "careful" if is_careful else "fast"
        self.function = ir.Function(v.module, ir.FunctionType(WORD, [BYTES, BYTES, WORD, WORD]), name)
        self.function.linkage = "internal"
        self.function.attributes.add("noinline")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.taps = ir.VectorType(ir.IntType(8 * v.size), v.lanes)
        padding = 0.0 if self.sums else float("-inf")
        self.padding = ir.Constant(v.kind, [ir.Constant(v.scalar, padding)] * v.lanes)

    def emit(self) -> ir.Function:
        b, v = self.b, self.v
        self.slide, view, self.first, self.last = self.function.args
        for name in SLIDE.names:
            setattr(self, name, field_of(b, SLIDE, self.slide, name))
        fields = {name: field_of(b, VIEW, view, name) for name in VIEW.names}
        self.places = [fields[f"at{part}"] for part in range(PARTS)]
        masks = (b.trunc(fields[f"lanes{part}"], ir.IntType(v.lanes)) for part in range(PARTS))
        self.masks = [b.bitcast(mask, v.masks) for mask in masks]
        top = b.sub(b.mul(self.first, WORD(self.stride)), self.row_low)
        kept = self.kernel - self.stride
        state = [ir.Constant(v.masks, None)]
        for i in range(kept):
            state = self.across(b.add(top, WORD(i)), state)
        if self.sums:
            ones = ir.Constant(v.kind, [ir.Constant(v.scalar, 1.0)] * v.lanes)
            self.divisors = v.load_masked(
                b, self.element(self.col_counts, self.places[_TARGETS]), self.masks[_TARGETS], ones
            )
        state = self.each_row(state, top)
        b.ret(b.zext(b.bitcast(state[0], ir.IntType(v.lanes)), WORD))
        return self.function

    def each_row(self, state, top):
        """Down the rows; the state is where a NaN was seen, then the rows that the next window shares."""
        b = self.b
        before, head, done = b.block, *(b.append_basic_block(name) for name in ("row", "rows"))
        b.branch(head)
        b.position_at_end(head)
        row, *now = (b.phi(kind) for kind in (WORD, *(value.type for value in state)))
        new = now
        for i in range(self.kernel - self.stride, self.kernel):
            from_row = b.add(top, b.add(b.mul(b.sub(row, self.first), WORD(self.stride)), WORD(i)))
            new = self.across(from_row, new)
        unordered, *rows = new
        width = len(rows) // self.kernel
        self.window(row, [rows[i * width : (i + 1) * width] for i in range(self.kernel)])
        following = [b.add(row, WORD(1)), unordered, *rows[self.stride * width :]]
        for phi, initial, later in zip((row, *now), (self.first, *state), following, strict=True):
            phi.add_incoming(initial, before)
            phi.add_incoming(later, b.block)
        b.cbranch(b.icmp_signed("<", following[0], self.last), head, done)
        b.position_at_end(done)
        return [unordered]

    def element(self, address, number):
        b = self.b
        return shifted(b, b.inttoptr(address, BYTES), b.mul(number, WORD(self.v.size)))

    def across(self, row, state):
        """The state with one more row, pooled along its columns; padding where there is no such row."""
        b = self.b
        outside = [self.padding, *([ir.Constant(self.taps, None)] if self.wants else [])]
        inside = b.icmp_unsigned("<", row, self.H)
        unordered, *added = where(b, inside, [state[0], *outside], lambda now: self.row_across(row, now[0]))
        return [unordered, *state[1:], *added]

    def row_across(self, row, unordered):
        b, v = self.b, self.v
        start = b.mul(row, self.W)
        loads = self.kernel if self.stride == 1 or self.kernel == 2 else _TARGETS
        found = []
        for part in range(loads):
            place = self.element(self.source, b.add(start, self.places[part]))
            found.append(v.load_masked(b, place, self.masks[part], self.padding))
        ahead = b.add(b.add(start, self.ahead), b.mul(self.places[_TARGETS], WORD(self.stride)))
        for line in range(self.stride):
            v.prefetch(b, self.element(self.source, b.add(ahead, WORD(line * v.lanes))))
        taps = found
        if self.stride == 2:
            pairs = [v.deinterleave(b, *found[i : i + 2]) for i in range(0, loads, 2)]
            taps = [*pairs[0], *(pair[0] for pair in pairs[1:])]
        if not (self.sums or self.is_careful):
            looked_at = (
                [(taps[0], taps[-1])] if self.stride == 1 else [tuple(found[:2]), *((tap, tap) for tap in taps[2:])]
            )
            for pair in looked_at:
                unordered = b.or_(unordered, b.fcmp_unordered("uno", *pair))
        if self.sums:
            total = v.zero
            for tap in taps:
                total = b.fadd(total, tap)
            return [unordered, total]
        best = [taps[0], *([ir.Constant(self.taps, None)] if self.wants else [])]
        for number, tap in enumerate(taps[1:], 1):
            best = self.better(best, [tap, self.numbers(number)])
        return [unordered, *best]

    def numbers(self, number):
        kind = self.taps.element
        return ir.Constant(self.taps, [ir.Constant(kind, number)] * self.v.lanes)

    def better(self, best, later):
        """The better of two taps; ``best`` has its number where that is wanted."""
        b = self.b
        wins = b.fcmp_ordered(">", later[0], best[0])
        if self.is_careful:
            wins = b.or_(wins, b.fcmp_unordered("uno", later[0], later[0]))
        return [b.select(wins, new, old) for new, old in zip(later, best, strict=False)]

    def window(self, row, rows):
        """One row of targets from the rows of its windows."""
        b, v = self.b, self.v
        if self.sums:
            value = v.zero
            for (across,) in rows:
                value = b.fadd(value, across)
            count = v.broadcast(b, self.element(self.row_counts, row))
            best = [b.fdiv(value, b.fmul(count, self.divisors))]
        else:
            best = rows[0]
            for i, across in enumerate(rows[1:], 1):
                later = [across[0], *(b.add(tap, self.numbers(i * self.kernel)) for tap in across[1:])]
                best = self.better(best, later)
        at = b.add(b.mul(row, self.width), self.places[_TARGETS])
        if self.wants:
            infinite = b.bitcast(b.fcmp_ordered("==", best[0], self.padding), ir.IntType(v.lanes))
            with b.if_then(b.icmp_unsigned("!=", infinite, infinite.type(0))):
                b.store(
                    WORD(1), b.bitcast(shifted(b, self.slide, WORD(_at(SLIDE, "mend"))), WORD.as_pointer()), align=8
                )
        is_whole = b.icmp_signed("<", row, self.whole_rows)
        with b.if_else(is_whole) as (whole, part):
            with whole:
                self.put_whole(best, at)
            with part:
                v.store_masked(b, best[0], self.element(self.target, at), self.masks[_TARGETS])
                if self.wants:
                    self.put_bytes(best[1], at, self.masks[_TARGETS])

    def put_whole(self, best, at):
        b, v, place = self.b, self.v, self.element(self.target, at)
        with b.if_else(b.icmp_signed("!=", self.streams, WORD(0))) as (past, into):
            with past:
                v.stream(b, best[0], place)
            with into:
                v.store(b, best[0], place)
        if self.wants:
            self.put_bytes(best[1], at, None)

    def put_bytes(self, taps, at, mask):
        b, kind = self.b, ir.VectorType(_BYTE, self.v.lanes)
        place = b.bitcast(shifted(b, b.inttoptr(self.offsets, BYTES), at), kind.as_pointer())
        narrow = b.trunc(taps, kind)
        if mask is None:
            b.store(narrow, place, align=1)
            return
        signature = ir.FunctionType(ir.VoidType(), [kind, kind.as_pointer(), ir.IntType(32), self.v.masks])
        name = f"llvm.masked.store.v{self.v.lanes}i8.p0"
        function = self.v.module.globals.get(name) or ir.Function(self.v.module, signature, name)
        b.call(function, [narrow, place, ir.IntType(32)(1), mask])
