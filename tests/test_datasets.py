import collections
import contextlib
import doctest
import errno
import gzip
import hashlib
import http.server
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv.datasets import (
    DataUnavailableError,
    cifar10,
    digits,
    load_cifar10,
    load_digits,
    load_mnist,
    mnist,
)
from fastconv.datasets.archive import read_members
from fastconv.datasets.idx import read_idx
from fastconv.datasets.pickled_batch import read_batch
from fastconv.errors import FormatError, UnsafeFileError
from fastconv.files import cache, download
from fastconv.files.remote import RemoteFile

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PAYLOAD = np.random.default_rng(7).bytes(300_000)


def test_digits_split_is_fixed_and_balanced():
    (train, train_labels), (test, test_labels), (images, labels) = map(load_digits, ("train", "test", "all"))
    assert (train.shape, test.shape, images.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8), (1797, 1, 8, 8))
    assert (images.dtype, labels.dtype, images.min(), images.max()) == (np.float32, np.int64, 0, 1)
    assert np.bincount(test_labels).tolist() == [36] * 10

    def rows(images, labels):
        return sorted(image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True))

    assert sorted(rows(train, train_labels) + rows(test, test_labels)) == rows(images, labels)
    assert not set(rows(train, train_labels)) & set(rows(test, test_labels))
    with pytest.raises(ValueError, match="'train', 'test', 'all', got 'valid'"):
        load_digits("valid")


@pytest.mark.oracle
def test_digits_equal_those_of_scikit_learn():
    expected = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = load_digits("all")
    np.testing.assert_array_equal(images[:, 0] * 16, expected.images)
    np.testing.assert_array_equal(labels, expected.target)


def test_bundled_file_is_the_documented_one():
    folder = Path(fastconv.datasets.__file__).parent
    assert hashlib.sha256((folder / "digits.npz").read_bytes()).hexdigest() in (folder / "digits.md").read_text()


def test_datasets_import_nothing_heavy():
    code = (
        "import sys, fastconv.datasets as d; d.load_digits()\n"
        "print(sorted({'sklearn', 'tqdm', 'urllib.request', 'pickletools', 'tarfile'} & set(sys.modules)))"
    )
    root = Path(fastconv.errors.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def idx(array, code=0x08):
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + big_endian.tobytes()


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_idx_round_trip(tmp_path, pack, code, dtype):
    for shape in [(3, 5, 2), (0, 7), (4,)]:
        array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        read = read_idx(write(tmp_path / "a", pack(idx(array, code))))
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
        assert read.dtype.isnative


GOOD_IDX = idx(np.arange(12, dtype="u1").reshape(3, 4))
BIG = b"\0\0\x08\x03" + struct.pack(">3I", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
EMPTY_BUT_BIG = b"\0\0\x0e\x03" + struct.pack(">3I", 0, 0xFFFFFFFF, 0xFFFFFFFF)


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (b"", FormatError, "begins with nothing"),
        (b"\x01\0\x08\x01", FormatError, "begins with 01 00 08 01"),
        (b"\0\0\x07\x01" + bytes(8), FormatError, "unknown IDX type 0x07"),
        (b"\0\0\x08\0", FormatError, "rank must lie in 1..8, got 0"),
        (b"\0\0\x08\x09" + bytes(36), FormatError, "rank must lie in 1..8, got 9"),
        (GOOD_IDX[:10], FormatError, "truncated inside the 2 dimensions"),
        (GOOD_IDX[:-1], FormatError, "truncated: shape .* holds 11"),
        (GOOD_IDX + b"x", FormatError, "trailing bytes"),
        (BIG, UnsafeFileError, "limit of 1073741824 bytes.*max_bytes="),
        (EMPTY_BUT_BIG, UnsafeFileError, "max_bytes="),
        (b"\0\0\x08\x01" + struct.pack(">I", 1 << 29), FormatError, "file holds at most 8"),
    ],
)
def test_idx_refuses(tmp_path, content, error, reason):
    for name, pack in [("plain", bytes), ("packed.gz", gzip.compress)]:
        path = write(tmp_path / name, pack(content))
        if pack is gzip.compress:
            reason = reason.replace("holds at most 8", "holds at most")
        with pytest.raises(error, match=reason) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)


def test_idx_limit_can_be_changed_and_gzip_damage_is_reported(tmp_path):
    path = write(tmp_path / "a.gz", gzip.compress(GOOD_IDX))
    with pytest.raises(UnsafeFileError, match="limit of 11 bytes"):
        read_idx(path, max_bytes=11)
    assert read_idx(path, max_bytes=12).shape == (3, 4)
    packed = gzip.compress(GOOD_IDX)
    for damaged in (packed[:-5], packed[:-8] + bytes(8), packed + b"garbage"):
        with pytest.raises(FormatError, match="damaged gzip stream"):
            read_idx(write(tmp_path / "b.gz", damaged))


@st.composite
def mutations(draw, content):
    """The content with a few bytes changed, then cut or extended."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed[: draw(st.integers(0, len(changed)))] if draw(st.booleans()) else changed)


@FUZZ
@given(content=st.one_of(mutations(GOOD_IDX), mutations(gzip.compress(GOOD_IDX)), st.binary(max_size=40)))
def test_mutated_idx_gives_an_array_or_a_format_error(tmp_path, content):
    with contextlib.suppress(FormatError):
        read_idx(write(tmp_path / "a", content), max_bytes=1 << 20)


RNG = np.random.default_rng(3)
IMAGES, LABELS = RNG.integers(0, 256, (4, 3072), np.uint8), [3, 0, 9, 5]


def python2_pickle(images=IMAGES, labels=LABELS):
    """A batch as Python 2's cPickle writes it with protocol 2: byte strings, memo entries, numpy.core."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\x09U\x01b\x87Rq\x0a(K\x01"
        + struct.pack("<cHcH", b"M", len(images), b"M", 3072)
        + b"\x86cnumpy\ndtype\nq\x0bU\x02u1K\x00K\x01\x87Rq\x0c(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + struct.pack("<ccI", b"\x89", b"T", images.size)
        + images.tobytes()
        + b"tb"
    )
    return (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"eU\x04dataq\x06"
        + array
        + b"U\x09filenamesq\x0d]q\x0e(U\x05a.pngq\x0fU\x05b.pngr\x00\x01\x00\x00eu."
    )


def tar_gz(path, members, kind=tarfile.REGTYPE, format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w:gz", format=format) as archive:
        folder = tarfile.TarInfo("cifar")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = (len(content), kind) if kind == tarfile.REGTYPE else (0, kind)
            info.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            archive.addfile(info, io.BytesIO(content))
    return path


def cifar_members(binary):
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    members = {}
    for shift, name in enumerate(names):
        images, labels = IMAGES + np.uint8(shift), np.roll(LABELS, shift)
        if binary:
            records = np.concatenate([labels[:, None].astype(np.uint8), images], axis=1)
            members[f"cifar-10-batches-bin/{name}.bin"] = records.tobytes()
        else:
            members[f"cifar-10-batches-py/{name}"] = python2_pickle(images, labels.tolist())
    return members


def test_hand_made_pickle_is_what_pickle_reads():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        expected = pickle.loads(python2_pickle(), encoding="bytes")
    np.testing.assert_array_equal(expected[b"data"], IMAGES)
    assert (expected[b"labels"], expected[b"filenames"]) == (LABELS, [b"a.png", b"b.png"])


@pytest.mark.parametrize(
    "program",
    [
        python2_pickle(),
        pickle.dumps({b"data": IMAGES, b"labels": LABELS}, 2),
        pickle.dumps({b"data": IMAGES, b"labels": LABELS}, 3),
        pickle.dumps({"data": np.asfortranarray(IMAGES), "labels": LABELS}, 2),
    ],
    ids=["python2", "protocol2", "protocol3", "fortran"],
)
def test_batches_are_read_without_pickle(program, monkeypatch):
    monkeypatch.setattr(pickle, "Unpickler", None)
    monkeypatch.setattr(pickle, "loads", None)
    images, labels = read_batch(program, "batch")
    np.testing.assert_array_equal(images, IMAGES)
    assert labels.tolist() == LABELS


class Call:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def shared_tuples(depth):
    """A tuple that is small in memory and 2**depth long when written out."""
    return b"K\x00\x85q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(depth))


BOMB = b"X" + struct.pack("<I", 50_000) + b"a" * 50_000 + b"q\x01X\x06\x00\x00\x00latin1q\x02"
BOMB = b"\x80\x02" + BOMB + b"c_codecs\nencode\nq\x03" + b"h\x03h\x01h\x02\x86R" * 1000 + b"."
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
HUGE_SHAPE = (
    b"\x80\x02" + RECONSTRUCT + b"(K\x01\x8a\x08" + b"\xff" * 7 + b"\x7f\x85cnumpy\ndtype\nU\x02u1\x85RNU\x01at(b."
)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda marker: pickle.dumps({b"data": Call(os.system, f"touch {marker}")}, 2), UnsafeFileError),
        (lambda marker: pickle.dumps(Call(eval, f"open({marker!r}, 'w')"), 0), UnsafeFileError),
        (lambda marker: pickle.dumps(Call(eval, f"open({marker!r}, 'w')"), 4), UnsafeFileError),
        (lambda marker: pickle.dumps([[Call(Call, Call(os.mkdir, marker))]], 2), UnsafeFileError),
        (lambda marker: python2_pickle()[:-2] + b"K\x01cos\nmkdir\nX\x01\x00\x00\x00a\x85Rsu.", UnsafeFileError),
        (lambda marker: b"\x80\x02cnumpy\nload\nU\x01a\x85R.", UnsafeFileError),
        (lambda marker: b"\x80\x02cnumpy\nndarray\n(K\x01\x85tR.", UnsafeFileError),
        (lambda marker: b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.", UnsafeFileError),
        (lambda marker: b"\x80\x02U\x01aU\x01bR.", UnsafeFileError),
        (lambda marker: b"\x80\x02\x82\x01.", UnsafeFileError),
        (lambda marker: BOMB, UnsafeFileError),
        (lambda marker: HUGE_SHAPE, FormatError),
        (lambda marker: b"\x80\x02" + RECONSTRUCT + b"(K\x01" + shared_tuples(64) + b"NNNtb.", FormatError),
        (lambda marker: b"\x80\x02cnumpy\ndtype\n" + shared_tuples(64) + b"R.", FormatError),
        (lambda marker: b"\x80\x02Nr\xff\xff\xff\x7f.", FormatError),
        (lambda marker: b"\x80\x02" + b"\x85" * 100 + b".", FormatError),
        (lambda marker: b"\x80\x02]" + b"\x85" * 1_000_000 + b".", FormatError),
        (lambda marker: b"\x80\x02X\xff\xff\xff\x7fa.", FormatError),
        (lambda marker: b"I" + b"9" * 100_000 + b"\n.", FormatError),
        (lambda marker: b"\x80\x02}.", FormatError),
        (lambda marker: b"S'\\q'\n.", UnsafeFileError),
        (lambda marker: b"\x80\x02K\x01.", FormatError),
        (lambda marker: b"", FormatError),
        (lambda marker: python2_pickle()[:-1], FormatError),
        (lambda marker: python2_pickle(labels=[1, 2, 3]), FormatError),
        (lambda marker: python2_pickle(labels=[1, 2, 3, 10]), FormatError),
        (lambda marker: pickle.dumps({b"data": IMAGES[:, 1:], b"labels": LABELS}, 2), FormatError),
        (lambda marker: pickle.dumps({b"data": IMAGES.astype("i2"), b"labels": LABELS}, 2), FormatError),
        (lambda marker: pickle.dumps({b"data": IMAGES.astype(object), b"labels": LABELS}, 2), FormatError),
    ],
)
def test_hostile_pickles_execute_nothing(tmp_path, make, error):
    marker = tmp_path / "executed"
    with pytest.raises(error) as caught:
        read_batch(make(str(marker)), "batch_1")
    assert str(caught.value).startswith("batch_1: ")
    assert len(str(caught.value)) < 400
    assert not marker.exists()


@FUZZ
@given(data=st.data())
def test_mutated_pickles_give_a_format_error(data):
    before, after = python2_pickle(IMAGES[:1], LABELS[:1]).split(IMAGES[:1].tobytes())
    program = data.draw(mutations(before)) + IMAGES[:1].tobytes() + data.draw(mutations(after))
    with contextlib.suppress(FormatError):
        read_batch(program, "batch")


LONG_NAME = "d" * 80 + "/" + "n" * 60


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_archive_members_are_found_by_name(tmp_path, format):
    members = {"a/one": b"1" * 700, "a/two": b"", LONG_NAME: b"long", "./a/three": b"3" * 512}
    path = tar_gz(tmp_path / "a.tar.gz", members, format=format)
    wanted = {"a/one": b"1" * 700, "a/two": b"", "a/three": b"3" * 512}
    assert read_members(path, wanted) == wanted
    if format == tarfile.USTAR_FORMAT:
        assert read_members(path, [LONG_NAME]) == {LONG_NAME: b"long"}


def test_archive_refuses(tmp_path):
    def refused(error, reason, content=None, path=tmp_path / "bad.tar.gz", **limits):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(error, match=reason) as caught:
            read_members(path, ["a"], **limits)
        assert str(path) in str(caught.value)

    good = tar_gz(tmp_path / "good.tar.gz", {"a": b"x" * 2000})
    plain = gzip.decompress(good.read_bytes())
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        refused(UnsafeFileError, "link, device", path=tar_gz(tmp_path / "link.tar.gz", {"a": b""}, kind))
    refused(UnsafeFileError, "limit of 2000 bytes.*max_bytes=", path=good, max_bytes=2000)
    refused(UnsafeFileError, "limit of 1000000 bytes", gzip.compress(plain + bytes(5_000_000)), max_bytes=1_000_000)
    refused(UnsafeFileError, "twice", gzip.compress(plain[: 512 * 6] + plain[512:]))
    refused(FormatError, "lacks a$", path=tar_gz(tmp_path / "other.tar.gz", {"b": b""}))
    refused(FormatError, "damaged gzip", good.read_bytes()[:-3])
    refused(FormatError, "damaged gzip", b"not gzip")
    refused(FormatError, "no end mark", gzip.compress(b""))
    refused(FormatError, "inside a header", gzip.compress(plain[:700]))
    refused(FormatError, "inside a member", gzip.compress(plain[:1500]))
    refused(FormatError, "wrong checksum", gzip.compress(b"x" * 2048))


@FUZZ
@given(data=st.data())
def test_mutated_archives_give_a_format_error(tmp_path, data):
    plain = gzip.decompress(tar_gz(tmp_path / "a.tar.gz", {"a": b"x" * 600}).read_bytes())[:2560]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastconv.datasets.archive._CHUNK", 1000)
        with contextlib.suppress(FormatError):
            read_members(write(tmp_path / "b", gzip.compress(data.draw(mutations(plain)), 0)), ["a"], 1 << 16)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`, misbehaving as `server.modes` says: one mode per request, the last one for ever."""

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append((self.path, asked))
        modes = server.modes[self.path]
        mode = modes.pop(0) if len(modes) > 1 else modes[0] if modes else "range"
        content = server.files.get(self.path, b"")
        if mode == "missing" or (mode == "unsatisfiable" and asked):
            return self.send_error(404 if mode == "missing" else 416)
        content = content[:-1] + b"?" if mode == "corrupt" else content + b"?" if mode == "long" else content
        start = int(asked[6:-1]) if asked and mode in ("range", "wrong range") else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + (mode != 'range')}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2 if mode == "cut" else None])
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 10.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.modes, server.asked = {"/data": PAYLOAD}, collections.defaultdict(list), []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def remote_of(server, name="data", content=PAYLOAD, mirrors=("/data",)):
    urls = tuple(server.url + mirror for mirror in mirrors)
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest(), urls)


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


HALF = len(PAYLOAD) // 2


@pytest.mark.parametrize(
    ("modes", "part", "ranges"),
    [
        (["range"], None, [None]),
        (["cut", "range"], None, [None, HALF]),
        (["cut", "plain"], None, [None, HALF]),
        (["range"], PAYLOAD[:1000], [1000]),
        (["plain"], PAYLOAD[:1000], [1000]),
        (["range"], b"x" * 1000, [1000, None]),
        (["unsatisfiable"], PAYLOAD[:1000], [1000, None]),
        (["wrong range"], PAYLOAD[:1000], [1000, None]),
        (["range"], PAYLOAD, []),
        (["range"], b"x" * len(PAYLOAD), [None]),
        (["range"], PAYLOAD + b"x", [None]),
    ],
    ids=[
        "fresh",
        "cut",
        "cut-no-range",
        "part",
        "part-no-range",
        "bad",
        "416",
        "wrong-range",
        "whole",
        "false",
        "long",
    ],
)
def test_download_completes_what_is_there(server, tmp_path, modes, part, ranges):
    server.modes["/data"] = modes
    if part is not None:
        write(tmp_path / "data.part", part)
    path = cache.fetch(remote_of(server), tmp_path)
    assert path.read_bytes() == PAYLOAD
    assert [asked for _, asked in server.asked] == [start and f"bytes={start}-" for start in ranges]
    assert cache.fetch(remote_of(server), tmp_path, download=False) == path
    assert len(server.asked) == len(ranges)
    assert leftovers(tmp_path) == ["data"]


@pytest.mark.parametrize("mode", ["corrupt", "long", "missing", "cut"])
def test_next_mirror_is_asked_and_failures_are_listed(server, tmp_path, mode):
    server.files["/bad"] = PAYLOAD
    server.modes["/bad"] = [mode]
    assert cache.fetch(remote_of(server, mirrors=("/bad", "/data")), tmp_path / "new").read_bytes() == PAYLOAD
    remote = remote_of(server, mirrors=("/bad", "/bad"))
    with pytest.raises(DataUnavailableError) as caught:
        cache.fetch(remote, tmp_path)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, fastconv.errors.FastconvError)
    for part in (*remote.urls, remote.sha256, str(tmp_path / "data"), str(len(PAYLOAD)), "FASTCONV_HOME"):
        assert part in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_without_network_or_permission_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    remote = RemoteFile("data", 3, "0" * 64, ("http://127.0.0.1:1/data",))
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1.*refused.*0{64}.*data.*FASTCONV_HOME"):
        cache.fetch(remote, tmp_path)
    with pytest.raises(DataUnavailableError, match=r"download=False.*FASTCONV_HOME"):
        cache.fetch(remote, tmp_path / "absent", download=False)
    assert not (tmp_path / "absent").exists()


def test_wrong_content_is_never_trusted(server, tmp_path):
    path = write(tmp_path / "data", PAYLOAD[:-1] + b"?")
    with pytest.raises(FormatError, match="SHA-256 is"):
        cache.fetch(remote_of(server), tmp_path, download=False)
    with pytest.warns(UserWarning, match="kept as data.refused"):
        cache.fetch(remote_of(server), tmp_path)
    assert path.read_bytes() == PAYLOAD
    assert leftovers(tmp_path) == ["data", "data.refused"]
    path.unlink()
    path.mkdir()
    with pytest.raises(FormatError, match="not a regular file"):
        cache.fetch(remote_of(server), tmp_path)


def test_simultaneous_downloads_share_one(server, tmp_path):
    threads = [threading.Thread(target=cache.fetch, args=(remote_of(server), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "data").read_bytes() == PAYLOAD
    if os.name == "posix":
        assert len(server.asked) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_full_disk_is_no_fault_of_the_mirror(server, tmp_path):
    (tmp_path / "data.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        cache.fetch(remote_of(server), tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not (tmp_path / "data").exists()


def test_progress_is_shown_on_a_terminal_only(server, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        cache.fetch(remote_of(server), tmp_path / str(shown))
        pytest.importorskip("tqdm")
        assert ("data" in stream.getvalue()) == shown
    monkeypatch.setattr(sys, "stderr", None)
    cache.fetch(remote_of(server), tmp_path / "none")


def test_home_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path))
    assert cache.home() == tmp_path
    assert cache.dataset_folder("mnist") == tmp_path / "datasets" / "mnist"
    assert cache.dataset_folder("mnist", "/data") == Path("/data")
    monkeypatch.setenv("FASTCONV_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.home() == tmp_path / "xdg" / "fastconv"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.home() == tmp_path / ".cache" / "fastconv"


def publish(server, name, content):
    server.files[f"/{name}"] = content
    return remote_of(server, name, content, (f"/{name}",))


def test_load_mnist_from_download_to_arrays(server, tmp_path, monkeypatch):
    images = RNG.integers(0, 256, (5, 28, 28), np.uint8)
    images[0, 0, 0] = 255
    labels = np.array([4, 1, 9, 0, 2], np.uint8)
    files = [publish(server, name, gzip.compress(idx(part))) for name, part in (("i.gz", images), ("l.gz", labels))]
    monkeypatch.setitem(mnist.FILES, "test", tuple(files))
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path))
    loaded, loaded_labels = load_mnist("test")
    assert (loaded.shape, loaded.dtype, loaded_labels.dtype) == ((5, 1, 28, 28), np.float32, np.int64)
    np.testing.assert_array_equal(np.rint(loaded[:, 0] * 255), images)
    assert loaded.max() == 1
    np.testing.assert_array_equal(loaded_labels, labels)
    np.testing.assert_array_equal(load_mnist("test", tmp_path / "datasets" / "mnist", download=False)[0], loaded)
    with pytest.raises(ValueError, match="'train', 'test', got 'all'"):
        load_mnist("all")
    for wrong, reason in ((labels[:3], "expected 5 uint8 labels"), (labels + np.uint8(9), r"0\.\.9, got 9\.\.18")):
        monkeypatch.setitem(mnist.FILES, "test", (files[0], publish(server, "w.gz", gzip.compress(idx(wrong)))))
        with pytest.raises(FormatError, match=reason):
            load_mnist("test", tmp_path / str(len(wrong)))
    monkeypatch.setitem(mnist.FILES, "test", (files[1], files[1]))
    with pytest.raises(FormatError, match=r"expected uint8 images \(N, 28, 28\)"):
        load_mnist("test", tmp_path)


@pytest.mark.parametrize("binary", [True, False])
def test_load_cifar10_from_archive_to_arrays(server, tmp_path, monkeypatch, binary):
    name = "cifar-10-binary.tar.gz" if binary else "cifar-10-python.tar.gz"
    path = tar_gz(tmp_path / name, cifar_members(binary))
    content = path.read_bytes()
    monkeypatch.setattr(cifar10, "BINARY" if binary else "PYTHON", publish(server, name, content))
    if binary:
        path.unlink()
    images, labels = load_cifar10("train", tmp_path)
    assert (images.shape, images.dtype, labels.dtype) == ((20, 3, 32, 32), np.float32, np.int64)
    expected = np.concatenate([IMAGES + np.uint8(shift) for shift in range(5)]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(np.rint(images * 255), expected)
    assert labels.tolist() == [label for shift in range(5) for label in np.roll(LABELS, shift)]
    images, labels = load_cifar10("test", tmp_path, download=False)
    np.testing.assert_array_equal(np.rint(images * 255), (IMAGES + np.uint8(5)).reshape(-1, 3, 32, 32))
    assert len(server.asked) == binary


def test_cifar10_records_are_checked(tmp_path):
    for content, reason in ((b"", "0 bytes"), (bytes(3074), "3074 bytes"), (b"\x0a" + bytes(3072), "got 10")):
        path = tar_gz(tmp_path / "a.tar.gz", {"cifar-10-batches-bin/test_batch.bin": content})
        with pytest.raises(FormatError, match=f"test_batch.bin: .*{reason}"):
            cifar10.read_binary_archive(path, "test")
    path = tar_gz(tmp_path / "p.tar.gz", {"cifar-10-batches-py/test_batch": pickle.dumps(Call(os.getcwd), 2)})
    with pytest.raises(UnsafeFileError, match=r"p\.tar\.gz/cifar-10-batches-py/test_batch: the pickle asks for"):
        cifar10.read_python_archive(path, "test")


def test_documented_examples_run():
    assert doctest.testmod(digits) == (0, 2)


def test_published_checksums_are_well_formed():
    remotes = [cifar10.BINARY, cifar10.PYTHON, *(remote for pair in mnist.FILES.values() for remote in pair)]
    assert len({remote.sha256 for remote in remotes}) == 6
    for remote in remotes:
        assert len(bytes.fromhex(remote.sha256)) == 32
        assert all(url.startswith("https://") and url.endswith("/" + remote.name) for url in remote.urls)
