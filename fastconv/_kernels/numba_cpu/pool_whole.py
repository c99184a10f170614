"""Neighbours reduced to one: their sum, or their largest, emitted."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.pool_arguments import ALL, TERMS
from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, carried, load, shifted, smaller

# Vectors that are added, or compared, beside each other.
_CHAINS = 4


def whole_module(dtype: str, kind: str) -> ir.Module:
    """Code of ``void (source, size, result)``: the sum at the result; or the largest, and 8 bytes further whether there
    is a NaN, which the largest does not show."""
    module = ir.Module("pool_whole")
    v = Vectors(module, dtype)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 3), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    source, size, result = entry.args
    (_emit_total if kind == ALL else _emit_largest)(b, v, b.inttoptr(source, BYTES), size, b.inttoptr(result, BYTES))
    b.ret_void()
    return module


def _element(b, v, origin, number):
    return shifted(b, origin, b.mul(number, WORD(v.size)))


def _scalar(b, v, place):
    return load(b, place, v.scalar, v.size)


def _emit_total(b, v, source, size, result):
    """Four vectors at a time, in blocks, so that rounding errors stay small; then one, then what is left."""
    vectors = b.sdiv(size, WORD(v.lanes))
    most = WORD(_CHAINS * TERMS)

    def block(number, totals):
        first = b.mul(number, most)
        count = smaller(b, b.sub(vectors, first), most)
        quads = b.sdiv(count, WORD(_CHAINS))

        def quad(index, sums):
            at = b.add(first, b.mul(index, WORD(_CHAINS)))
            places = (b.mul(b.add(at, WORD(i)), WORD(v.lanes)) for i in range(_CHAINS))
            return [
                b.fadd(old, v.load(b, _element(b, v, source, place))) for old, place in zip(sums, places, strict=True)
            ]

        sums = carried(b, quads, [v.zero] * _CHAINS, quad)
        left = b.add(first, b.mul(quads, WORD(_CHAINS)))

        def single(index, now):
            place = b.mul(b.add(left, index), WORD(v.lanes))
            return [b.fadd(now[0], v.load(b, _element(b, v, source, place)))]

        (sums[0],) = carried(b, b.srem(count, WORD(_CHAINS)), sums[:1], single)
        return [b.fadd(totals[0], b.fadd(b.fadd(*sums[:2]), b.fadd(*sums[2:])))]

    blocks = b.sdiv(b.add(vectors, WORD(_CHAINS * TERMS - 1)), most)
    (total,) = carried(b, blocks, [v.zero], block)
    done = b.mul(vectors, WORD(v.lanes))

    def element(index, now):
        return [b.fadd(now[0], _scalar(b, v, _element(b, v, source, b.add(done, index))))]

    (rest,) = carried(b, b.sub(size, done), [ir.Constant(v.scalar, 0.0)], element)
    v.store_sum(b, total, result)
    b.store(b.fadd(_scalar(b, v, result), rest), b.bitcast(result, v.scalar.as_pointer()), align=v.size)


def _emit_largest(b, v, source, size, result):
    infinity = ir.Constant(v.scalar, float("-inf"))
    lowest = ir.Constant(v.kind, [infinity] * v.lanes)
    vectors = b.sdiv(size, WORD(v.lanes))

    def larger(value, best):
        return b.select(b.fcmp_ordered(">", value, best), value, best)

    def vector(index, now):
        value = v.load(b, _element(b, v, source, b.mul(index, WORD(v.lanes))))
        return [larger(value, now[0]), b.or_(now[1], b.fcmp_unordered("uno", value, value))]

    best, unordered = carried(b, vectors, [lowest, ir.Constant(v.masks, None)], vector)
    flag = ir.IntType(1)
    done = b.mul(vectors, WORD(v.lanes))

    def element(index, now):
        value = _scalar(b, v, _element(b, v, source, b.add(done, index)))
        return [larger(value, now[0]), b.or_(now[1], b.fcmp_unordered("uno", value, value))]

    largest, has_nan = carried(b, b.sub(size, done), [infinity, flag(0)], element)
    for lane in range(v.lanes):
        number = ir.IntType(32)(lane)
        largest = larger(b.extract_element(best, number), largest)
        has_nan = b.or_(has_nan, b.extract_element(unordered, number))
    b.store(largest, b.bitcast(result, v.scalar.as_pointer()), align=v.size)
    b.store(b.zext(has_nan, WORD), b.bitcast(shifted(b, result, WORD(8)), WORD.as_pointer()), align=8)
