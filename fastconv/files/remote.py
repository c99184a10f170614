"""What a published file is: its identity, how to recognise it, and the error when it cannot be had."""

from dataclasses import dataclass
from pathlib import Path

from fastconv.errors import FastconvError


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name in the cache, its exact size and SHA-256, and the addresses that offer it."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


class DataUnavailableError(FastconvError, FileNotFoundError):
    """A data file that is not on this machine and could not, or must not, be downloaded."""


def how_to_provide(remote: RemoteFile, path: Path) -> str:
    """The sentence that tells a user without a network what to put where."""
    return (
        f"To provide it by hand, put the file of {remote.size} bytes with SHA-256 {remote.sha256} "
        f"(published at {remote.urls[0]}) at {path}. The environment variable FASTCONV_HOME moves the default folder."
    )


def mismatch(path: Path, remote: RemoteFile) -> str:
    """Why the content of `path` is not that of `remote`, or an empty string when size and SHA-256 agree."""
    size = path.stat().st_size
    if size != remote.size:
        return f"size is {size} bytes, expected {remote.size}"
    import hashlib

    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return "" if found == remote.sha256 else f"SHA-256 is {found}, expected {remote.sha256}"
