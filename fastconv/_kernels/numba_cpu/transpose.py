"""Transposition by squares of vectors in registers, emitted."""

from __future__ import annotations

from llvmlite import ir

from fastconv._kernels.numba_cpu.vectors import BYTES, WORD, Vectors, counted, internal_function, load, shifted, smaller

# Rows that become the colours of pixels, side by side.
_COLOURS = 3
# Rows so few that a square would be empty for the most part.
_FEW = 4
# Bytes inside which processors shuffle without being told the order by a register.
_PIECE = 16
# Bytes from what is read or written to what is asked for: no processor foresees so many rows at once.
_AHEAD = 256


def transpose_module(dtype: str) -> ir.Module:
    """Code of ``void (source, source_step, source_table, target, target_step, target_table, rows, columns)``.

    Element i of row j of the target = element j of row i of the source for i < rows, j < columns. Row i begins
    table[i] bytes after row 0, or i * step where there is no table; at most one side has one.
    """
    module = ir.Module("transpose")
    v = Vectors(module, dtype)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 8), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    _, _, source_table, _, _, target_table, _, _ = entry.args
    with b.if_else(b.icmp_signed("!=", source_table, WORD(0))) as (then, otherwise):
        with then:
            _squares(b, v, entry.args, _listed, _stepped)
        with otherwise, b.if_else(b.icmp_signed("!=", target_table, WORD(0))) as (then, otherwise):
            with then:
                _squares(b, v, entry.args, _stepped, _listed)
            with otherwise:
                _stepped_rows(b, v, entry.args)
    b.ret_void()
    return module


def transpose_streaming_module(dtype: str) -> ir.Module:
    """The same past the caches: no tables, whole squares, every row of the target aligned to vectors."""
    module = ir.Module("transpose_streaming")
    v = Vectors(module, dtype)
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * 8), "entry")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    source, source_step, _, target, target_step, _, rows, columns = entry.args
    with counted(b, columns, v.lanes) as j, counted(b, rows, v.lanes) as i:
        origin, to = (
            _stepped(b, b.inttoptr(b.add(address, b.mul(element, WORD(v.size))), BYTES), step, number)
            for address, element, step, number in ((source, j, source_step, i), (target, i, target_step, j))
        )
        square = [v.load(b, _stepped(b, origin, source_step, WORD(row))) for row in range(v.lanes)]
        for row, column in enumerate(transposed(b, v, square)):
            v.stream(b, column, _stepped(b, to, target_step, WORD(row)))
    b.ret_void()
    return module


def _stepped_rows(b, v, arguments):
    """Without tables: three rows whose elements come together, as those of images do, or squares."""
    source, source_step, _, target, target_step, _, rows, columns = arguments
    together = b.icmp_signed("==", target_step, WORD(_COLOURS * v.size))
    is_image = b.and_(b.icmp_signed("==", rows, WORD(_COLOURS)), together)
    with b.if_else(is_image) as (then, otherwise):
        with then:
            whole, single = _pixels(v, v.lanes), _pixels(v, 1)
            pixels = b.mul(b.sdiv(columns, WORD(v.lanes)), WORD(v.lanes))
            for function, first, end, step in ((whole, WORD(0), pixels, v.lanes), (single, pixels, columns, 1)):
                with b.if_then(b.icmp_signed("<", first, end)), counted(b, b.sub(end, first), step) as j:
                    column = b.mul(b.add(first, j), WORD(v.size))
                    at = (b.add(source, column), b.add(target, b.mul(column, WORD(_COLOURS))))
                    b.call(function, [*(b.inttoptr(address, BYTES) for address in at), source_step])
        with otherwise:
            _squares(b, v, arguments, _stepped, _stepped)


def _pixels(v, count):
    """Of so many pixels, a vector of them or one, the colours brought together."""
    function, b = internal_function(v.module, f"pixels{count}", [BYTES, BYTES, WORD])
    source, target, step = function.args
    planes = [_stepped(b, source, step, WORD(plane)) for plane in range(_COLOURS)]
    if count == 1:
        for number, place in enumerate(planes):
            v.copy_element(b, place, shifted(b, target, WORD(number * v.size)))
    else:
        red, green, blue = (v.load(b, place) for place in planes)
        for part in range(_COLOURS):
            elements = [divmod(part * count + lane, _COLOURS) for lane in range(count)]
            first = v.shuffle(b, red, green, [pixel + count * min(colour, 1) for pixel, colour in elements])
            order = [lane if colour < 2 else count + pixel for lane, (pixel, colour) in enumerate(elements)]
            v.store(b, v.shuffle(b, first, blue, order), shifted(b, target, WORD(part * count * v.size)))
    b.ret_void()
    return function


# Where row i of a matrix begins, given its first row, what tells (a step or the address of a table), and i: a value.
def _stepped(b, origin, step, number):
    return shifted(b, origin, b.mul(step, number))


def _listed(b, origin, table, number):
    place = shifted(b, b.inttoptr(table, BYTES), b.mul(number, WORD(8)))
    return shifted(b, origin, load(b, place, WORD, 8))


def _squares(b, v, arguments, source_row, target_row):
    """All squares of the matrix."""
    source, source_step, source_table, target, target_step, target_table, rows, columns = arguments
    makers = (_whole_square, _narrow_square, _few_rows, _part_square)
    whole, narrow, few, part = (make(v, source_row, target_row) for make in makers)
    with counted(b, columns, v.lanes) as j, counted(b, rows, v.lanes) as i:
        across, down = (smaller(b, b.sub(all_, now), WORD(v.lanes)) for all_, now in ((columns, j), (rows, i)))
        square = []
        for origin, step, table, row, number, element in (
            (source, source_step, source_table, source_row, i, j),
            (target, target_step, target_table, target_row, j, i),
        ):
            first = b.inttoptr(b.add(origin, b.mul(element, WORD(v.size))), BYTES)
            if row is _listed:
                square += [first, b.add(table, b.mul(number, WORD(8)))]
            else:
                square += [row(b, first, step, number), step]
        with b.if_else(b.icmp_signed("==", b.add(across, down), WORD(2 * v.lanes))) as (full, tail):
            with full:
                b.call(whole, square)
            with tail:
                is_few = b.and_(b.icmp_signed("==", across, WORD(v.lanes)), b.icmp_signed("<=", down, WORD(_FEW)))
                is_narrow = b.icmp_signed("==", down, WORD(v.lanes))
                function = b.select(is_narrow, narrow, b.select(is_few, few, part))
                b.call(function, [*square, down, across])


def _whole_square(v, source_row, target_row):
    name = f"whole{source_row.__name__}{target_row.__name__}"
    function, b = internal_function(v.module, name, [BYTES, WORD, BYTES, WORD])
    source, source_where, target, target_where = function.args
    places = [source_row(b, source, source_where, WORD(i)) for i in range(v.lanes)]
    rows = [v.load(b, place) for place in places]
    for place in places:
        v.prefetch(b, shifted(b, place, WORD(_AHEAD)))
    for j, column in enumerate(transposed(b, v, rows)):
        place = target_row(b, target, target_where, WORD(j))
        v.store(b, column, place)
        v.prefetch(b, shifted(b, place, WORD(_AHEAD)))
    b.ret_void()
    return function


def _narrow_square(v, source_row, target_row):
    """A square with all rows of the source, but not all columns: nothing is read or written beyond them."""
    name = f"narrow{source_row.__name__}{target_row.__name__}"
    function, b = internal_function(v.module, name, [BYTES, WORD, BYTES, WORD, WORD, WORD])
    source, source_where, target, target_where, _, valid_columns = function.args
    across = v.first_lanes(b, valid_columns)
    rows = [v.load_masked(b, source_row(b, source, source_where, WORD(i)), across) for i in range(v.lanes)]
    for j, column in enumerate(transposed(b, v, rows)[:-1]):
        with b.if_then(b.icmp_signed("<", WORD(j), valid_columns)):
            v.store(b, column, target_row(b, target, target_where, WORD(j)))
    b.ret_void()
    return function


def _few_rows(v, source_row, target_row):
    """A square with all columns of the source, but few rows: element by element."""
    name = f"few{source_row.__name__}{target_row.__name__}"
    function, b = internal_function(v.module, name, [BYTES, WORD, BYTES, WORD, WORD, WORD])
    source, source_where, target, target_where, valid_rows, _ = function.args
    places = [target_row(b, target, target_where, WORD(j)) for j in range(v.lanes)]
    with counted(b, valid_rows, 1) as i:
        row, offset = source_row(b, source, source_where, i), b.mul(i, WORD(v.size))
        for j, place in enumerate(places):
            v.copy_element(b, shifted(b, row, WORD(j * v.size)), shifted(b, place, offset))
    b.ret_void()
    return function


def _part_square(v, source_row, target_row):
    """A square without all rows of the source: nothing is read or written beyond them."""
    name = f"part{source_row.__name__}{target_row.__name__}"
    function, b = internal_function(v.module, name, [BYTES, WORD, BYTES, WORD, WORD, WORD])
    source, source_where, target, target_where, valid_rows, valid_columns = function.args

    def line(row, origin, where, number, valid, lanes):
        """Place and mask of a row; beyond the last one the first stands in, with nothing to touch."""
        there = b.icmp_signed("<", WORD(number), valid)
        place = row(b, origin, where, b.select(there, WORD(number), WORD(0)))
        return place, v.first_lanes(b, b.select(there, lanes, WORD(0)))

    lines = (line(source_row, source, source_where, i, valid_rows, valid_columns) for i in range(v.lanes))
    rows = [v.load_masked(b, *at) for at in lines]
    for j, column in enumerate(transposed(b, v, rows)):
        v.store_masked(b, column, *line(target_row, target, target_where, j, valid_columns, valid_rows))
    b.ret_void()
    return function


def transposed(b, v, rows):
    """Squares of a piece by interleaving the halves of their rows until element (i, j) is at (j, i); then the square of
    pieces, by parting the even from the odd ones as many times."""
    piece, half = max(1, _PIECE // v.size), v.lanes // 2
    inner = [
        [first + i + j for first in range(0, v.lanes, piece) for i in part for j in (0, v.lanes)]
        for part in (range(piece // 2), range(piece // 2, piece))
    ]
    parted = [
        [first + i for first in range(start, 2 * v.lanes, 2 * piece) for i in range(piece)] for start in (0, piece)
    ]
    for _ in range(piece.bit_length() - 1):
        firsts = [first + i for first in range(0, v.lanes, piece) for i in range(piece // 2)]
        rows = [v.shuffle(b, rows[i], rows[i + piece // 2], order) for i in firsts for order in inner]
    for _ in range((v.lanes // piece).bit_length() - 1):
        firsts = [i // piece * 2 * piece + i % piece for i in range(half)]
        rows = [v.shuffle(b, rows[i], rows[i + piece], order) for order in parted for i in firsts]
    return rows
