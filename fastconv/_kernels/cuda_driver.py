"""Whether an NVIDIA driver and a device are there, asked of the driver itself; neither Numba nor CuPy is imported."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from functools import cache

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@cache
def missing() -> str | None:
    """Why no kernel could run here: no driver, one that is too old, no device; None where nothing is missing."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return None
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"there is no NVIDIA driver ({_LIBRARY} cannot be loaded)"
    if status := driver.cuInit(0):
        return f"the NVIDIA driver finds no usable device (cuInit returned {status})"
    count, version = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    driver.cuDriverGetVersion(ctypes.byref(version))
    if not count.value:
        return "there is no CUDA device"
    return _too_old(version.value // 1000, version.value % 1000 // 10)


def _too_old(major: int, minor: int) -> str | None:
    """Code of a newer toolkit does not load; which one is installed, the version of its bindings says."""
    try:
        installed = int(importlib.metadata.version("cuda-bindings").split(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    if major >= installed:
        return None
    return f"the driver is for CUDA {major}.{minor}, the installed packages are for CUDA {installed}"
