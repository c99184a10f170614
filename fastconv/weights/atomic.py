"""Writing a file so that a crash leaves either the old one or the new one, never a part."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file open for writing whose content appears at `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step; after an
    error the old file is untouched and the temporary one is gone. A symbolic link stays and its target is replaced;
    permissions of an existing file are kept.

    Raises IsADirectoryError for a directory, OSError for anything else the file system refuses.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(f"{folder}/notes") as file:
    ...         _ = file.write(b"all or nothing")
    ...     pathlib.Path(folder, "notes").read_bytes()
    b'all or nothing'
    """
    target = os.path.realpath(os.fsdecode(path))
    mode = _mode_of(target)
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:60]}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode_of(target: str) -> int | None:
    """The permissions of the file to be replaced, or None if there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{target}: is a directory, a file is to be written there")
    if not stat.S_ISREG(mode):
        raise OSError(f"{target}: is not a regular file and is not replaced by one")
    return stat.S_IMODE(mode)


def _sync_folder(folder: str) -> None:
    """Bring the new name to the disk too, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
