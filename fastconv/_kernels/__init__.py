"""The backends by user name. Each is imported when it is first used; why an import failed is remembered."""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from types import ModuleType


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """Where a backend lives, what must be importable for it, and how a user gets that."""

    module: str
    requires: str
    remedy: str


BACKENDS = {
    "reference": BackendEntry("fastconv._kernels.reference", "numpy", "pip install numpy"),
    "numba": BackendEntry("fastconv._kernels.numba_cpu", "numba", "pip install 'fastconv[numba]'"),
    "cython": BackendEntry(
        "fastconv._kernels.cython_cpu",
        "fastconv._kernels.cython_cpu.conv2d",
        "install a C compiler, then pip install --force-reinstall --no-cache-dir fastconv",
    ),
}
_FAILURES = os.path.join(os.path.dirname(__file__), "build_failures.json")
_import_errors: dict[str, str] = {}


@cache
def load(name: str) -> ModuleType | None:
    """The backend's module, or None where it cannot be imported (``reason`` then says why)."""
    try:
        return importlib.import_module(BACKENDS[name].module)
    except ImportError as error:
        _import_errors[name] = f"{type(error).__name__}: {error}"
        return None


def reason(name: str) -> str | None:
    """Why a backend cannot be used, with the remedy; None where nothing speaks against it. Imports no backend."""
    entry = BACKENDS[name]
    if name in _import_errors:
        return f"{_import_errors[name]} ({entry.remedy})"
    if _is_importable(entry.requires):
        return None
    built = build_failure(entry.requires)
    cause = f"the extension was not built: {built}" if built else f"module {entry.requires} is not installed"
    return f"{cause} ({entry.remedy})"


def build_failure(module: str) -> str | None:
    """What the installation recorded when an extension did not compile."""
    import json  # only a broken installation pays for it

    try:
        with open(_FAILURES) as file:
            return json.load(file).get(module)
    except (OSError, ValueError):
        return None


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False
