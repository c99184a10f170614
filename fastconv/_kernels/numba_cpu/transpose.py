"""Transposition by squares of vectors in registers, emitted."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, counted, internal_function, load, shifted, smaller


def transpose_module(dtype: str) -> ir.Module:
    """Code of ``void (source, source_step, target, target_step, rows, columns, table)``, the steps in bytes.

    target[j * target_step + i] = source[i * source_step + j] for i < rows, j < columns. Where there is a table, row i
    of the source begins at source + table[i] instead.
    """
    module = ir.Module("transpose")
    v = Vectors(module, dtype)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 7), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    table = entry.args[6]
    with b.if_else(b.icmp_signed("==", table, WORD(0))) as (stepped, listed):
        for block, has_table in ((stepped, False), (listed, True)):
            with block:
                _squares(b, v, entry.args, has_table)
    b.ret_void()
    return module


def _squares(b, v, arguments, has_table):
    """All squares of the matrix."""
    source, source_step, target, target_step, rows, columns, table = arguments
    kind = "listed" if has_table else "stepped"
    whole, part = _whole_square(v, kind, has_table), _part_square(v, kind, has_table)
    with counted(b, columns, v.lanes) as j, counted(b, rows, v.lanes) as i:
        across, down = (smaller(b, b.sub(all_, now), WORD(v.lanes)) for all_, now in ((columns, j), (rows, i)))
        first = b.add(source, b.mul(j, WORD(v.size)))
        if not has_table:
            first = b.add(first, b.mul(i, source_step))
        place = b.add(b.add(target, b.mul(j, target_step)), b.mul(i, WORD(v.size)))
        where = b.add(table, b.mul(i, WORD(8))) if has_table else source_step
        square = [b.inttoptr(first, BYTES), where, b.inttoptr(place, BYTES), target_step]
        with b.if_else(b.icmp_signed("==", b.add(across, down), WORD(2 * v.lanes))) as (full, tail):
            with full:
                b.call(whole, square)
            with tail:
                b.call(part, [*square, down, across])


def _row(b, origin, where, number, has_table):
    """How far a row is from the first one; ``number`` is an integer or a value."""
    number = WORD(number) if isinstance(number, int) else number
    if not has_table:
        return shifted(b, origin, b.mul(where, number))
    table = b.inttoptr(where, BYTES)
    return shifted(b, origin, load(b, shifted(b, table, b.mul(number, WORD(8))), WORD, 8))


def _whole_square(v, kind, has_table):
    function, b = internal_function(v.module, f"{kind}_whole", [BYTES, WORD, BYTES, WORD])
    source, where, target, target_step = function.args
    rows = [v.load(b, _row(b, source, where, i, has_table)) for i in range(v.lanes)]
    for j, column in enumerate(_transposed(b, v, rows)):
        v.store(b, column, _row(b, target, target_step, j, has_table=False))
    b.ret_void()
    return function


def _part_square(v, kind, has_table):
    """A square that is not full: only valid elements are read and written."""
    function, b = internal_function(v.module, f"{kind}_part", [BYTES, WORD, BYTES, WORD, WORD, WORD])
    source, where, target, target_step, valid_rows, valid_columns = function.args
    down, across = v.first_lanes(b, valid_rows), v.first_lanes(b, valid_columns)
    none = ir.Constant(v.masks, None)

    def line(number, valid, mask, origin, where, has_table):
        """Place and mask of a row or column; beyond the last one the first stands in, with nothing to touch."""
        there = b.icmp_signed("<", WORD(number), valid)
        number = b.select(there, WORD(number), WORD(0))
        return _row(b, origin, where, number, has_table), b.select(there, mask, none)

    rows = [v.load_masked(b, *line(i, valid_rows, across, source, where, has_table)) for i in range(v.lanes)]
    for j, column in enumerate(_transposed(b, v, rows)):
        v.store_masked(b, column, *line(j, valid_columns, down, target, target_step, False))
    b.ret_void()
    return function


def _transposed(b, v, rows):
    """Interleaving the halves of the rows log2(lanes) times moves element (i, j) to (j, i)."""
    half = v.lanes // 2
    for _ in range(v.lanes.bit_length() - 1):
        rows = [new for i in range(half) for new in v.interleave(b, rows[i], rows[i + half])]
    return rows
