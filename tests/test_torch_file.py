"""State dicts of torch.save: read as torch reads them, without executing, copying or trusting anything."""

import collections
import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from support.torch_archives import by_hand, state, tensor

from fastconv import weights
from fastconv.errors import FormatError, UnsafeFileError
from fastconv.weights import torch_pickle

DTYPES = [name for name in torch_pickle.DTYPES if name != "bfloat16"]


SIX = np.arange(6, dtype=np.float32)


def test_what_is_written_by_hand_is_read(tmp_path):
    for pack in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = by_hand(tmp_path / "a.pt", state(tensor(), tensor(shape=(3,), strides=(2,))), [SIX.tobytes()], pack=pack)
        for writable in (False, True):
            loaded = weights.load(path, writable=writable)
            np.testing.assert_array_equal(loaded["t0"], SIX.reshape(2, 3))
            np.testing.assert_array_equal(loaded["t1"], [0, 2, 4])
            assert loaded["t0"].flags.writeable is writable
            assert np.shares_memory(loaded["t0"], loaded["t1"]) is not writable


def test_big_endian_and_missing_byte_orders(tmp_path):
    path = by_hand(tmp_path / "a.pt", state(tensor()), [SIX.astype(">f4").tobytes()], byteorder=b"big")
    loaded = weights.load(path)["t0"]
    assert loaded.dtype.isnative
    np.testing.assert_array_equal(loaded, SIX.reshape(2, 3))
    path = by_hand(tmp_path / "a.pt", state(tensor()), [SIX.tobytes()], byteorder=b"")
    np.testing.assert_array_equal(weights.load(path)["t0"], SIX.reshape(2, 3))
    with pytest.raises(FormatError, match="byte order is b'middle'"):
        weights.load(by_hand(tmp_path / "a.pt", state(tensor()), [SIX.tobytes()], byteorder=b"middle"))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (tensor("torch\nComplexFloatStorage", 3), "'t0': dtype complex64 is not one of float64"),
        (tensor("torch\nQInt8Storage", 24), "dtype qint8 is not one of"),
        (tensor("torch\nUntypedStorage", 24, more=b"ctorch\nfloat8_e4m3fn\n}"), "dtype float8_e4m3fn is not one of"),
        (tensor("torch\nUntypedStorage", 24), "something else than storage"),
        (tensor(more=b"ctorch\nint8\n}"), "something else than storage"),
        (tensor(more=b"K\x01}"), "strides and dtype"),
        (tensor(length=5), "24 bytes, not 5 elements"),
        (tensor(length=2**62), "24 bytes, not 4611686018427387904 elements"),
        (tensor(length=-6), "not to a storage of numbers"),
        (tensor(offset=1), "reach beyond the storage of 24 bytes"),
        (tensor(offset=-1), "something else than storage"),
        (tensor(strides=(3, -1)), "something else than storage"),
        (tensor(strides=(4, 1)), "reach beyond"),
        (tensor(strides=(2**63, 1)), "reach beyond"),
        (tensor(strides=(2**64, 1)), "an integer has more than 64 bits"),
        (tensor(offset=-(2**63) - 1), "an integer has more than 64 bits"),
        (tensor(shape=(2, 3, 1)), "something else than storage"),
        (tensor(shape=(2**40, 2**40), strides=(0, 0)), "overflows"),
        (tensor(shape=(1,) * 65, strides=(1,) * 65), "65 axes"),
        (tensor(key="7"), "lacks 'archive/data/7'"),
        (tensor(key="../data.pkl"), "lacks"),
        (b"ctorch._utils\n_rebuild_parameter\n)R", "a parameter has no values"),
        (b"ccollections\nOrderedDict\n]\x85R", "made with arguments"),
        (b"K\x01Q", "not to a storage"),
    ],
)
def test_damaged_descriptions(tmp_path, made, reason):
    path = by_hand(tmp_path / "bad.pt", state(made), [SIX.tobytes()])
    with pytest.raises(FormatError, match=reason) as caught:
        weights.load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_empty_and_single_axes_may_have_any_stride(tmp_path):
    made = [
        tensor(shape=(2, 0), strides=(2**62, 1)),
        tensor(shape=(1, 6), strides=(2**62, 1)),
        tensor(shape=(), strides=()),
    ]
    loaded = weights.load(by_hand(tmp_path / "a.pt", state(*made), [SIX.tobytes()]))
    assert loaded["t0"].shape == (2, 0)
    np.testing.assert_array_equal(loaded["t1"], SIX[None])
    assert loaded["t2"] == 0


def test_booleans_are_checked(tmp_path):
    made = tensor("torch\nBoolStorage", 3, shape=(3,), strides=(1,))
    assert weights.load(by_hand(tmp_path / "a.pt", state(made), [b"\0\1\1"]))["t0"].tolist() == [False, True, True]
    with pytest.raises(FormatError, match="boolean has the value 3"):
        weights.load(by_hand(tmp_path / "a.pt", state(made), [b"\0\1\3"]))


def test_expanded_tensors_are_bounded(tmp_path):
    path = by_hand(tmp_path / "a.pt", state(tensor(shape=(2**25,), strides=(0,))), [SIX.tobytes()])
    with pytest.raises(UnsafeFileError, match=r"134217728 bytes.*max_ratio="):
        weights.load(path)
    path = by_hand(tmp_path / "a.pt", state(tensor(shape=(4, 3), strides=(0, 1))), [SIX.tobytes()])
    loaded = weights.load(path, writable=True)["t0"]
    loaded[0] = 7
    np.testing.assert_array_equal(loaded[1:], np.tile(SIX[:3], (3, 1)))


class Call:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(tmp_path, monkeypatch, protocol):
    marker = tmp_path / "executed"
    calls = (Call(os.system, f"touch {marker}"), Call(eval, f"open({str(marker)!r}, 'w')"), Call(os.mkdir, str(marker)))
    for call in calls:
        path = by_hand(tmp_path / "bad.pth", pickle.dumps(collections.OrderedDict(a=call), protocol))
        for read in (weights.load, weights.load_metadata):
            with pytest.raises(UnsafeFileError, match=r"asks for '.*', which is not allowed: a state dict|instruction"):
                read(path)
    assert not marker.exists()


def test_files_of_another_kind_say_what_to_do(tmp_path):
    def refused(reason, content, error=FormatError):
        path = tmp_path / "bad.pth"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(error, match=reason):
            weights.load(path)

    refused(r"format before 1\.6.*torch\.save\(state_dict, path\)", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.more")
    refused("not a zip archive", b"")
    refused("not a zip archive", pickle.dumps({"a": 1}))
    for name, reason in (("a/constants.pkl", "TorchScript program"), ("b/data.pkl", "2 members data.pkl")):
        path = by_hand(tmp_path / "bad.pth", state(tensor()), [SIX.tobytes()], folder="a/")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, b"")
        refused(reason, None)
    for program, reason in (
        (pickle.dumps([1], 2), "holds a list"),
        (pickle.dumps({"a": {"b": 1}}, 2), "no tensors by name"),
    ):
        refused(reason, by_hand(tmp_path / "c.pth", program).read_bytes())
    refused("holds a tensor, not a state dict", by_hand(tmp_path / "c.pth", b"\x80\x02" + tensor() + b".").read_bytes())
    content = by_hand(tmp_path / "c.pth", state(tensor()), [SIX.tobytes()]).read_bytes()
    refused("checksum", content.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v4"))
    assert weights.load(by_hand(tmp_path / "c.pth", b"\x80\x02}.")) == {}


def test_limits(tmp_path):
    path = by_hand(tmp_path / "a.pt", state(tensor()), [SIX.tobytes()])
    with pytest.raises(UnsafeFileError, match=r"limit of 50; .*max_pickle_bytes="):
        weights.load(path, max_pickle_bytes=50)
    with pytest.raises(UnsafeFileError, match="max_bytes="):
        weights.load(path, max_bytes=50)


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_dtype_is_read_as_torch_reads_it(tmp_path, torch, rng, protocol):
    path = tmp_path / "a.pth"
    saved = {name: torch.arange(12).reshape(3, 4).to(getattr(torch, name)) for name in DTYPES}
    saved["half of a float"] = torch.tensor(rng.normal(size=(5, 2))).bfloat16()
    saved["transposed"], saved["sliced"] = saved["float32"].t(), saved["float32"][1:, ::2]
    saved["channels last"] = torch.tensor(rng.normal(size=(2, 3, 4, 5))).to(memory_format=torch.channels_last)
    saved["parameter"] = torch.nn.Parameter(torch.ones(2))
    saved["scalar"], saved["empty"] = torch.tensor(3), torch.zeros(2, 0)
    torch.save(saved, path, pickle_protocol=protocol)
    loaded = weights.load(path)
    assert loaded.keys() == saved.keys()
    for name, value in saved.items():
        expected = value.detach().float().numpy() if name.startswith("half") else value.detach().numpy()
        np.testing.assert_array_equal(loaded[name], expected, strict=True)
        assert loaded[name].strides == expected.strides or 0 in expected.shape


@pytest.mark.oracle
@pytest.mark.parametrize("with_checksums", [True, False])
def test_checkpoints_are_unwrapped(tmp_path, torch, with_checksums):
    path, model = tmp_path / "a.pth", torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    parallel = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.serialization.set_crc32_options(with_checksums)
    try:
        for saved in (
            model.state_dict(),
            {"epoch": 3, "state_dict": parallel, "optimizer": optimizer.state_dict(), "note": "best"},
            {
                "model": {f"_orig_mod.{name}": value for name, value in model.state_dict().items()},
                "epoch": 3,
                "note": "best",
            },
            {**model.state_dict(), "epoch": 3, "note": "best"},
        ):
            torch.save(saved, path)
            loaded = weights.load(path)
            assert loaded.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(loaded[name], value, strict=True)
            told = weights.load_metadata(path)
            assert {key: told[key] for key in told if key != "module"} in ({}, {"epoch": "3", "note": "best"})
    finally:
        torch.serialization.set_crc32_options(True)


@pytest.mark.oracle
def test_other_products_of_torch_are_refused(tmp_path, torch):
    path, model = tmp_path / "a.pth", torch.nn.Linear(2, 3)
    for save, error, reason in (
        (lambda: torch.save(model, path), UnsafeFileError, r"torch\.nn\.modules\.linear\.Linear.* a state dict alone"),
        (lambda: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False), FormatError, "before 1.6"),
        (lambda: torch.save({"a": torch.ones(2, dtype=torch.complex64)}, path), FormatError, "dtype complex64"),
        (lambda: torch.save({"a": torch.ones(2).to(torch.float8_e5m2)}, path), FormatError, "dtype float8_e5m2"),
        (lambda: torch.save({"a": torch.ones(2).to_sparse()}, path), UnsafeFileError, "_rebuild_sparse_tensor"),
    ):
        save()
        with pytest.raises(error, match=reason):
            weights.load(path)


@pytest.mark.oracle
def test_storages_are_mapped(tmp_path, torch):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1 << 20), "b": torch.ones(3)}, path)
    content = path.read_bytes()
    weights.load(path)
    tracemalloc.start()
    loaded = weights.load(path, writable=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 19
    loaded["a"][:] = 5
    assert path.read_bytes() == content
    torch.save({"a": torch.ones(4)}, tmp_path / "b.pth")
    os.replace(tmp_path / "b.pth", path)
    assert loaded["a"].sum() == 5 << 20
    assert io.BytesIO(content).read(2) == b"PK"
