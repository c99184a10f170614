"""Weight files of every format with damage: documented errors, little memory, and nothing else."""

import contextlib
import itertools
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import torch_archives
from support.keras_layers import named, positional

from fastconv import weights
from fastconv.errors import FormatError

FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SMALL = {"w": np.float32([[1, 2], [3, 4]]), "b": np.array([True]), "s": np.int64(5)}
# What reading a file of some kilobytes may take.
MAX_BYTES = 16 << 20


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Suffix, content, and the places of bytes other than zero, which structure is made of."""
    folder = tmp_path_factory.mktemp("originals")
    weights.save(SMALL, folder / "a.safetensors", {"k": "v"})
    weights.save(SMALL, folder / "a.npz", {"k": "v"})
    np.savez_compressed(folder / "b.npz", **SMALL)
    tensors = torch_archives.tensor(), torch_archives.tensor("torch\nBoolStorage", 6, key="1")
    torch_archives.by_hand(folder / "a.pth", torch_archives.state(*tensors), [bytes(24), bytes(6)])
    with contextlib.suppress(ImportError):
        keras_files(folder)
    contents = [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]
    return [(suffix, content, np.flatnonzero(np.frombuffer(content, np.uint8))) for suffix, content in contents]


def keras_files(folder):
    import h5py

    ones = np.ones((4, 3), np.float32)
    for libver in ("earliest", "v108"):
        with h5py.File(folder / f"{libver}.h5", "w", libver=libver) as file:
            named(file.create_group("model_weights"), {"l": {"l/kernel:0": ones, "l/bias:0": ones[0]}})
            packed = {"chunks": (2, 2), "compression": "gzip", "shuffle": True, "fletcher32": True}
            file["model_weights/l"].create_dataset("packed", data=ones, **packed)
            file["model_weights/l"].attrs["weight_names"] = ["l/kernel:0", "l/bias:0", "packed"]
        with h5py.File(folder / f"{libver}.weights.h5", "w", libver=libver) as file:
            positional(file, {f"dense_{i}": (f"d{i}", [ones, ones[0]]) for i in range(10)})


@contextlib.contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_BYTES


@FUZZ
@given(data=st.data())
def test_damaged_files_give_arrays_or_a_format_error(tmp_path, originals, data):
    suffix, content, places = data.draw(st.sampled_from(originals))
    changed = bytearray(content)
    anywhere, structure = st.integers(0, len(changed) - 1), st.sampled_from(places.tolist())
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.one_of(anywhere, structure))
        changed[position] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 127, 128, 255])))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(changed))) :]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(changed)
    for read, writable in itertools.product((weights.load, weights.load_metadata), (False, True)):
        options = {} if suffix == ".safetensors" else {"max_bytes": 1 << 20}
        options |= {"writable": writable} if read is weights.load else {}
        with little_memory(), contextlib.suppress(FormatError):
            for value in read(path, **options).values():
                assert type(value) is str or value.copy().dtype.isnative


@pytest.mark.parametrize("claimed", [100, (1 << 26) + 1])
@pytest.mark.parametrize(("name", "member"), [("a.pth", "a/data.pkl"), ("a.keras", "model.weights.h5")])
def test_members_that_lie_about_their_length_take_no_more(tmp_path, name, member, claimed):
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, bytes(1 << 26))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1 << 26), struct.pack("<I", claimed)))
    bounded = little_memory() if claimed < 1 << 26 else contextlib.nullcontext()
    limits = {"max_ratio": 1e6} | ({"max_pickle_bytes": 1 << 27} if name == "a.pth" else {})
    with bounded, pytest.raises(FormatError, match=r"zip archive.* (damaged|truncated)"):
        weights.load(path, **limits)
