"""The microkernel, emitted as explicit vectors: LLVM would keep a plain loop's sums in memory.

sums[p][o] += Σ_t w[t][o] * broadcast(x[t * step + p * shift]),  t = 0 .. count - 1

for V vectors o and P columns p, held in registers during the sum. Steps and shifts are in bytes.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastconv._kernels.numba_cpu.settings import HAS_FMA, MAX_VECTORS, VECTOR_BYTES

_I64 = ir.IntType(64)
# Vectors x columns: few enough to compile fast, and any number of either splits into them.
TILES = [(vectors, columns) for vectors in (4, 2, 1) if vectors <= MAX_VECTORS for columns in (6, 4, 2, 1)]
_TILE_KEY = 8
_SCALAR = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


@intrinsic
def add_panel(typingctx, real, vectors, columns, count, w, x, step, shift, sums):
    """Add one panel of products to the sums; (vectors, columns) must be one of TILES, all but ``real`` are int64."""
    signature = types.void(real, *[types.int64] * 8)

    def codegen(context, builder, signature, args):
        tile = builder.add(builder.mul(args[1], _I64(_TILE_KEY)), args[2])
        end = builder.append_basic_block("panel_added")
        switch = builder.switch(tile, end)
        for vectors, columns in TILES:
            block = builder.append_basic_block(f"panel_{vectors}x{columns}")
            switch.add_case(_I64(vectors * _TILE_KEY + columns), block)
            with builder.goto_block(block):
                builder.call(_microkernel(builder.module, real.dtype, vectors, columns), args[3:])
                builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return signature, codegen


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
