"""Weights that are published on the Hugging Face hub, by name: fetched once, checked, kept.

The hub says how long a file is and which SHA-256 it has; both are checked after the download, recorded beside the file,
and checked again whenever it is used. So a file that changes on the way, or on the disk, is noticed; one that the hub
itself had exchanged before the first download is not.
"""

import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from pathlib import Path

from fastconv.files import cache
from fastconv.files.download import TIMEOUT_SECONDS
from fastconv.files.remote import DataUnavailableError, RemoteFile

DEFAULT_FILE = "model.safetensors"
_PREFIX = "hub:"
_PART = r"[A-Za-z0-9_][\w.-]*"
_NAME = re.compile(rf"(?P<owner>{_PART})/(?P<repository>{_PART})(?:/(?P<file>{_PART}))?", re.ASCII)
_ERRORS = (OSError, http.client.HTTPException, ValueError)
_REDIRECTS = 3
# What lies beside the weights: what was recorded of them, and what `cache.fetch` makes.
_BESIDE = (".json", ".lock", ".part", ".refused")


def is_name(source: object, suffixes: tuple[str, ...]) -> bool:
    """Whether ``source`` names published weights: "hub:owner/name", or "owner/name" that is no file nor looks like one.

    >>> is_name("timm/resnet18.tv_in1k", (".npz",)), is_name("folder/model.npz", (".npz",))
    (True, False)
    """
    if not isinstance(source, str) or os.path.lexists(source):
        return False
    match = _NAME.fullmatch(source)
    is_plain = match is not None and match["file"] is None and not source.lower().endswith(suffixes)
    return is_plain or source.startswith(_PREFIX)


def fetch(name: str) -> Path:
    """The path of a published file, "owner/name" or "hub:owner/name/file", in `weights` of the home folder.

    What lies there without a record of ours, `<file>.json`, was put there by the user, and is used as it is. A record
    without its file is forgotten.

    Raises ValueError for what is no such name, DataUnavailableError (a FileNotFoundError) that says what to do when the
    hub cannot be reached, FormatError when what is there is damaged.
    """
    match = _NAME.fullmatch(name.removeprefix(_PREFIX))
    if match is None:
        raise ValueError(f"{name!r} is not of the form owner/name or hub:owner/name/file")
    owner, repository, file = match["owner"], match["repository"], match["file"] or DEFAULT_FILE
    folder = cache.home() / "weights" / owner / repository
    if file.lower().endswith(_BESIDE):
        raise ValueError(f"{name!r} ends as what lies beside weights does: {', '.join(_BESIDE)}")
    path, record = folder / file, folder / f"{file}.json"
    known = _read(record, file)
    if path.is_file():
        return cache.fetch(known, folder) if known else path
    remote = _described(file, _address(owner, repository, file), path)
    record.unlink(missing_ok=True)
    cache.fetch(remote, folder)
    _write(record, remote)
    return path


def _address(owner: str, repository: str, file: str) -> str:
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return f"{endpoint.rstrip('/')}/{owner}/{repository}/resolve/main/{file}"


def _described(file: str, url: str, path: Path) -> RemoteFile:
    """What the hub says about a file."""
    try:
        headers = _headers(url)
        size, sha256 = int(headers.get("X-Linked-Size", "-1")), headers.get("X-Linked-ETag", "").strip('"')
        if size < 0 or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError("the answer has no length and no SHA-256")
    except _ERRORS as error:
        raise DataUnavailableError(
            f"{path} is not there, and {url} could not be asked ({error}). Where there is a network, download that "
            f"address and put the file at {path}; or pass the path of any weight file. The environment variable "
            "FASTCONV_HOME moves the folder, HF_ENDPOINT names a mirror of the hub."
        ) from error
    return RemoteFile(file, size, sha256, (url,))


class _Stay(urllib.request.HTTPRedirectHandler):
    """The answer that sends elsewhere is the one that describes the file."""

    def redirect_request(self, *arguments):
        return None


def _headers(url: str) -> Message:
    opener = urllib.request.build_opener(_Stay)
    for _ in range(_REDIRECTS):
        try:
            with opener.open(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_SECONDS) as response:
                return response.headers
        except urllib.error.HTTPError as error:
            location = error.headers.get("Location", "")
            error.close()
            if "X-Linked-ETag" in error.headers:
                return error.headers
            target = urllib.parse.urljoin(url, location)
            if target == url or _server(target) != _server(url):  # a repository that was renamed stays on its server
                raise
            url = target
    raise ValueError(f"more than {_REDIRECTS} redirections")


def _server(url: str) -> tuple[str, str]:
    """Scheme, host and port; "//host/path" is a place on another server, too."""
    return urllib.parse.urlsplit(url)[:2]


def _read(record: Path, file: str) -> RemoteFile | None:
    """What was recorded at the first download; None where nothing readable is."""
    try:
        entry = json.loads(record.read_text())
        return RemoteFile(file, int(entry["size"]), str(entry["sha256"]), (str(entry["url"]),))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(record: Path, remote: RemoteFile) -> None:
    part = record.with_name(f"{record.name}.{os.getpid()}.part")
    part.write_text(json.dumps({"url": remote.urls[0], "size": remote.size, "sha256": remote.sha256}))
    os.replace(part, record)
