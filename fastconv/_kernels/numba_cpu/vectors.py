"""What emitted code does with whole vectors: LLVM would keep the sums of a plain loop in memory."""

from __future__ import annotations

from contextlib import contextmanager

from llvmlite import ir

from fastconv._kernels.numba_cpu.settings import HAS_FMA, HAS_STREAMING, PERMUTE, VECTOR_BYTES

WORD = ir.IntType(64)
BYTES = ir.IntType(8).as_pointer()
_INDEX = ir.IntType(32)
_SCALAR = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
_SIZE = {"float32": 4, "float64": 8}
# What a permutation moves, for lanes of every size.
PIECE = 4
_PIECES = ir.VectorType(ir.FloatType(), VECTOR_BYTES // PIECE)
_ORDER = ir.VectorType(_INDEX, VECTOR_BYTES // PIECE)


class Vectors:
    """Instructions on the vectors of one dtype, put where a builder stands."""

    def __init__(self, module: ir.Module, dtype: str, width: int = VECTOR_BYTES):
        self.module = module
        self.scalar, self.size = _SCALAR[dtype], _SIZE[dtype]
        self.lanes = width // self.size
        self.kind = ir.VectorType(self.scalar, self.lanes)
        self.masks = ir.VectorType(ir.IntType(1), self.lanes)
        self.zero = ir.Constant(self.kind, None)
        self._name = f"v{self.lanes}f{8 * self.size}"

    def constant(self, value: float):
        """A vector of one number."""
        return ir.Constant(self.kind, [value] * self.lanes)

    def load(self, builder, place):
        """The vector at a place, which need not be aligned to vectors."""
        return load(builder, place, self.kind, self.size)

    def store(self, builder, value, place):
        """Write a whole vector."""
        builder.store(value, builder.bitcast(place, self.kind.as_pointer()), align=self.size)

    def stream(self, builder, value, place):
        """Write a whole vector past the caches, where the machine can; the place is aligned to vectors."""
        place = builder.bitcast(place, self.kind.as_pointer())
        stored = builder.store(value, place, align=self.lanes * self.size)
        if HAS_STREAMING:
            stored.set_metadata("nontemporal", self.module.add_metadata([_INDEX(1)]))

    def store_sum(self, builder, value, place):
        """Write the sum of all lanes: that of their two halves, added lane by lane, and so on."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            kind, undefined = ir.VectorType(_INDEX, lanes), ir.Constant(value.type, ir.Undefined)
            orders = (list(range(first, first + lanes)) for first in (0, lanes))
            halves = (builder.shuffle_vector(value, undefined, ir.Constant(kind, order)) for order in orders)
            value = builder.fadd(*halves)
        builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=self.size)

    def broadcast(self, builder, place):
        """A vector of the scalar at a place."""
        return self._splat(builder, load(builder, place, self.scalar, self.size), self.kind)

    def copy_element(self, builder, source, target):
        """Copy one scalar."""
        value = load(builder, source, self.scalar, self.size)
        builder.store(value, builder.bitcast(target, self.scalar.as_pointer()), align=self.size)

    def multiply_add(self, builder, a, b, c):
        """a * b + c, rounded once where the machine can."""
        if not HAS_FMA:
            return builder.fadd(builder.fmul(a, b), c)
        return builder.call(self._intrinsic(f"llvm.fma.{self._name}", self.kind, [self.kind] * 3), [a, b, c])

    def rectified(self, builder, value):
        """What is below zero as zero; NaN stays NaN and -0 stays -0."""
        return builder.select(builder.fcmp_ordered("<", value, self.zero), self.zero, value)

    def capped(self, builder, value):
        """What is above six as six."""
        six = ir.Constant(self.kind, [6.0] * self.lanes)
        return builder.select(builder.fcmp_ordered(">", value, six), six, value)

    def first_lanes(self, builder, count):
        """A mask of the first ``count`` lanes."""
        indices = ir.VectorType(_INDEX, self.lanes)
        counts = self._splat(builder, builder.trunc(count, _INDEX), indices)
        return builder.icmp_signed("<", ir.Constant(indices, list(range(self.lanes))), counts)

    def load_masked(self, builder, place, mask, other=None):
        """The vector at a place, zero, or that of another, where the mask is not set: nothing is read there."""
        pointer = self.kind.as_pointer()
        name, kinds = f"llvm.masked.load.{self._name}.p0", [pointer, _INDEX, self.masks, self.kind]
        arguments = [builder.bitcast(place, pointer), _INDEX(self.size), mask, other or self.zero]
        return builder.call(self._intrinsic(name, self.kind, kinds), arguments)

    def store_masked(self, builder, value, place, mask):
        """Write the lanes whose mask is set, and nothing else."""
        pointer = self.kind.as_pointer()
        name, kinds = f"llvm.masked.store.{self._name}.p0", [self.kind, pointer, _INDEX, self.masks]
        arguments = [value, builder.bitcast(place, pointer), _INDEX(self.size), mask]
        builder.call(self._intrinsic(name, ir.VoidType(), kinds), arguments)

    def prefetch(self, builder, place, locality: int = 2, writes: bool = False):
        """Ask for the cache line at a place, which need not be one of the process; 3 says: for the first cache."""
        data = 1
        arguments = [place, *map(_INDEX, (int(writes), locality, data))]
        kinds = [BYTES, _INDEX, _INDEX, _INDEX]
        builder.call(self._intrinsic("llvm.prefetch.p0", ir.VoidType(), kinds), arguments)

    def interleave(self, builder, a, b):
        """The lanes of two vectors in turn: of their first halves, of their second halves."""
        order = [lane + origin for lane in range(self.lanes) for origin in (0, self.lanes)]
        halves = (order[: self.lanes], order[self.lanes :])
        return [self.shuffle(builder, a, b, chosen) for chosen in halves]

    def shuffle(self, builder, a, b, order):
        """A vector of some lanes of two, which are numbered one after the other."""
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, self.lanes), order))

    def load_order(self, builder, place):
        """The order at a place: for every piece of a vector the number of the one that goes there."""
        return load(builder, place, _ORDER, PIECE)

    def permuted(self, builder, value, order):
        """The lanes of a vector in some order."""
        pieces = builder.bitcast(value, _PIECES)
        if PERMUTE:
            moved = builder.call(self._intrinsic(PERMUTE, _PIECES, [_PIECES, _ORDER]), [pieces, order])
        else:
            moved = ir.Constant(_PIECES, ir.Undefined)
            for number in map(_INDEX, range(_PIECES.count)):
                piece = builder.extract_element(pieces, builder.extract_element(order, number))
                moved = builder.insert_element(moved, piece, number)
        return builder.bitcast(moved, self.kind)

    def deinterleave(self, builder, a, b):
        """The even lanes of two vectors, and the odd ones."""
        kind = ir.VectorType(_INDEX, self.lanes)
        orders = (list(range(first, 2 * self.lanes, 2)) for first in (0, 1))
        return [builder.shuffle_vector(a, b, ir.Constant(kind, order)) for order in orders]

    def _splat(self, builder, value, kind):
        undefined = ir.Constant(kind, ir.Undefined)
        single = builder.insert_element(undefined, value, _INDEX(0))
        return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_INDEX, kind.count), None))

    def _intrinsic(self, name, result, arguments):
        return self.module.globals.get(name) or ir.Function(self.module, ir.FunctionType(result, arguments), name)


def load(builder, place, kind, align):
    """The value of some kind at a place."""
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=align, typ=kind)


def shifted(builder, place, distance):
    """A place some bytes further."""
    return builder.gep(place, [distance], source_etype=BYTES.pointee)


def smaller(builder, a, b):
    """The smaller of two integers."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def internal_function(module: ir.Module, name: str, arguments: list) -> tuple[ir.Function, ir.IRBuilder]:
    """A function of a module that is called by its others alone, and what fills it."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


@contextmanager
def counted(builder, stop, step: int):
    """A loop over 0, step, 2 * step .. below ``stop``, which is above 0; gives the index."""
    before, head, done = builder.block, *(builder.append_basic_block(name) for name in ("head", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(WORD)
    index.add_incoming(WORD(0), before)
    yield index
    following = builder.add(index, WORD(step))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, stop), head, done)
    builder.position_at_end(done)


def carried(builder, count, values: list, body) -> list:
    """The values after so many rounds of ``body(index, values) -> values``; unchanged where the count is 0."""

    def rounds(initial):
        before, head, done = builder.block, *(builder.append_basic_block(name) for name in ("round", "rounds"))
        builder.branch(head)
        builder.position_at_end(head)
        index, *now = (builder.phi(kind) for kind in (WORD, *(value.type for value in initial)))
        new = body(index, now)
        following = builder.add(index, WORD(1))
        for phi, first, later in zip((index, *now), (WORD(0), *initial), (following, *new), strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), head, done)
        builder.position_at_end(done)
        return new

    return where(builder, builder.icmp_signed(">", count, WORD(0)), values, rounds)


def where(builder, condition, values: list, change) -> list:
    """``change(values)`` where the condition holds, else the values."""
    before, then, done = builder.block, *(builder.append_basic_block(name) for name in ("then", "done"))
    builder.cbranch(condition, then, done)
    builder.position_at_end(then)
    changed, end = change(values), builder.block
    builder.branch(done)
    builder.position_at_end(done)
    merged = []
    for value, other in zip(values, changed, strict=True):
        merged.append(builder.phi(value.type))
        merged[-1].add_incoming(value, before)
        merged[-1].add_incoming(other, end)
    return merged
