"""Launches of GPU kernels without a GPU: ``python -m support.cuda_launches DTYPE`` prints how many there were.

No kernel runs. What each of them is told goes through the checks and conversions of Numba and of the driver's bindings.
"""

import inspect
import itertools
import sys
import types

import ml_dtypes  # noqa: F401 - NumPy knows bfloat16 from then on
import numba.cuda.dispatcher
import numpy as np
from cuda.core._kernel_arg_handler import ParamHolder

from fastconv._kernels import cuda_driver, numba_cuda
from fastconv._kernels.contract import OK, OPERATIONS
from fastconv._kernels.numba_cuda import launch
from fastconv.bench.cases import AWKWARD_LOCALS
from fastconv.dtypes import HALVES
from fastconv.geometry import (
    ChannelsGeometry,
    ClassesGeometry,
    Conv2dGeometry,
    ElementsGeometry,
    PartGeometry,
    ResponseGeometry,
)
from support.cuda_arrays import DeviceAligned, DeviceArray, DeviceFenced
from support.cuda_passes import inputs_of
from support.data import FORMATS, named_rng
from support.kernel_calls import (
    CONV_CASES,
    CONV_OPERATIONS,
    LOCAL_OPERATIONS,
    POOL_CASES,
    POOL_OPERATIONS,
    activations,
    geometry_of,
    integer_inputs,
    problem_of,
    run_fenced,
)

# Of every device.
MOST_BLOCKS, MOST_THREADS, MOST_BYTES = 2**31 - 1, 1024, 4096
# Of the operations with these beginnings; all others go over elements.
GEOMETRIES = {
    "batch_norm": ChannelsGeometry.of((2, 3, 4, 5)),
    ("log_softmax", "cross_entropy"): ClassesGeometry.of((3, 40), 1),
    "local_response_norm": ResponseGeometry.of((2, 6, 3, 4), 1, 3),
    "copy_part": PartGeometry(3, 4, 10, 2),
    "": ElementsGeometry((37,)),
}
# What takes half types, whose values are those of float32.
OF_HALVES = {*CONV_OPERATIONS, "max_pool2d_forward", "max_pool2d_grad_input"}
OF_HALVES |= {"relu_forward", "relu_grad_input", "add_relu_forward", "accumulate_"}
cuda_driver.missing = lambda: None
_converted = numba.cuda.dispatcher._Kernel._prepare_args
_told = types.SimpleNamespace(extensions=[])
_told._prepare_args = types.MethodType(_converted, _told)
launched = []


def configured(kernel, blocks, threads, stream):
    """In the place of what launches a kernel."""
    assert 0 < blocks <= MOST_BLOCKS
    assert 0 < threads <= MOST_THREADS
    assert stream == 0
    name = kernel.function.__name__

    def checked(*arguments):
        assert len(arguments) == len(kernel.signature.args) == len(inspect.signature(kernel.function).parameters), name
        given = []
        for kind, value in zip(kernel.signature.args, arguments, strict=True):
            _told._prepare_args(kind, value, stream, [], given)
        assert ParamHolder(tuple(given)).ptr
        assert 8 * len(given) <= MOST_BYTES, name
        launched.append(name)

    return checked


def taken(dtype):
    """The operations that have kernels for a dtype."""
    return OF_HALVES if dtype in HALVES else OPERATIONS.keys()


def convolutions_and_pools(dtype):
    """Every case, variant and combination of formats."""
    kinds = ((CONV_OPERATIONS, CONV_CASES), (POOL_OPERATIONS, POOL_CASES), (LOCAL_OPERATIONS, AWKWARD_LOCALS))
    for operations, cases in kinds:
        for case, op in itertools.product(cases, operations):
            if op not in taken(dtype):
                continue
            inputs = integer_inputs(case, "float32" if dtype in HALVES else dtype)
            formats = itertools.product(FORMATS, repeat=len(activations(op)))
            names = (None, *(variant.name for variant in numba_cuda.VARIANTS[op]))
            for layouts, variant in itertools.product(formats, names):
                options = {"bias", "offsets"} if getattr(case, "bias", True) else {"offsets"}
                problem = problem_of(op, geometry_of(case), dtype, layouts, options, variant)
                run_fenced("cuda", op, problem, inputs, DeviceAligned if variant else DeviceFenced)


def passes(dtype):
    """Every other operation, with all that is optional and without it."""
    for op in taken(dtype) - set(CONV_OPERATIONS) - set(POOL_OPERATIONS) - set(LOCAL_OPERATIONS):
        geometry = next(geometry for begins, geometry in GEOMETRIES.items() if op.startswith(begins))
        inputs = inputs_of(op, geometry, dtype, named_rng(op))
        optional = OPERATIONS[op].optional
        for present in ((), optional):
            formats = [FORMATS[0] for name in activations(op) if name in present or name not in optional]
            run_fenced("cuda", op, problem_of(op, geometry, dtype, formats, present), inputs, DeviceFenced)


def large(dtype):
    """Numbers that take more than 32 bits, and more pixels than one launch has; nobody reads what the arrays hold."""
    geometry = Conv2dGeometry.of((1 << 20, 8, 56, 56), (8, 8, 3, 3), padding=1)
    assert geometry.N * geometry.rows.out * geometry.cols.out > MOST_BLOCKS
    shapes = dict.fromkeys(("x", "out", "grad_out", "grad_input"), geometry.x_shape)
    shapes |= dict.fromkeys(("weight", "grad_weight"), geometry.weight_shape)
    for op in CONV_OPERATIONS[:2]:
        kernel = numba_cuda.prepare(op, problem_of(op, geometry, dtype, FORMATS[:1] * 2))
        names = (name for name in (*OPERATIONS[op].inputs, *OPERATIONS[op].outputs) if name in shapes)
        operands = {name: _anywhere(shapes[name], dtype) for name in names}
        before = len(launched)
        assert kernel(*(operands | {"weight": kernel.pack(operands["weight"])}).values()) == OK
        assert len(launched) > before + 2


def _anywhere(shape, dtype):
    """An array of any size that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape).view(DeviceArray)


def addresses():
    """Of CuPy's arrays no interface is asked for."""
    assert launch.memory(types.SimpleNamespace(data=types.SimpleNamespace(ptr=528))) == 528
    array = np.zeros(3).view(DeviceArray)
    assert launch.memory(array) == array.ctypes.data


def code():
    """What is launched is what ``CudaKernel.ptx`` shows, whose registers and memory are known."""
    capability = types.SimpleNamespace(compute_capability=(9, 0))
    numba.cuda.dispatcher.get_current_device = lambda: capability
    numba.cuda.cudadrv.devices.get_context = lambda: types.SimpleNamespace(device=capability)
    numba.cuda.dispatcher._Kernel.bind = lambda self: None
    dispatcher = numba_cuda.kernels("float32")["machine_copy"].dispatcher
    (kernel,) = dispatcher.overloads.values()
    assert not kernel._codelibrary._lto


def main():
    code()
    addresses()
    launch.configured = configured
    convolutions_and_pools(sys.argv[1])
    passes(sys.argv[1])
    large(sys.argv[1])
    print(len(launched), *sorted(set(launched)))


if __name__ == "__main__":
    main()
