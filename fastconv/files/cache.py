"""The folder where downloaded files live, and the one door through which a data set gets its files."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from fastconv.errors import FormatError
from fastconv.files.remote import DataUnavailableError, RemoteFile, how_to_provide, mismatch


def home() -> Path:
    """The folder for data and weights: FASTCONV_HOME, else `fastconv` in the user's cache folder."""
    if chosen := os.environ.get("FASTCONV_HOME"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if os.path.isabs(cache) else Path("~/.cache").expanduser()) / "fastconv"


def dataset_folder(name: str, root: str | os.PathLike | None = None) -> Path:
    """The folder that holds the files of one data set: `root` if given, else `datasets/<name>` in `home()`."""
    return home() / "datasets" / name if root is None else Path(root).expanduser()


def fetch(remote: RemoteFile, folder: Path, download: bool = True) -> Path:
    """The path of a file in `folder` whose size and SHA-256 are right, downloaded if it must and may be.

    A file with the wrong content is never used: without `download` it is refused, with `download` it is renamed
    to `<name>.refused`, with a warning, and fetched again.

    Raises DataUnavailableError when the file is absent and was not fetched, FormatError when it is damaged.
    """
    path = folder / remote.name
    if _is_present(path, remote, refuse=not download):
        return path
    if not download:
        raise DataUnavailableError(
            f"{remote.name} is not in {folder}, and download=False. {how_to_provide(remote, path)}"
        )
    from fastconv.files.download import download_to

    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{remote.name}.lock"):
        if not _is_present(path, remote):
            if path.exists():
                _move_aside(path, remote)
            download_to(remote, path)
    return path


def _is_present(path: Path, remote: RemoteFile, refuse: bool = False) -> bool:
    if not os.path.lexists(path):
        return False
    if not path.is_file():
        raise FormatError(f"{path}: not a regular file; {remote.name} cannot be read from it nor stored there")
    reason = mismatch(path, remote)
    if reason and refuse:
        raise FormatError(f"{path}: {reason}: the file is damaged or foreign. {how_to_provide(remote, path)}")
    return not reason


def _move_aside(path: Path, remote: RemoteFile) -> None:
    aside = path.with_name(f"{path.name}.refused")
    warnings.warn(
        f"{path}: {mismatch(path, remote)}; the file is kept as {aside.name} and downloaded again", stacklevel=4
    )
    os.replace(path, aside)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes, where the system and its file system know one."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "wb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
