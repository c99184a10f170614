"""What kernels do with addresses."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv._kernels.numba_cpu.settings import HAS_STREAMING, VECTOR_BYTES

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_WORD, VECTOR_BYTES // 8)


@intrinsic
def pointer(typingctx, address):
    """An address as a pointer."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


@intrinsic
def call(typingctx, address, *arguments):
    """Call the NativeFunction at an address, with integers as its arguments."""
    signature = types.void(types.int64, types.Tuple(arguments))

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        words = [context.cast(builder, value, kind, types.int64) for value, kind in zip(values, arguments, strict=True)]
        function = ir.FunctionType(ir.VoidType(), [_WORD] * len(words))
        builder.call(builder.inttoptr(args[0], function.as_pointer()), words)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def word(typingctx, address, index):
    """The 64-bit integer number ``index`` of those at an address."""

    def codegen(context, builder, signature, args):
        return builder.load(_word_place(builder, *args), typ=_WORD)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put_word(typingctx, address, index, value):
    """Set the 64-bit integer number ``index`` of those at an address."""

    def codegen(context, builder, signature, args):
        builder.store(args[2], _word_place(builder, *args[:2]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_bytes(typingctx, target, source, count):
    """Copy some bytes to where they do not overlap."""

    def codegen(context, builder, signature, args):
        places = [builder.inttoptr(place, _BYTE.as_pointer()) for place in args[:2]]
        cgutils.raw_memcpy(builder, *places, args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def move_vector(typingctx, target, source):
    """Copy one whole vector between places that need not be aligned."""

    def codegen(context, builder, signature, args):
        target, source = (builder.inttoptr(place, _VECTOR.as_pointer()) for place in args)
        builder.store(builder.load(source, typ=_VECTOR, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def stream_bytes(typingctx, target, source, count):
    """Copy some bytes past the caches, where the machine can; both places are aligned to vectors."""

    def codegen(context, builder, signature, args):
        target, source, count = args
        whole = builder.and_(count, _WORD(-VECTOR_BYTES))
        with cgutils.for_range_slice(builder, _WORD(0), whole, _WORD(VECTOR_BYTES), _WORD) as (at, _):
            places = [builder.inttoptr(builder.add(place, at), _VECTOR.as_pointer()) for place in (source, target)]
            value = builder.load(places[0], typ=_VECTOR, align=VECTOR_BYTES)
            stored = builder.store(value, places[1], align=VECTOR_BYTES)
            if HAS_STREAMING:
                stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        rest = [builder.inttoptr(builder.add(place, whole), _BYTE.as_pointer()) for place in (target, source)]
        cgutils.raw_memcpy(builder, *rest, builder.sub(count, whole), 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def local_bytes(typingctx, count):
    """The address of so many bytes, a literal, which begin at a cache line and live as long as the call."""

    def codegen(context, builder, signature, args):
        place = cgutils.alloca_once(builder, ir.ArrayType(_BYTE, count.literal_value))
        place.align = 64
        return builder.ptrtoint(place, _WORD)

    return types.int64(count), codegen


@intrinsic
def clear_bytes(typingctx, target, count):
    """Set some bytes to zero."""

    def codegen(context, builder, signature, args):
        cgutils.memset(builder, builder.inttoptr(args[0], _BYTE.as_pointer()), args[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def prefetch_read(typingctx, address):
    """Ask for the cache line at an address, which need not be one of the process.

    Also where it will be written: asking for that costs more than it gains.
    """

    def codegen(context, builder, signature, args):
        kind, flag = _BYTE.as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [kind, flag, flag, flag]), "llvm.prefetch.p0"
        )
        reads, locality, data = flag(0), flag(2), flag(1)
        builder.call(function, [builder.inttoptr(args[0], kind), reads, locality, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def fence_streams(typingctx):
    """Let other threads see what went past the caches before what is written from here on."""

    def codegen(context, builder, signature, args):
        if HAS_STREAMING:
            function = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.x86.sse.sfence"), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _word_place(builder, address, index):
    return builder.inttoptr(builder.add(address, builder.mul(index, _WORD(8))), _WORD.as_pointer())
