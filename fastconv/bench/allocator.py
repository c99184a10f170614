"""What becomes of memory that is freed: glibc gives large blocks back, and fresh outputs then fault page by page."""

from __future__ import annotations

import ctypes
import sys

SYSTEM = "system"
KEEPING = "keeping"
# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose(name: str) -> None:
    """``keeping`` makes glibc keep what was freed, for every engine of this process, until the process ends.

    Raises ValueError where the C library is another one.
    """
    if name == SYSTEM:
        return
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        raise ValueError("--allocator keeping needs glibc's mallopt, which this system does not have")
    if not (library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, -1)):
        raise ValueError("glibc refused --allocator keeping")
