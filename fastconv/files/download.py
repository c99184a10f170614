"""Fetching one file over HTTP: resumed after an interruption, checked before it gets its name."""

import contextlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from fastconv.files.remote import DataUnavailableError, RemoteFile, how_to_provide, mismatch

TIMEOUT_SECONDS = 30.0
ATTEMPTS_PER_MIRROR = 4
_CHUNK = 1 << 16
_NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


class _MirrorError(Exception):
    """One address failed; the next attempt or the next address may do better."""


def download_to(remote: RemoteFile, path: Path) -> None:
    """Fetch `remote` into `path`; what has arrived of it waits in `<name>.part` for the next attempt.

    Raises DataUnavailableError, which lists what went wrong at each address, when none delivered the right bytes.
    """
    part = path.with_name(f"{path.name}.part")
    failures = []
    for url in remote.urls:
        failure = _from_mirror(url, part, remote)
        if not failure:
            os.replace(part, path)
            return
        failures.append(f"{url}: {failure}")
    raise DataUnavailableError(
        f"{remote.name} is not in {path.parent} and could not be downloaded ({'; '.join(failures)}). "
        f"{how_to_provide(remote, path)}"
    )


def _from_mirror(url: str, part: Path, remote: RemoteFile) -> str:
    """Complete `part` from one address; the reason of failure, or an empty string."""
    failure = ""
    for _ in range(ATTEMPTS_PER_MIRROR):
        start = _size(part)
        try:
            if start < remote.size:
                _transfer(url, part, start, remote)
        except _MirrorError as error:
            failure = str(error)
            if _size(part) <= start:
                return failure
            continue
        failure = mismatch(part, remote)
        if not failure:
            return ""
        part.unlink()
        if start == 0:
            return failure
    return failure


def _transfer(url: str, part: Path, start: int, remote: RemoteFile) -> None:
    """Append the bytes from `start` on to `part`, or rewrite it whole where the server cannot resume."""
    with _open(url, start) as response:
        start = start if response.status == 206 else 0
        with open(part, "ab" if start else "wb") as file, _progress(remote, start) as advance:
            received = start
            for chunk in _chunks(response):
                received += len(chunk)
                if received > remote.size:
                    file.truncate(0)
                    raise _MirrorError(f"sent more than the expected {remote.size} bytes")
                file.write(chunk)
                advance(len(chunk))
    if received < remote.size:
        raise _MirrorError(f"the connection ended after {received} of {remote.size} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """The response to a request from byte `start` on; from the beginning if the server rejects or misreads that."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except _NETWORK_ERRORS as error:
        if start and isinstance(error, urllib.error.HTTPError) and error.code == 416:
            return _open(url, 0)
        raise _MirrorError(str(error) or type(error).__name__) from error
    if start and response.status == 206 and not _continues(response.headers.get("Content-Range", ""), start):
        response.close()
        return _open(url, 0)
    return response


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except _NETWORK_ERRORS as error:
        raise _MirrorError(str(error) or type(error).__name__) from error


def _continues(content_range: str, start: int) -> bool:
    return content_range.replace("=", " ").startswith(f"bytes {start}-")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def _progress(remote: RemoteFile, start: int) -> Iterator[Callable[[int], object]]:
    """A function to call with each number of bytes: a tqdm bar on a terminal, else nothing."""
    bar = contextlib.nullcontext()
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            bar = tqdm(total=remote.size, initial=start, desc=remote.name, unit="B", unit_scale=True)
    with bar as shown:
        yield (lambda count: None) if shown is None else shown.update
