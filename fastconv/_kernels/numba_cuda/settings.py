"""Every compiler setting of the CUDA kernels: nothing else imports ``numba.cuda`` or calls its ``jit``.

With NUMBA_ENABLE_CUDASIM=1 Numba runs kernels in Python, on arrays in the host's memory.
"""

from __future__ import annotations

import warnings
from functools import cached_property, lru_cache

from numba import config, cuda, types

SIMULATED = bool(config.ENABLE_CUDASIM)
if not SIMULATED:
    from numba.core import cgutils
    from numba.cuda.extending import intrinsic

    __all__ = ["cgutils", "cuda", "intrinsic", "types"]

int32, int64, uint16, uint32 = types.int32, types.int64, types.uint16, types.uint32
# What lies in memory in words of 16 bits, and the dtype that it is computed in; what every dtype is computed in.
WORDS = {"float16": "float32", "bfloat16": "float32"}
FLOATS = {"float32": types.float32, "float64": types.float64}
FLOATS |= {dtype: FLOATS[wide] for dtype, wide in WORDS.items()}
UNSIGNED = {"uint8": types.uint8, "uint16": types.uint16, "uint32": types.uint32}
# Of arrays in shared memory that are read by vectors; simulated ones have none.
ALIGNMENT = None if SIMULATED else 16
# Numba's default contracts a product and a sum to one operation. Nothing is reordered, and NaN, infinities and signed
# zeros are as IEEE 754 has them.
_OPTIONS = {"fastmath": False}
# A function that is called cannot keep arrays of its caller in registers.
_INLINED = {} if SIMULATED else {"forceinline": True}
# Kernels are linked with nothing. Numba's default, to optimise while linking, compiles everything a second time, for
# four times as long, and to other code than ``CudaKernel.ptx`` has.
_AS_PTX = {} if SIMULATED else {"lto": False}


class CudaKernel:
    """A kernel for arguments of some types: numbers, tuples of numbers, and addresses of arrays.

    An address says neither how long its array is nor that an index counts from its end: nothing tests for either.
    """

    def __init__(self, function, signature):
        self.function, self.signature = function, signature

    @cached_property
    def dispatcher(self):
        """What launches it; needs a GPU, and compiles for that."""
        return cuda.jit(self.signature, **_OPTIONS, **_AS_PTX)(self.function)

    def ptx(self, capability: tuple[int, int]) -> str:
        """What Numba makes of it for a compute capability; needs no GPU."""
        code, _ = cuda.compile(
            self.function, self.signature, device=False, abi="numba", cc=capability, output="ptx", **_OPTIONS
        )
        return code


def compiled(function, *arguments) -> CudaKernel:
    """A kernel, which is compiled when it is first launched."""
    return CudaKernel(function, types.void(*arguments))


def inlined(function):
    """A part of kernels."""
    return cuda.jit(device=True, **_OPTIONS, **_INLINED)(function)


def address(dtype):
    """The type of an array's address."""
    return types.CPointer(dtype)


def integers(count: int):
    """The type of so many integers in a tuple."""
    return types.UniTuple(int64, count)


# A simulated kernel knows its last grid only.
@lru_cache(maxsize=0 if SIMULATED else 1024)
def configured(kernel: CudaKernel, blocks: int, threads: int, stream: int):
    """A kernel that is to run in so many blocks, on the stream with this address."""
    with warnings.catch_warnings():
        # Of grids that do not fill a GPU; small problems have no other.
        warnings.simplefilter("ignore")
        return kernel.dispatcher[blocks, threads, cuda.external_stream(stream) if stream else 0]
