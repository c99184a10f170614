"""Whether an NVIDIA driver and a device are there; neither Numba nor CuPy is imported.

The answer must cost nothing later: a process that has called cuInit cannot use CUDA in a child that it forks, as data
loaders do. So the driver is asked for its version only, which needs no initialisation, and the devices are counted by
NVML, which makes no context and may be asked before a fork.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from functools import cache

_IS_WINDOWS = sys.platform == "win32"
_LIBRARY = "nvcuda.dll" if _IS_WINDOWS else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if _IS_WINDOWS else "libnvidia-ml.so.1"


@cache
def missing() -> str | None:
    """Why no kernel could run here: no driver, one that is too old, no device; None where nothing is missing."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return None
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"there is no NVIDIA driver ({_LIBRARY} cannot be loaded)"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return _missing_device() or _too_old(version.value // 1000, version.value % 1000 // 10)


def _missing_device() -> str | None:
    # The driver takes the devices that are named before the first one that does not exist.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides all CUDA devices"
    try:
        management = ctypes.CDLL(_MANAGEMENT)
    except OSError:  # some containers lack it: the first call finds out
        return None
    if status := management.nvmlInit_v2():
        return f"the NVIDIA driver finds no usable device (nvmlInit returned {status})"
    count = ctypes.c_uint()
    management.nvmlDeviceGetCount_v2(ctypes.byref(count))
    management.nvmlShutdown()
    return None if count.value else "there is no CUDA device"


def _too_old(major: int, minor: int) -> str | None:
    """Code of a newer toolkit does not load; which one is installed, the version of its bindings says."""
    try:
        installed = int(importlib.metadata.version("cuda-bindings").split(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    if major >= installed:
        return None
    return f"the driver is for CUDA {major}.{minor}, the installed packages are for CUDA {installed}"
