"""Context managers that set a ContextVar; one object may be nested in itself and used by several threads."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any


class Scope:
    """Gives ``variable`` a value inside the ``with`` block and what it had before after it."""

    def __init__(self, variable: ContextVar, value: Any):
        self._variable = variable
        self._value = value
        self._before = threading.local()

    def __enter__(self) -> Any:
        stack = self._before.__dict__.setdefault("stack", [])
        stack.append(self._variable.get())
        self._variable.set(self._value)
        return self

    def __exit__(self, *exc_info) -> None:
        self._variable.set(self._before.stack.pop())
