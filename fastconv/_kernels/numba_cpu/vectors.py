"""The microkernel, emitted as explicit vectors: LLVM would keep a plain loop's sums in memory.

sums[p][o] += Σ_t w[t][o] * broadcast(x[t * step + p * shift]),  t = 0 .. count - 1

for V vectors o and P columns p, held in registers during the sum. Steps and shifts are in bytes.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv._kernels.numba_cpu.settings import HAS_FMA, VECTOR_BYTES

_I64 = ir.IntType(64)
_BYTE = ir.IntType(8)
_SCALAR = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


@intrinsic(prefer_literal=True)
def panel(typingctx, real, vectors, columns, count, w, x, step, shift, sums):
    """Add one panel of products to the sums; ``vectors`` and ``columns`` are literals, the rest int64."""
    if not (isinstance(vectors, types.IntegerLiteral) and isinstance(columns, types.IntegerLiteral)):
        return None
    tile = real.dtype, vectors.literal_value, columns.literal_value
    signature = types.void(real, vectors, columns, *[types.int64] * 6)

    def codegen(context, builder, signature, args):
        builder.call(_microkernel(builder.module, *tile), args[3:])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def pointer(typingctx, address):
    """An address as a pointer."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


def _microkernel(module, real, vectors, columns):
    """The module's function for one tile; every module has its own copy."""
    name = f"fastconv_panel_{real}_{vectors}x{columns}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    _emit(module, function, real, vectors, columns)
    return function


def _emit(module, function, real, vectors, columns):
    scalar = _SCALAR[real.name]
    size = real.bitwidth // 8
    vector = ir.VectorType(scalar, VECTOR_BYTES // size)
    count, w, x, step, shift, sums = function.args
    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    shifts = [builder.mul(shift, _I64(p)) for p in range(columns)]
    builder.branch(loop)

    builder.position_at_end(loop)
    index, w_now, x_now = (builder.phi(_I64) for _ in range(3))
    tiles = [[builder.phi(vector) for _ in range(vectors)] for _ in range(columns)]
    weights = [_load(builder, builder.add(w_now, _I64(o * VECTOR_BYTES)), vector, size) for o in range(vectors)]
    new = []
    for p in range(columns):
        value = _splat(builder, _load(builder, builder.add(x_now, shifts[p]), scalar, size), vector)
        new.append([_multiply_add(module, builder, weights[o], value, tiles[p][o]) for o in range(vectors)])
    following = [
        (index, count, builder.sub(index, _I64(1))),
        (w_now, w, builder.add(w_now, _I64(vectors * VECTOR_BYTES))),
        (x_now, x, builder.add(x_now, step)),
    ]
    builder.cbranch(builder.icmp_signed(">", following[0][2], _I64(0)), loop, done)
    zero = ir.Constant(vector, None)
    following += [(tiles[p][o], zero, new[p][o]) for p in range(columns) for o in range(vectors)]
    for phi, first, later in following:
        phi.add_incoming(first, entry)
        phi.add_incoming(later, loop)

    builder.position_at_end(done)
    for p in range(columns):
        for o in range(vectors):
            place = builder.add(sums, _I64((p * vectors + o) * VECTOR_BYTES))
            total = builder.fadd(_load(builder, place, vector, size), new[p][o])
            builder.store(total, builder.inttoptr(place, vector.as_pointer()), align=size)
    builder.ret_void()


def _load(builder, address, kind, align):
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align, typ=kind)


def _splat(builder, value, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    single = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _multiply_add(module, builder, a, b, c):
    if not HAS_FMA:
        return builder.fadd(builder.fmul(a, b), c)
    name = f"llvm.fma.v{a.type.count}{a.type.element.intrinsic_name}"
    function = module.globals.get(name) or ir.Function(module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def tile_switch(real, serial):
    """A compiled function (vectors, columns, ...) that calls the microkernel of that tile.

    Tiles have 1, 2 or 4 vectors and 1, 2, 4 or 6 columns: few enough to compile fast.
    """

    @serial
    def add_panel(vectors, columns, count, w, x, step, shift, sums):
        if vectors == 4:
            if columns == 6:
                panel(real, 4, 6, count, w, x, step, shift, sums)
            elif columns == 4:
                panel(real, 4, 4, count, w, x, step, shift, sums)
            elif columns == 2:
                panel(real, 4, 2, count, w, x, step, shift, sums)
            else:
                panel(real, 4, 1, count, w, x, step, shift, sums)
        elif vectors == 2:
            if columns == 6:
                panel(real, 2, 6, count, w, x, step, shift, sums)
            elif columns == 4:
                panel(real, 2, 4, count, w, x, step, shift, sums)
            elif columns == 2:
                panel(real, 2, 2, count, w, x, step, shift, sums)
            else:
                panel(real, 2, 1, count, w, x, step, shift, sums)
        elif columns == 6:
            panel(real, 1, 6, count, w, x, step, shift, sums)
        elif columns == 4:
            panel(real, 1, 4, count, w, x, step, shift, sums)
        elif columns == 2:
            panel(real, 1, 2, count, w, x, step, shift, sums)
        else:
            panel(real, 1, 1, count, w, x, step, shift, sums)

    return add_panel
