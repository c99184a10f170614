"""The machine that a run was measured on: without it an absolute time says nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from fastconv._kernels import BACKENDS
from fastconv.bench.peers import PEERS

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def describe() -> dict[str, Any]:
    """Processor, cores, caches, memory, versions and commit, as plain values; None for what cannot be found out."""
    from fastconv import __version__, memory
    from fastconv._kernels.pool import limits

    return {
        "cpu": cpu_name(),
        "instruction_set": instruction_set(),
        "cores": os.cpu_count(),
        "cores_allowed": len(limits.AFFINITY),
        "caches": caches(),
        "memory_left_bytes": memory.available_bytes(),
        "transparent_huge_pages": transparent_huge_pages(),
        "system": platform.platform(),
        "versions": {"fastconv": __version__, "python": platform.python_version(), **_versions()},
        "commit": commit(),
    }


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def instruction_set() -> str | None:
    """The instruction set that the compiled kernels use, None without them."""
    measuring = loops()
    return None if measuring is None else measuring.instruction_set()


def loops() -> Any:
    """The compiled loops that read the machine's limits, None where the extension is missing."""
    try:
        return importlib.import_module("fastconv._kernels.cython_cpu.machine")
    except ImportError:
        return None


def caches() -> dict[str, int]:
    """Level -> bytes of the data caches of one core, as far as the system tells."""
    found = {}
    for folder in sorted(_CACHES.glob("index*")):
        try:
            kind, level, size = ((folder / name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}"] = int(size.rstrip("KMG")) * _UNITS.get(size[-1], 1)
    return found


def transparent_huge_pages() -> str | None:
    """Linux's setting, which decides how often fresh memory faults: always, madvise or never; None elsewhere."""
    try:
        choices = _HUGE_PAGES.read_text()
    except OSError:
        return None
    return choices.partition("[")[2].partition("]")[0] or None


def load() -> list[float] | None:
    """Processes that wanted a core on average over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def commit() -> str | None:
    """The commit of the source tree that the package runs from, with a mark where files differ; None elsewhere."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        name, changes = (_git(root, *words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno")))
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{name} with changes" if changes else name


def _git(root, *words):
    return subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=True).stdout.strip()


def _versions():
    """Of NumPy and of what the backends and the peers need."""
    ours = [entry.package for entry in BACKENDS.values() if entry.package]
    theirs = [package for entry in PEERS.values() for package in entry.packages]
    found = {}
    for name in dict.fromkeys(["numpy", *ours, *theirs]):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
