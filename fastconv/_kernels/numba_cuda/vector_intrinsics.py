"""What ``vectors`` offers, as LLVM instructions."""

from llvmlite import ir

from fastconv._kernels.numba_cuda.settings import cgutils, intrinsic, types

# Of one access.
_MOST_BYTES = 16
_INT32 = ir.IntType(32)


@intrinsic
def load4(typingctx, array, index):
    """Elements ``index`` .. ``index + 3``."""
    result = types.UniTuple(array.dtype, 4)

    def generate(context, builder, signature, args):
        address, alignment = _vector_address(context, builder, signature, args)
        vector = builder.load(address, align=alignment)
        items = [builder.extract_element(vector, ir.Constant(_INT32, i)) for i in range(4)]
        return context.make_tuple(builder, result, items)

    return result(array, types.int64), generate


@intrinsic
def store4(typingctx, array, index, values):
    """Overwrite elements ``index`` .. ``index + 3``."""

    def generate(context, builder, signature, args):
        address, alignment = _vector_address(context, builder, signature, args)
        vector = ir.Constant(address.type.pointee, ir.Undefined)
        for i, item in enumerate(cgutils.unpack_tuple(builder, args[2])):
            vector = builder.insert_element(vector, item, ir.Constant(_INT32, i))
        builder.store(vector, address, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.int64, values), generate


def _vector_address(context, builder, signature, args):
    """The address of an element as that of a vector of four, and what it is a multiple of."""
    array, item = signature.args[0], context.get_data_type(signature.args[0].dtype)
    begin = args[0]
    if isinstance(array, types.Array):
        begin = cgutils.create_struct_proxy(array)(context, builder, begin).data
    address = builder.gep(begin, [args[1]])
    alignment = min(4 * array.dtype.bitwidth // 8, _MOST_BYTES)
    return builder.bitcast(address, ir.VectorType(item, 4).as_pointer(address.type.addrspace)), alignment
