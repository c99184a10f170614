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
    """Where a backend lives, the heavy package that it needs if any, and how a user gets what is missing.

    ``device`` is the module that says what is missing of the device that it computes on; None is the CPU.
    """

    module: str
    package: str | None
    remedy: str
    device: str | None = None


_COMPILER = "install a C compiler, then pip install --force-reinstall --no-cache-dir fastconv"
_CUDA = "pip install 'fastconv[cuda13]', or [cuda12] for drivers of CUDA 12"
BACKENDS = {
    "reference": BackendEntry("fastconv._kernels.reference", None, "reinstall fastconv"),
    "numba": BackendEntry("fastconv._kernels.numba_cpu", "numba", "pip install 'fastconv[numba]'"),
    "cython": BackendEntry("fastconv._kernels.cython_cpu", None, _COMPILER),
    "cuda": BackendEntry("fastconv._kernels.numba_cuda", "numba_cuda", _CUDA, "fastconv._kernels.cuda_driver"),
}
_FAILURES = os.path.join(os.path.dirname(__file__), "build_failures.json")
_SETUP = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "setup.py")
_import_errors: dict[str, str] = {}


@cache
def load(name: str) -> ModuleType | None:
    """The backend's module, or None where it cannot be imported (``reason`` then says why)."""
    entry = BACKENDS[name]
    if _is_package_missing(entry):
        _import_errors[name] = f"package {entry.package} is not installed"
        return None
    if missing := _missing_device(entry):
        _import_errors[name] = missing
        return None
    try:
        return importlib.import_module(entry.module)
    except Exception as error:  # a broken package may raise anything; it is recorded, and told by ``reason``
        _import_errors[name] = f"{type(error).__name__}: {error}"
        return None


def reason(name: str) -> str | None:
    """Why a backend cannot be used, with the remedy; None where nothing speaks against it.

    A backend that needs a heavy package is not imported for the answer, only looked for.
    """
    entry = BACKENDS[name]
    if entry.package is None:
        load(name)
    elif name not in _import_errors:
        missing = _missing_device(entry)
        if _is_package_missing(entry):
            missing = f"package {entry.package} is not installed"
        return missing and f"{missing} ({entry.remedy})"
    if name not in _import_errors:
        return None
    if built := build_failure(entry.module):
        return f"{built} ({entry.remedy})"
    if entry.package is None and os.path.exists(_SETUP):
        folder = os.path.dirname(_SETUP)
        return f"Python imports the source tree {folder}, which holds no compiled kernels: start it in another folder"
    return f"{_import_errors[name]} ({entry.remedy})"


def _is_package_missing(entry: BackendEntry) -> bool:
    return entry.package is not None and importlib.util.find_spec(entry.package) is None


def _missing_device(entry: BackendEntry) -> str | None:
    return None if entry.device is None else importlib.import_module(entry.device).missing()


def build_failure(module: str) -> str | None:
    """What the installation recorded when an extension of this name, or inside this package, did not compile."""
    import json  # only a broken installation pays for it

    try:
        with open(_FAILURES) as file:
            failures = json.load(file)
    except (OSError, ValueError):
        return None
    found = (text for extension, text in failures.items() if extension.startswith(module))
    return next((f"the extension was not built: {text}" for text in found), None)
