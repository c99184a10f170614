"""Compiled kernels on the disk: one file per kernel, in a folder that belongs to the user alone.

A file is loaded as machine code. Its checksum protects against damage (a truncated or altered file counts as absent),
not against an attacker, who would write a checksum that fits. What makes loading safe is that nobody else can write:
the folder and every file must belong to the user of the process and be writable by no one else; otherwise the cache
is left alone. Whatever goes wrong here costs time, never a call.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import stat
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite
import numpy as np

from fastconv._kernels.numba_cpu.settings import COMPILER_VARIABLES, processor

ENVIRONMENT = "FASTCONV_CACHE_DIR"
MAX_BYTES = 256 << 20
# Magic, version of the format, key, checksum of the payload; then the payload.
_MAGIC = b"fastconv-object\x01"
_DIGEST_BYTES = hashlib.sha256().digest_size
_HEADER_BYTES = len(_MAGIC) + 2 * _DIGEST_BYTES
_SUFFIX = ".object"
_KERNELS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Status:
    """Where the cache is, why it cannot be used (None where it can), and what it holds."""

    folder: str
    problem: str | None
    entries: int = 0
    size: int = 0


def key(*parts) -> str | None:
    """The name of code that depends on these parts and on the environment; None where that cannot be told."""
    environment = _environment()
    if isinstance(environment, Exception):
        return None
    return hashlib.sha256(repr((environment, parts)).encode()).hexdigest()


def load(key: str | None) -> bytes | None:
    """The code of that name; None where it is absent, damaged, foreign or unreadable."""
    if key is None:
        return None
    try:
        folder, problem = _folder()
        if problem is not None:
            return None
        return _payload(_read(folder / (key + _SUFFIX)), key)
    except (OSError, ValueError):
        return None


def store(key: str | None, payload: bytes) -> None:
    """Keep code under a name; other processes see all of the file or nothing."""
    if key is None:
        return
    with contextlib.suppress(OSError, ValueError):
        folder, problem = _folder()
        if problem is not None:
            return
        handle, temporary = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + bytes.fromhex(key) + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, folder / (key + _SUFFIX))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        _trim(folder)


def status() -> Status:
    """What there is to say about the cache."""
    folder, problem = _folder()
    if problem is None and isinstance(environment := _environment(), Exception):
        problem = f"what the code depends on cannot be told: {environment}"
    if problem is not None:
        return Status(str(folder), problem)
    if not os.access(folder, os.W_OK | os.X_OK):
        problem = "the folder is not writable: what it holds is used, nothing is added"
    files = [size for _, size, path in _files(folder) if path.endswith(_SUFFIX)]
    return Status(str(folder), problem, len(files), sum(files))


def _folder() -> tuple[Path, str | None]:
    """The folder, made where it is missing, and why it is not to be used."""
    try:
        folder = _home() / "numba"
    except RuntimeError as error:  # no home folder
        return Path("~"), str(error)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, ValueError) as error:
        return folder, f"the folder cannot be made: {error}"
    if why := _foreign(found):
        return folder, f"the folder {why}"
    return folder, None


def _home() -> Path:
    """The folder of the package in the user's folder for caches."""
    if chosen := os.environ.get(ENVIRONMENT):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "fastconv" / "cache"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/fastconv").expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()) / "fastconv"


def _foreign(found: os.stat_result) -> str | None:
    """Why others could have written here; Windows keeps users apart by the folder in which theirs lie."""
    if not hasattr(os, "geteuid"):
        return None
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be written by other users" if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


def _read(path: Path) -> bytes:
    """A regular file that only the user can have written; empty for anything else."""
    # Neither a link to elsewhere nor a pipe that never answers.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES or _foreign(found):
            return b""
        return file.read()


def _payload(content: bytes, key: str) -> bytes | None:
    payload = content[_HEADER_BYTES:]
    header = _MAGIC + bytes.fromhex(key) + hashlib.sha256(payload).digest()
    return payload if content[:_HEADER_BYTES] == header else None


def _files(folder: Path) -> list[tuple[float, int, str]]:
    """Time, size and path of every file, temporary ones of processes that died included; the oldest first."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # another process may just have removed it
                if entry.is_file(follow_symlinks=False):
                    about = entry.stat(follow_symlinks=False)
                    found.append((about.st_mtime, about.st_size, entry.path))
    return sorted(found)


def _trim(folder: Path) -> None:
    """Remove the oldest files beyond MAX_BYTES."""
    files = _files(folder)
    excess = sum(size for _, size, _ in files) - MAX_BYTES
    for _, size, path in files:
        if excess <= 0:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        excess -= size


@cache
def _environment() -> tuple | Exception:
    """What all generated code depends on; the exception where it cannot be told. It does not change in a process."""
    try:
        return (
            *map(_fingerprint, _sources()),
            *(f"{name}={os.environ.get(name)}" for name in COMPILER_VARIABLES),
            *("numba", importlib.metadata.version("numba")),
            *("llvmlite", llvmlite.__version__),
            *("numpy", np.__version__),
            *("python", sys.version, platform.python_implementation()),
            processor(),
        )
    except (OSError, ValueError, ImportError) as error:
        return error


def _sources() -> list[Path]:
    """Everything of the package that generated code can depend on; its version is in the first file."""
    shared = [path for name in ("contract", "plan") for path in _KERNELS.glob(f"{name}*")]
    folders = [Path(__file__).parent, *(path for path in shared if path.is_dir())]
    files = {path for path in shared if path.suffix == ".py"}.union(*(folder.rglob("*.py") for folder in folders))
    return [_KERNELS.parent / "__init__.py", *sorted(files)]


def _fingerprint(path: Path) -> str:
    return f"{path.relative_to(_KERNELS.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
