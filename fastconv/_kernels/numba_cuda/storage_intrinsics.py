"""Bits of numbers as LLVM instructions: what ``storage`` takes numbers in words of 16 bits apart with."""

from llvmlite import ir

from fastconv._kernels.numba_cuda.settings import intrinsic, types


@intrinsic
def half_to_float(typingctx, word):
    """The value of a float16."""

    def generate(context, builder, signature, args):
        return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def float_to_half(typingctx, value):
    """The nearest float16; of two, the even one."""

    def generate(context, builder, signature, args):
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def bits_to_float(typingctx, bits):
    """The float32 of these bits."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def float_to_bits(typingctx, value):
    """The bits of a float32."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), generate
