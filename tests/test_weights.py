import contextlib
import doctest
import io
import json
import os
import pickle
import stat
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastconv import weights
from fastconv.errors import BackendUnavailableError, DTypeError, FormatError, UnsafeFileError
from fastconv.weights import atomic, entries, npz_file, safetensors_file

FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SUFFIXES = pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
STATE = {
    **{f"layers.{name}": np.arange(6).reshape(2, 3).astype(dtype) for name, dtype in entries.DTYPES.items()},
    "0.weight": np.random.default_rng(0).standard_normal((5, 3, 3, 2), np.float32),
    "scalar": np.float32(2.5),
    "empty": np.zeros((0, 4), np.float64),
    "file": np.ones(2),
    "größe / name:0": np.array([True, False]),
}


def assert_same(loaded, expected):
    assert loaded.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(loaded[name], array, strict=True)
        assert type(loaded[name]) is np.ndarray
        assert loaded[name].dtype.isnative


@SUFFIXES
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    weights.save(STATE, path, {"epoch": "3", "größe": "ü\n"})
    assert_same(weights.load(path), {name: np.asarray(array) for name, array in STATE.items()})
    assert weights.load_metadata(path) == {"epoch": "3", "größe": "ü\n"}
    weights.save({}, str(path).upper().replace(str(tmp_path).upper(), str(tmp_path)))
    assert weights.load(os.fsencode(tmp_path / f"MODEL{suffix.upper()}")) == {}
    assert weights.load_metadata(tmp_path / f"MODEL{suffix.upper()}") == {}


@SUFFIXES
def test_layouts_and_foreign_arrays_are_normalised(tmp_path, suffix):
    class WithNumpy:
        def numpy(self):
            return np.arange(3.0)

    class WithArray:
        def __array__(self, dtype=None, copy=None):
            return np.arange(4, dtype=np.int32)

    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state = {
        "transposed": base.T,
        "negative": base[::-1, :, ::2],
        "swapped": base.astype(">f4"),
        "broadcast": np.broadcast_to(np.float16(1), (3, 2)),
        "numpy": WithNumpy(),
        "array": WithArray(),
        "list": [1.0, 2.0],
    }
    weights.save(state, tmp_path / f"m{suffix}")
    expected = {**state, "swapped": base, "numpy": np.arange(3.0), "array": np.arange(4, dtype=np.int32)}
    assert_same(weights.load(tmp_path / f"m{suffix}"), {name: np.asarray(array) for name, array in expected.items()})


@pytest.mark.oracle
def test_files_are_those_of_the_usual_packages(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    state = {name: np.asarray(array) for name, array in STATE.items()}
    weights.save(state, tmp_path / "a.safetensors", {"k": "v"})
    assert_same(package.load_file(tmp_path / "a.safetensors"), state)
    package.save_file(state, tmp_path / "b.safetensors", {"k": "v"})
    assert_same(weights.load(tmp_path / "b.safetensors"), state)
    assert weights.load_metadata(tmp_path / "b.safetensors") == {"k": "v"}

    weights.save(state, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert_same(dict(archive), state)
    del state["file"]
    state["fortran"], state["swapped"] = np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3).astype(">i4")
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "c.npz", **state)
        assert_same(weights.load(tmp_path / "c.npz"), {**state, "swapped": np.arange(3, dtype=np.int32)})


@pytest.mark.oracle
def test_bfloat16_is_widened(tmp_path):
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("safetensors.torch")
    values = torch.tensor([1.0, -2.5, 3.14159, float("inf"), 1e-40], dtype=torch.bfloat16)
    package.save_file({"w": values, "v": torch.ones(1)}, tmp_path / "t.safetensors")
    loaded = weights.load(tmp_path / "t.safetensors")
    np.testing.assert_array_equal(loaded["w"], values.float().numpy(), strict=True)
    weights.save({"t": torch.arange(3)}, tmp_path / "u.safetensors")
    np.testing.assert_array_equal(weights.load(tmp_path / "u.safetensors")["t"], np.arange(3))


@SUFFIXES
@pytest.mark.parametrize(
    ("state", "metadata", "error", "reason"),
    [
        ({"a": np.ones(2, complex)}, None, DTypeError, "'a': dtype complex128 is not one of float64, float32"),
        ({"a": np.array([object()])}, None, DTypeError, "dtype object"),
        ({"a": "text"}, None, DTypeError, "dtype <U4"),
        ({"a": np.ones(2, np.longdouble)}, None, DTypeError, "longdouble|float128"),
        ({1: np.ones(2)}, None, ValueError, "name is a int, not a str"),
        ({"": np.ones(2)}, None, ValueError, "0 characters"),
        ({"x" * 1025: np.ones(2)}, None, ValueError, "1025 characters"),
        ({"a\0b": np.ones(2)}, None, ValueError, "cannot be printed"),
        ({"\ud800": np.ones(2)}, None, ValueError, "cannot be printed"),
        ({"__metadata__": np.ones(2)}, None, ValueError, "reserved"),
        ({"a": np.ones(2)}, {"a": 1}, TypeError, "map str to str, got a int"),
        ({"a": np.ones(2)}, {"a": "\ud800"}, ValueError, "surrogates"),
        ([1, 2], None, TypeError, "expected a mapping"),
    ],
)
def test_save_refuses_and_leaves_the_old_file(tmp_path, suffix, state, metadata, error, reason):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"old")
    with pytest.raises(error, match=reason):
        weights.save(state, path, metadata)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_unknown_suffix_and_missing_package(tmp_path, monkeypatch):
    for call in (lambda path: weights.save({}, path), weights.load, weights.load_metadata):
        with pytest.raises(ValueError, match=r"unknown suffix '\.tar' of .* supported are \.safetensors, \.npz"):
            call(tmp_path / "model.tar")
    with pytest.raises(ValueError, match=r"unknown suffix '\.pth' of .* supported are \.safetensors, \.npz$"):
        weights.save({}, tmp_path / "model.pth")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'fastconv\[weights\]'"):
        weights.save({}, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(raw_safetensors({}))
    assert weights.load(tmp_path / "a.safetensors") == {}


@SUFFIXES
def test_paths_that_are_no_files(tmp_path, suffix):
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    for call in (weights.load, weights.load_metadata, lambda path: weights.save({}, path)):
        with pytest.raises(IsADirectoryError, match="is a directory"):
            call(folder)
    with pytest.raises(FileNotFoundError):
        weights.load(tmp_path / f"absent{suffix}")
    with pytest.raises(FileNotFoundError):
        weights.save({}, tmp_path / "absent" / f"a{suffix}")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        with pytest.raises(FormatError, match="not a regular file"):
            weights.load(tmp_path / f"pipe{suffix}")
        with pytest.raises(OSError, match="not a regular file"):
            weights.save({}, tmp_path / f"pipe{suffix}")
    real, link = tmp_path / f"real{suffix}", tmp_path / f"link{suffix}"
    weights.save({"a": np.ones(2)}, real)
    link.symlink_to(real)
    weights.save({"a": np.zeros(3)}, link)
    assert link.is_symlink()
    for path in (real, link):
        np.testing.assert_array_equal(weights.load(path)["a"], np.zeros(3))


def test_atomic_write_is_all_or_nothing(tmp_path):
    path = tmp_path / "file"
    with weights.atomic_write(path) as file:
        file.write(b"one")
        assert not path.exists()
    os.chmod(path, 0o640)
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), weights.atomic_write(path) as file:  # noqa: PT012
            file.write(b"two")
            raise error
        assert path.read_bytes() == b"one"
        assert list(tmp_path.iterdir()) == [path]
    with weights.atomic_write(os.fsencode(path)) as file:
        file.write(b"three")
    assert path.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [path]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with weights.atomic_write(tmp_path / ("n" * 250)) as file:
        file.write(b"x")


def test_atomic_write_keeps_the_old_file_when_the_last_step_fails(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    weights.save({"a": np.ones(1)}, path)

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space left"):
                weights.save({"a": np.zeros(9)}, path)
        assert weights.load(path)["a"].shape == (1,)
        assert list(tmp_path.iterdir()) == [path]


def raw_safetensors(header, content=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


E8 = json.dumps(entry()).encode()
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated: 0 bytes"),
        (b"1234567", "truncated: 7 bytes"),
        (raw_safetensors({}, length=3), "a header of 3 bytes in a file of 10"),
        (raw_safetensors({}, length=2**64 - 1), "a header of 18446744073709551615 bytes"),
        (raw_safetensors(b""), "does not begin with"),
        (raw_safetensors(b" {}"), "does not begin with"),
        (raw_safetensors(b"{"), "not valid JSON"),
        (raw_safetensors(b'{"\xff": 1}'), "not valid JSON"),
        (raw_safetensors(b'{"a": NaN}'), "NaN is not JSON"),
        (raw_safetensors(DEEP), "not valid JSON"),
        (raw_safetensors(b'{"a": ' + b"9" * 5000 + b"}"), "not valid JSON"),
        (raw_safetensors(b'{"a": ' + E8 + b', "a": ' + E8 + b"}", bytes(8)), "'a' occurs twice"),
        (raw_safetensors(b'{"a": ' + E8[:-1] + b', "shape": [2]}}', bytes(8)), "'shape' occurs twice"),
        (raw_safetensors({"__metadata__": {"a": 1}}), "__metadata__ does not map"),
        (raw_safetensors({"__metadata__": []}), "__metadata__ does not map"),
        (raw_safetensors({"": entry()}, bytes(8)), "0 characters"),
        (raw_safetensors({"a\n": entry()}, bytes(8)), "cannot be printed"),
        (raw_safetensors({"\ud800": entry()}, bytes(8)), "cannot be printed"),
        (raw_safetensors({"a" * 1025: entry()}, bytes(8)), "1025 characters"),
        (raw_safetensors({"a": 1}), "not an object with dtype"),
        (raw_safetensors({"a": entry(extra=1)}, bytes(8)), "not an object with dtype"),
        (raw_safetensors({"a": entry("F8_E4M3")}, bytes(8)), "dtype 'F8_E4M3' is not one of F64, F32"),
        (raw_safetensors({"a": entry([[]])}, bytes(8)), "dtype 'list'"),
        (raw_safetensors({"a": entry(shape=(-2,))}, bytes(8)), "integers >= 0"),
        (raw_safetensors({"a": entry(shape=(2.0,))}, bytes(8)), "integers >= 0"),
        (raw_safetensors({"a": entry(shape=(True, 2))}, bytes(8)), "integers >= 0"),
        (raw_safetensors({"a": {**entry(), "shape": 2}}, bytes(8)), "integers >= 0"),
        (raw_safetensors({"a": entry(shape=[1] * 65)}, bytes(8)), "65 axes"),
        (raw_safetensors({"a": entry(shape=(2**62, 4))}, bytes(8)), "overflows"),
        (raw_safetensors({"a": entry(shape=(0, 2**62, 4), end=0)}), "overflows"),
        (raw_safetensors({"a": entry(shape=(3,))}, bytes(8)), "0..8 do not enclose the 12 bytes"),
        (raw_safetensors({"a": {**entry(), "data_offsets": [0, 8.0]}}, bytes(8)), "not a pair of integers"),
        (raw_safetensors({"a": {**entry(), "data_offsets": [0]}}, bytes(8)), "not a pair of integers"),
        (raw_safetensors({"a": entry(begin=-8, end=0)}, bytes(8)), "-8..0 do not enclose"),
        (raw_safetensors({"a": entry()}, bytes(7)), "within 7 bytes"),
        (raw_safetensors({"a": entry()}, bytes(9)), "cover 8 of 9 bytes"),
        (raw_safetensors({}, bytes(1)), "cover 0 of 1 bytes"),
        (raw_safetensors({"a": entry(begin=4, end=12)}, bytes(12)), "expected was a start at 0"),
        (raw_safetensors({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12)), "expected was a start at 8"),
        (raw_safetensors({"a": entry(), "b": entry()}, bytes(8)), "expected was a start at 8"),
        (raw_safetensors({"a": entry(), "b": entry(begin=12, end=20)}, bytes(20)), "expected was a start at 8"),
        (raw_safetensors({"a": entry("BOOL", end=2)}, b"\1\2"), "a boolean has the value 2"),
        (pickle.dumps({"a": 1}), "truncated|begin with"),
    ],
)
def test_safetensors_refuses(tmp_path, content, reason):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=reason) as caught:
        weights.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_safetensors_header_limit_can_be_raised(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_safetensors(b'{"__metadata__": {"a": "' + b"x" * 300 + b'"}}'))
    for call in (weights.load, weights.load_metadata):
        with pytest.raises(UnsafeFileError, match=r"above the limit of 99; .* pass a larger max_header_bytes="):
            call(path, max_header_bytes=99)
    assert weights.load_metadata(path, max_header_bytes=400) == {"a": "x" * 300}
    path.write_bytes(struct.pack("<Q", safetensors_file.MAX_HEADER_BYTES + 1))
    os.truncate(path, safetensors_file.MAX_HEADER_BYTES + 9)
    with pytest.raises(UnsafeFileError, match="max_header_bytes="):
        weights.load(path)


def test_safetensors_are_mapped_read_only_and_survive_replacement(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_safetensors(b'{"a":' + E8 + b"}", np.float32([1, 2]).tobytes()))
    unaligned = weights.load(path)["a"]
    np.testing.assert_array_equal(unaligned, np.float32([1, 2]))
    weights.save({"a": np.full(1 << 20, 3, np.float32)}, path)
    tracemalloc.start()
    loaded = weights.load(path)["a"]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 1
    weights.save({"a": loaded * 2}, path)
    assert (loaded[0], unaligned[1], weights.load(path)["a"][0]) == (3, 2, 6)


def npy(array=None, header=None, version=(1, 0)):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(3.0) if array is None else array, version)
    content = buffer.getvalue()
    if header is None:
        return content
    return content[:8] + struct.pack("<H", len(header)) + header + np.arange(3.0).tobytes()


def npz(path, members, compression=zipfile.ZIP_STORED, attributes=0):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = attributes, compression
            archive.writestr(info, content)
    return path


HEADER = b"{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"


@pytest.mark.parametrize(
    ("name", "content", "error", "reason"),
    [
        ("a.txt", b"", FormatError, "does not end in .npy"),
        ("folder/", b"", FormatError, "does not end in .npy"),
        ("/etc/a.npy", npy(), UnsafeFileError, "path out of the folder"),
        ("a/../../b.npy", npy(), UnsafeFileError, "path out of the folder"),
        ("..\\a.npy", npy(), UnsafeFileError, "path out of the folder"),
        (".npy", npy(), FormatError, "0 characters"),
        ("a\n.npy", npy(), FormatError, "cannot be printed"),
        ("a.npy", b"", FormatError, "damaged npy header"),
        ("a.npy", pickle.dumps(1), FormatError, "damaged npy header"),
        ("a.npy", npy(version=(3, 0)), FormatError, r"version \(3, 0\) is not supported"),
        ("a.npy", npy()[:20], FormatError, "damaged npy header"),
        ("a.npy", npy()[:-1], FormatError, "truncated or overlong: shape .* needs 24 bytes, 23 follow"),
        ("a.npy", npy() + b"x", FormatError, "needs 24 bytes, 25 follow"),
        ("a.npy", npy(np.array([object()])), UnsafeFileError, "holds Python objects"),
        ("a.npy", npy(np.zeros(2, [("x", object)])), UnsafeFileError, "holds Python objects"),
        ("a.npy", npy(np.zeros(2, [("x", "f4")])), FormatError, "is not one of float64"),
        ("a.npy", npy(np.ones(2, complex)), FormatError, "dtype complex128 is not one of"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(10000000000000,)")), FormatError, "80000000000000 bytes, 24"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(4611686018427387904, 9)")), FormatError, "overflows"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(-3,)")), FormatError, "integers >= 0"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(3.0,)")), FormatError, "damaged npy header"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(" * 3000)), FormatError, "damaged npy header"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"-" * 3000 + b"1")), FormatError, "damaged npy header"),
        ("a.npy", npy(header=HEADER % (b"<f8", b"(3,)" + b" " * 5000)), FormatError, "damaged npy header"),
        ("a.npy", npy(header=b"__import__('os').getcwd()"), FormatError, "damaged npy header"),
        (
            "a.npy",
            npy(np.array([True]))[:-1] + b"\x07",
            FormatError,
            "boolean has the value 7",
        ),
    ],
)
def test_npz_refuses_members(tmp_path, name, content, error, reason):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = npz(tmp_path / "bad.npz", [("good.npy", npy()), (name, content)], compression)
        with pytest.raises(error, match=reason) as caught:
            weights.load(path)
        assert str(path) in str(caught.value)


def test_npz_refuses_archives(tmp_path):
    def refused(error, reason, path, **limits):
        with pytest.raises(error, match=reason) as caught:
            weights.load(path, **limits)
        assert str(path) in str(caught.value)

    good = npz(tmp_path / "good.npz", [("a.npy", npy()), ("b.npy", npy(np.arange(9.0)))])
    content, bad = good.read_bytes(), tmp_path / "bad.npz"
    for damaged in (b"", b"PK", content[:-1], content[:40], content[50:], npy(), pickle.dumps([1])):
        bad.write_bytes(damaged)
        refused(FormatError, "zip archive", bad)
    bad.write_bytes(content.replace(np.float64(8).tobytes(), np.float64(7).tobytes()))
    refused(FormatError, "CRC", bad)
    with pytest.warns(UserWarning, match="Duplicate"):
        npz(bad, [("a.npy", npy()), ("a.npy", npy())])
    refused(FormatError, "twice", bad)
    refused(
        UnsafeFileError, "is a link", npz(bad, [("a.npy", b"/etc/passwd")], attributes=(stat.S_IFLNK | 0o777) << 16)
    )
    refused(FormatError, "unsupported method", npz(bad, [("a.npy", npy())], zipfile.ZIP_BZIP2))
    bad.write_bytes(content.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"))
    refused(FormatError, "encrypted", bad)
    refused(UnsafeFileError, "above the limit of 300; .* pass a larger max_bytes=", good, max_bytes=300)
    assert weights.load(good, max_bytes=400).keys() == {"a", "b"}


def test_npz_bombs(tmp_path):
    zeros = npy(np.zeros((1 << 26) + 1, np.uint8))
    bomb = npz(tmp_path / "bomb.npz", [("a.npy", zeros)], zipfile.ZIP_DEFLATED)
    with pytest.raises(UnsafeFileError, match=r"times its size and above the limit of 100 times; .* larger max_ratio="):
        weights.load(bomb)
    assert weights.load(bomb, max_ratio=2000)["a"].shape == ((1 << 26) + 1,)
    small = npz(tmp_path / "small.npz", [("a.npy", npy(np.zeros(1 << 20)))], zipfile.ZIP_DEFLATED)
    assert not weights.load(small)["a"].any()
    members = [(f"{i}.npy", npy(np.random.default_rng(0).standard_normal(1000))) for i in range(4)]
    content = bytearray(npz(tmp_path / "o.npz", members).read_bytes())
    for start in [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]:
        content[start + 20 : start + 28] = struct.pack("<II", 20_000, 20_000)
    (tmp_path / "o.npz").write_bytes(content)
    with pytest.raises(UnsafeFileError, match="members overlap"):
        weights.load(tmp_path / "o.npz")


def test_npz_refuses_names_that_leave_the_folder_and_bad_metadata(tmp_path):
    for name in ("/a", "../a", "a/../b", "a\\b"):
        with pytest.raises(ValueError, match="path out of the folder"):
            weights.save({name: np.ones(1)}, tmp_path / "a.npz")
    for texts in (b"[", b"[]", b'{"a": 1}', b"\xff"):
        npz_file.save({"a": np.ones(1)}, tmp_path / "a.npz")
        with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
            archive.writestr("__metadata__.npy", npy(np.frombuffer(texts, np.uint8)))
        assert weights.load(tmp_path / "a.npz").keys() == {"a"}
        with pytest.raises(FormatError, match="metadata"):
            weights.load_metadata(tmp_path / "a.npz")


def test_documented_examples_run():
    assert doctest.testmod(weights) == (0, 4)
    assert doctest.testmod(atomic) == (0, 2)


@FUZZ
@given(
    header=st.dictionaries(
        st.text(max_size=3),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from([*entries.DTYPES, "BF16"]),
                "shape": st.lists(st.integers(0, 4), max_size=3),
                "data_offsets": st.lists(st.integers(0, 40), min_size=2, max_size=2).map(sorted),
            }
        ),
        max_size=3,
    ),
    size=st.integers(0, 40),
)
def test_invented_headers_give_a_format_error(tmp_path, header, size):
    path = tmp_path / "m.safetensors"
    path.write_bytes(raw_safetensors(header, bytes(size)))
    with contextlib.suppress(FormatError):
        loaded = weights.load(path)
        assert {name: list(array.shape) for name, array in loaded.items()} == {
            name: entry["shape"] for name, entry in header.items()
        }
