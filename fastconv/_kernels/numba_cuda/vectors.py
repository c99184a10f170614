"""Four neighbouring elements in one access of up to 16 bytes, or two of float64: Numba itself moves them one by one.

Their address must be a multiple of 16, or of the bytes that they take where these are fewer.
"""

from fastconv._kernels.numba_cuda.settings import SIMULATED, inlined

if SIMULATED:

    @inlined
    def load4(array, index):
        """Elements ``index`` .. ``index + 3``."""
        return array[index], array[index + 1], array[index + 2], array[index + 3]

    @inlined
    def store4(array, index, values):
        """Overwrite elements ``index`` .. ``index + 3``."""
        for item in range(4):
            array[index + item] = values[item]

else:
    from fastconv._kernels.numba_cuda.vector_intrinsics import load4, store4

__all__ = ["load4", "store4"]
