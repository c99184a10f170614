"""The threads of NumPy's matrix products, where threadpoolctl is there to set them."""

from __future__ import annotations

import contextlib
import importlib.util
from contextlib import AbstractContextManager


def is_limitable() -> bool:
    """Whether the number of threads can be set."""
    return importlib.util.find_spec("threadpoolctl") is not None


def threads(count: int) -> AbstractContextManager:
    """Let BLAS use ``count`` threads inside the ``with`` block; without threadpoolctl it uses what it likes."""
    if not is_limitable():
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(count, user_api="blas")
