"""What kernels do with addresses."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


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
        word = ir.IntType(64)
        function = ir.FunctionType(ir.VoidType(), [word] * len(words))
        builder.call(builder.inttoptr(args[0], function.as_pointer()), words)
        return context.get_dummy_value()

    return signature, codegen
