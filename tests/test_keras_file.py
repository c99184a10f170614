"""Keras' HDF5 files: read as the HDF5 library reads them, and refused where they could do harm."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from support.keras_layers import named, positional

from fastconv import weights
from fastconv.errors import FormatError, UnsafeFileError

pytestmark = pytest.mark.oracle  # h5py writes the files


@pytest.fixture(scope="module")
def h5py():
    return pytest.importorskip("h5py")


KERNEL = np.arange(3 * 2 * 2 * 5, dtype=np.float32).reshape(3, 2, 2, 5)


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110"])
def test_layers_of_keras_3(h5py, tmp_path, libver):
    path = tmp_path / "a.weights.h5"
    ones = np.ones(5, np.float32)
    with h5py.File(path, "w", libver=libver) as file:
        positional(
            file,
            {
                "conv2d": ("first", [KERNEL, ones]),
                "conv2d_1": ("second", [KERNEL * 2]),
                "batch_normalization": ("bn", [ones, ones * 2, ones * 3, ones * 4]),
                "batch_normalization_1": ("unscaled", [ones * 2, ones * 3, ones * 4]),
                "my_layer": ("own", [ones, ones, ones]),
                "functional/layers/dense": ("inner", [np.eye(2)]),
                "dropout/seed_generator": ("seed", [np.zeros(2, np.uint32)]),
            },
        )
        file.create_group("layers/activation/vars").attrs["name"] = "relu"
        positional(file.create_group("optimizer"), {"adam": ("adam", [ones])})
    loaded = weights.load(path)
    assert sorted(loaded) == sorted(
        [
            *("first.kernel", "first.bias", "second.kernel", "inner.kernel", "own.0", "own.1", "own.2"),
            *("bn.gamma", "bn.beta", "bn.moving_mean", "bn.moving_variance"),
            *("unscaled.beta", "unscaled.moving_mean", "unscaled.moving_variance"),
        ]
    )
    np.testing.assert_array_equal(loaded["second.kernel"], KERNEL * 2, strict=True)
    assert loaded["bn.moving_variance"][0] == loaded["unscaled.moving_variance"][0] == 4
    assert weights.load_metadata(path) == {}


@pytest.mark.parametrize(
    "form", [list, lambda names: np.array(list(names) or [b""], "S"), lambda names: [n.decode() for n in names]]
)
@pytest.mark.parametrize("group", ["/", "model_weights"])
def test_layers_of_keras_2(h5py, tmp_path, group, form):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        layers = {
            "conv1": {"conv1/kernel:0": KERNEL, "conv1/bias:0": KERNEL[0, 0, 0]},
            "base": {"stem/kernel:0": KERNEL, "head/fc/kernel:0": KERNEL[0, 0]},
        }
        named(file.require_group(group), layers, form)
    loaded = weights.load(path)
    assert list(loaded) == ["conv1.kernel", "conv1.bias", "stem.kernel", "fc.kernel"]
    np.testing.assert_array_equal(loaded["fc.kernel"], KERNEL[0, 0], strict=True)
    assert weights.load_metadata(path) == {"keras_version": "2.15.0"}


@pytest.mark.parametrize("libver", ["earliest", "v108"])
def test_many_layers_and_long_attributes(h5py, tmp_path, libver):
    path, count = tmp_path / "a.h5", 700
    with h5py.File(path, "w", libver=libver) as file:
        positional(file, {f"dense_{i}": (f"layer {i}", [np.full((1, 2), i)]) for i in range(count)})
    assert sorted(weights.load(path)) == sorted(f"layer {i}.kernel" for i in range(count))
    with h5py.File(path, "w", libver=libver) as file:
        layers = [f"{'long' * 30} {i}" for i in range(count)]
        for layer in layers:
            file.create_group(layer).create_dataset("kernel:0", data=np.ones(2))
            file[layer].attrs["weight_names"] = [b"kernel:0"]
        for number, start in enumerate(range(0, count, 20)):
            file.attrs[f"layer_names{number}"] = np.array([layer.encode() for layer in layers[start : start + 20]])
        for number in range(9):  # so many that they lie in a heap
            file.attrs[f"other{number}"] = number
    assert list(weights.load(path)) == [f"{layer}.kernel" for layer in layers]


def test_every_dtype_and_packing(h5py, tmp_path, rng):
    path = tmp_path / "a.h5"
    arrays = {
        dtype: rng.integers(0, 100, (7, 13, 5)).astype(dtype)
        for dtype in ["f2", "f4", "f8", ">f4", ">f8", "i1", "i2", ">i4", "i8", "u1", "u2", "u4", "u8"]
    }
    packings = [
        {},
        {"chunks": (3, 4, 5)},
        {"chunks": (7, 13, 5), "compression": "gzip"},
        {"chunks": (2, 5, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (1, 1, 1), "fletcher32": True},
    ]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"l"]
        group, names = file.create_group("l"), []
        for name, values in arrays.items():
            for number, packing in enumerate(packings):
                names.append(f"{name}-{number}")
                group.create_dataset(names[-1], data=values, **packing)
        group.create_dataset("scalar", data=np.float32(3))
        group.create_dataset("empty", shape=(0, 3), dtype="f4")
        group.create_dataset("unwritten", shape=(4, 3), dtype="f4")
        group.create_dataset("unwritten chunks", shape=(4, 3), dtype="f4", chunks=(2, 2))
        names += ["scalar", "empty", "unwritten", "unwritten chunks"]
        group.attrs["weight_names"] = names
    loaded = weights.load(path)
    for name, values in arrays.items():
        for number in range(len(packings)):
            found = loaded[f"l.{name}-{number}"]
            np.testing.assert_array_equal(found, values)
            assert found.dtype == values.dtype.newbyteorder("=")
    assert loaded["l.scalar"] == 3
    assert loaded["l.scalar"].shape == ()
    assert loaded["l.empty"].shape == (0, 3)
    assert not loaded["l.unwritten"].any()
    assert not loaded["l.unwritten chunks"].any()


def test_arrays_are_mapped(h5py, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        named(file, {"l": {"kernel": KERNEL}})
    content = path.read_bytes()
    with pytest.raises(ValueError, match="read-only"):
        weights.load(path)["l.kernel"][:] = 0
    loaded = weights.load(path, writable=True)["l.kernel"]
    loaded[:] = 0
    assert path.read_bytes() == content


@pytest.mark.parametrize("pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives(h5py, tmp_path, pack):
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        positional(file, {"dense": ("fc", [KERNEL[0, 0]])})
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", pack) as archive:
        archive.writestr("config.json", "__import__('os').mkdir('executed')")
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    for writable in (False, True):
        loaded = weights.load(path, writable=writable)
        np.testing.assert_array_equal(loaded["fc.kernel"], KERNEL[0, 0])
        assert loaded["fc.kernel"].flags.writeable is writable
    with zipfile.ZipFile(path, "w", pack) as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(FormatError, match=r"lacks model\.weights\.h5"):
        weights.load(path)


def hostile(h5py, kind, file, group):
    """Put something dangerous or foreign where the kernel is expected."""
    if kind == "soft":
        group["kernel"] = h5py.SoftLink("/elsewhere")
    elif kind == "external":
        group["kernel"] = h5py.ExternalLink("/etc/passwd", "/a")
    elif kind == "external data":
        group.create_dataset("kernel", shape=(4,), dtype="f4", external=[("/etc/passwd", 0, 16)])
    elif kind == "virtual":
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "a", shape=(4,))
        group.create_virtual_dataset("kernel", layout)
    elif kind == "filter":
        group.create_dataset("kernel", data=np.ones(8), compression="lzf", chunks=(4,))
    elif kind == "filter twice":
        packing = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        packing.set_chunk((4,))
        packing.set_shuffle()
        packing.set_shuffle()
        h5py.h5d.create(group.id, b"kernel", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((8,)), packing)
    elif kind == "wide chunks":
        wide = {"shape": (80, 4), "maxshape": (80, None), "chunks": (1, 1 << 18), "dtype": "f4"}
        group.create_dataset("kernel", compression="gzip", **wide)[:] = 1
    elif kind == "circle":
        group["kernel"] = file
    elif kind == "huge":
        group.create_dataset("kernel", shape=(1 << 40,), dtype="f8", chunks=(1 << 20,))
    elif kind == "bomb":
        group.create_dataset(
            "kernel", data=np.zeros(1 << 24), chunks=(1 << 24,), compression="gzip", compression_opts=9
        )
    else:
        kinds = {
            "complex": np.ones(2, complex),
            "text": b"text",
            "compound": np.zeros(2, [("a", "f4")]),
            "bool": [True],
        }
        group.create_dataset("kernel", data=kinds[kind])


@pytest.mark.parametrize("libver", ["earliest", "v108"])
@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("soft", UnsafeFileError, "'kernel' is a soft or external link"),
        ("external", UnsafeFileError, "'kernel' is a soft or external link"),
        ("external data", UnsafeFileError, "data in other files"),
        ("virtual", UnsafeFileError, "data in other files"),
        ("filter", FormatError, "packed by filter 32000"),
        ("filter twice", FormatError, "a filter occurs twice"),
        ("wide chunks", UnsafeFileError, "max_ratio="),
        ("circle", FormatError, "neither a group nor an array"),
        ("huge", UnsafeFileError, r"limit of \d+ bytes.*max_bytes="),
        ("bomb", UnsafeFileError, "max_ratio="),
        ("complex", FormatError, "datatype .* other than plain numbers"),
        ("text", FormatError, "texts for weights"),
        ("compound", FormatError, "datatype .* other than plain numbers"),
        ("bool", FormatError, "datatype .* other than plain numbers"),
    ],
)
def test_what_could_do_harm_is_refused(h5py, tmp_path, kind, error, reason, libver):
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w", libver=libver) as file:
        group = file.create_group("l")
        file.attrs["layer_names"], group.attrs["weight_names"] = [b"l"], [b"kernel"]
        hostile(h5py, kind, file, group)
    with pytest.raises(error, match=reason) as caught:
        weights.load(path)
    assert str(path) in str(caught.value)


def test_circles_of_groups_end(h5py, tmp_path):
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/a")
        group["again"] = file["layers"]
    with pytest.raises(UnsafeFileError, match="deep in each other"):
        weights.load(path)


def test_blocks_in_a_circle_end(h5py, tmp_path):
    """A header whose second block says that it goes on with itself."""
    path = tmp_path / "bad.h5"
    with h5py.File(path, "w") as file:
        file.attrs["first"] = 1
        for number in range(40):  # which do not fit into the first block of the header
            file.attrs[f"more{number}"] = number
    content = bytearray(path.read_bytes())
    position = next(i for i in range(len(content)) if content[i : i + 8] == b"\x10\0\x10\0\0\0\0\0")
    block = int.from_bytes(content[position + 8 : position + 16], "little")
    content[block : block + 24] = content[position : position + 24]
    path.write_bytes(content)
    with pytest.raises(UnsafeFileError, match="parts of structure, or parts in a circle"):
        weights.load(path)


def test_branches_of_a_tree_of_chunks_are_counted(h5py, tmp_path, monkeypatch):
    """A node above the leaves, put in the place of the tree of an array, with more branches than parts may be."""
    path, most = tmp_path / "bad.h5", 300
    with h5py.File(path, "w") as file:
        named(file, {"l": {}})
        file["l"].create_dataset("kernel", data=np.ones(4), chunks=(4,))
        file["l"].attrs["weight_names"] = [b"kernel"]
    content = path.read_bytes()
    tree, moved = (struct.pack("<Q", address) for address in (content.index(b"TREE\1"), len(content)))
    assert content.count(tree) == 1
    node = b"TREE\1\1" + struct.pack("<H", most) + bytes(16 + most * 32)
    path.write_bytes(content.replace(tree, moved) + node)
    monkeypatch.setattr("fastconv.weights.hdf5.cursor._MAX_PARTS", most)
    with pytest.raises(UnsafeFileError, match="parts of structure"):
        weights.load(path)


def test_foreign_files(h5py, tmp_path):
    path = tmp_path / "bad.h5"
    for content, reason in ((b"", "empty"), (b"text", "does not begin as HDF5"), (b"\x89HDF\r\n\x1a\n", "damaged")):
        path.write_bytes(content)
        with pytest.raises(FormatError, match=reason):
            weights.load(path)
    for fill, reason in (
        (lambda file: None, "neither layers nor layer_names"),
        (lambda file: file.create_dataset("layers/dense/vars/0", data=np.ones(2)), "no name"),
        (lambda file: named(file, {"a": {"x/kernel": KERNEL, "y/kernel": KERNEL}, "x": {"kernel": KERNEL}}), "twice"),
        (lambda file: file.attrs.update({"layer_names": [b"a"]}), "a group lacks 'a'"),
    ):
        with h5py.File(path, "w") as file:
            fill(file)
        with pytest.raises(FormatError, match=reason):
            weights.load(path)


def test_a_text_is_used_once(h5py, tmp_path):
    """Many references to one long text would take memory without bound."""
    path, count, length = tmp_path / "bad.h5", 300, 100_000
    with h5py.File(path, "w") as file:
        names = ["a" * length, *(f"l{number}" for number in range(1, count))]
        file.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    content = path.read_bytes()
    start = content.index(struct.pack("<I", length))
    assert content[start + 16 : start + 20] == struct.pack("<I", 2)
    path.write_bytes(content[:start] + content[start : start + 16] * count + content[start + 16 * count :])
    tracemalloc.start()
    with pytest.raises(FormatError, match="texts overlap"):
        weights.load(path)
    assert tracemalloc.get_traced_memory()[1] < 20 * length
    tracemalloc.stop()
