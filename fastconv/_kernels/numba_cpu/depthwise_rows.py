"""Rows of planes copied, taken apart into even and odd columns, or put together from them: emitted.

No piece is wider than the row, and the last one overlaps the one before it: nothing is read or written beyond a row.
"""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.depthwise_arguments import COPY, JOIN, SPLIT
from fastconv._kernels.numba_cpu.vectors import (
    BYTES,
    WORD,
    Vectors,
    carried,
    counted,
    internal_function,
    shifted,
    smaller,
)


def rows_module(dtype: str) -> ir.Module:
    """Code of ``void (kind, wide, wide_step, even, odd, step, columns, rows)``; steps lead from row to row, in bytes.

    Of every row, COPY: even = wide. SPLIT: even, odd = the columns of wide. JOIN: the columns of wide = even, odd.
    """
    module = ir.Module("rows")
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 8), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    kind, *arguments = entry.args
    for number, move in ((COPY, _copy), (SPLIT, _split), (JOIN, _join)):
        with b.if_then(b.icmp_signed("==", kind, WORD(number))):
            b.call(_rows(module, dtype, move), arguments)
    b.ret_void()
    return module


def _copy(b, v, wide, even, _odd):
    v.store(b, v.load(b, wide), even)


def _split(b, v, wide, even, odd):
    pair = (v.load(b, wide), v.load(b, shifted(b, wide, WORD(v.lanes * v.size))))
    for value, place in zip(v.deinterleave(b, *pair), (even, odd), strict=True):
        v.store(b, value, place)


def _join(b, v, wide, even, odd):
    first, second = v.interleave(b, v.load(b, even), v.load(b, odd))
    v.store(b, first, wide)
    v.store(b, second, shifted(b, wide, WORD(v.lanes * v.size)))


def _rows(module, dtype, move):
    """The function for rows of any width: it takes the widest vectors that a row has."""
    function, b = internal_function(module, f"rows{move.__name__}", [WORD] * 7)
    *places, columns, rows = function.args
    narrow = columns
    if move is not _copy:
        narrow = b.ashr(columns, WORD(1))
        with b.if_then(b.trunc(columns, ir.IntType(1))):
            _last_column(b, Vectors(module, dtype), move, *places, narrow, rows)
    widest = Vectors(module, dtype)
    with b.if_then(b.icmp_signed(">", narrow, WORD(2 * widest.lanes))):
        b.call(_long_rows(widest, move), [*places, narrow, rows])
        b.ret_void()
    for lanes in (widest.lanes >> i for i in range(widest.lanes.bit_length())):
        with b.if_then(b.icmp_signed(">=", narrow, WORD(lanes))):
            b.call(_short_rows(Vectors(module, dtype, lanes * widest.size), move), [*places, narrow, rows])
            b.ret_void()
    b.ret_void()
    return function


def _last_column(b, v, move, wide, wide_step, even, _odd, step, narrow, rows):
    """The column of an odd number of columns that has no pair."""
    at = b.mul(narrow, WORD(v.size))
    with counted(b, rows, 1) as row:
        pair = [b.add(wide, b.add(at, at)), b.add(even, at)]
        pair = [b.add(place, b.mul(row, by)) for place, by in zip(pair, (wide_step, step), strict=True)]
        source, target = (b.inttoptr(place, BYTES) for place in (pair if move is _split else pair[::-1]))
        v.copy_element(b, source, target)


def _short_rows(v, move):
    """The function for rows of one or two vectors."""
    function, b = internal_function(v.module, f"short{move.__name__}_{v.lanes}", [WORD] * 7)
    wide, wide_step, even, odd, step, narrow, rows = function.args
    at = b.mul(b.sub(narrow, WORD(v.lanes)), WORD(v.size))
    wide_at = at if move is _copy else b.add(at, at)

    def row(_, now):
        second = [b.add(place, by) for place, by in zip(now, (wide_at, at, at), strict=True)]
        for places in (now, second):
            move(b, v, *(b.inttoptr(place, BYTES) for place in places))
        return [b.add(place, by) for place, by in zip(now, (wide_step, step, step), strict=True)]

    carried(b, rows, [wide, even, odd], row)
    b.ret_void()
    return function


def _long_rows(v, move):
    """The function for longer ones."""
    function, b = internal_function(v.module, f"long{move.__name__}", [WORD] * 7)
    wide, wide_step, even, odd, step, narrow, rows = function.args
    last = b.sub(narrow, WORD(v.lanes))
    with counted(b, rows, 1) as row, counted(b, narrow, v.lanes) as piece:
        at = b.mul(smaller(b, piece, last), WORD(v.size))
        offset = b.add(b.mul(row, step), at)
        wide_at = b.add(b.mul(row, wide_step), at if move is _copy else b.add(at, at))
        places = (b.add(wide, wide_at), b.add(even, offset), b.add(odd, offset))
        move(b, v, *(b.inttoptr(place, BYTES) for place in places))
    b.ret_void()
    return function
