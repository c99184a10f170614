"""Which float16 and bfloat16 arrays are let in, and what all others are told."""

import copy
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from support import false_cupy
from support.cuda_arrays import on_device
from support.process import script

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, backends, device_arrays, dtypes, nn, optim
from fastconv.errors import BackendUnavailableError, DTypeError

HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
every_half = pytest.mark.parametrize("half", HALVES, ids=str)
WHERE = "float16 and bfloat16 are for convolution, max-pooling and rectifiers on a GPU"


@pytest.fixture
def gpus(monkeypatch):
    false_cupy.installed(monkeypatch)


@every_half
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.conv2d(x, x),
        lambda x: F.max_pool2d(x, 1),
        lambda x: F.adaptive_max_pool2d(x, 1),
        lambda x: F.add_relu(x, x),
        lambda x: fc.tensor(x),
        lambda x: nn.Conv2d(2, 2, 1, dtype=x.dtype),
        lambda x: nn.Conv2d(2, 2, 1).to(x.dtype),
    ],
    ids=["conv2d", "max_pool2d", "adaptive_max_pool2d", "add_relu", "tensor", "layer", "module"],
)
def test_the_host_has_none(call, half):
    with pytest.raises(DTypeError, match=f"has dtype {half}; supported are float32 and float64.*; {WHERE}"):
        call(np.ones((1, 2, 2, 2), half))


@pytest.mark.parametrize("name", ["half", "bfloat16"])
def test_a_model_on_the_host_has_none(name):
    model = nn.Conv2d(2, 2, 1)
    with pytest.raises(DTypeError, match=WHERE):
        getattr(model, name)()
    with pytest.raises(DTypeError, match=WHERE):
        model.to("cpu", "bfloat16")
    assert model.weight.dtype == np.float32


@every_half
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.avg_pool2d(x, 2),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.linear(x, x[0, 0]),
        lambda x: F.log_softmax(x, 1),
        lambda x: F.dropout(x, 0.5),
        lambda x: F.leaky_relu(x),
        lambda x: F.tanh(x),
        lambda x: F.matmul(x, x),
    ],
)
def test_other_operations_decline_them_on_a_gpu(call, half):
    with pytest.raises(DTypeError, match=f"has dtype {half}; supported are float32 and float64; {WHERE}"):
        call(on_device(np.ones((1, 2, 2, 2), half)))


@every_half
def test_what_is_let_in_on_a_gpu_is_not_let_in_on_the_host(half, monkeypatch):
    """Though calls are known by their shapes and dtypes."""

    def select(name=None, device=arrays.HOST):
        raise BackendUnavailableError(device)

    monkeypatch.setattr(backends, "select", select)
    host = np.ones((1, 2, 5, 3), half)
    for call in (lambda x: F.conv2d(x, x), lambda x: F.max_pool2d(x, 1), lambda x: F.add_relu(x, x)):
        with pytest.raises(BackendUnavailableError, match="cuda:0"):
            call(on_device(host))
        with pytest.raises(DTypeError, match=WHERE):
            call(host)


@every_half
def test_a_mix_is_named(half):
    x, weight = on_device(np.ones((1, 2, 2, 2), half)), on_device(np.ones((1, 2, 2, 2), np.float32))
    with pytest.raises(DTypeError, match=f"mixed dtypes: input is {half} but weight is float32; convert one of them"):
        F.conv2d(x, weight)
    with pytest.raises(DTypeError, match=f"mixed dtypes: input is float32 but weight is {half}"):
        F.conv2d(weight, x)


@pytest.mark.usefixtures("gpus")
@every_half
def test_tensors_and_modules_are_converted_on_a_gpu(half):
    values = np.float32([[1.0, 2.5, 1 / 3], [0.0, -2.0, 3.0]])
    x = fc.tensor(values).to("cuda:1", half.name).requires_grad_()
    assert (x.dtype, x.device) == (half, "cuda:1")
    x.to("cuda:0").flatten().backward(fc.tensor(values.ravel()).to("cuda:0", half))
    assert (x.grad.dtype, x.grad.device) == (half, "cuda:1")
    np.testing.assert_array_equal(x.cpu().numpy(), values.astype(half))
    np.testing.assert_array_equal(x.to("float32").detach().cpu().numpy(), values.astype(half).astype(np.float32))
    assert fc.tensor(x).dtype == half
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    weight = model[0].weight.numpy().copy()
    assert model.to("cuda", half) is model
    assert {item.dtype for item in (*model.parameters(), model[1].running_var)} == {half}
    assert model[1].num_batches_tracked.dtype == np.int64
    model.load_state_dict(model.state_dict() | {"0.weight": weight + 1})
    np.testing.assert_array_equal(model[0].weight.cpu().numpy(), (weight + 1).astype(half))
    for parameter in model.parameters():
        parameter.grad = parameter.detach()
    with pytest.raises(DTypeError, match=f"a parameter has dtype {half}; supported are float32 and float64"):
        optim.SGD(model.parameters(), lr=0.1).step()
    assert model.float().cpu()[0].weight.dtype == np.float32
    assert model.cuda().half()[0].weight.dtype == np.float16
    assert model.bfloat16()[0].weight.dtype == HALVES[1]


@pytest.mark.usefixtures("gpus")
@every_half
@pytest.mark.parametrize("head", [nn.Conv2d(4, 3, 1), nn.Linear(4, 3)], ids=["conv", "linear"])
def test_a_new_head_has_the_dtype_of_the_old_one_on_its_device(half, head):
    model = nn.Sequential(copy.deepcopy(head)).to("cuda:1", half)
    nn.replace_head(model, 5)
    assert {(item.dtype, item.device, len(item)) for item in model.parameters()} == {(half, "cuda:1", 5)}


def test_bfloat16_needs_its_package_only_where_it_is_asked_for():
    printed = script(
        """
import sys
import fastconv as fc, numpy as np
assert "ml_dtypes" not in sys.modules
sys.modules["ml_dtypes"] = None
try:
    fc.nn.ReLU().to("bfloat16")
except fc.BackendUnavailableError as error:
    print(error)
try:
    fc.tensor([1.0]).to("bfloat17")
except TypeError as error:
    print(error)
"""
    )
    told = "dtype 'bfloat16' needs the package 'ml_dtypes', which is not installed: pip install 'fastconv[cuda13]'"
    assert printed.splitlines() == [told, "data type 'bfloat17' not understood"]
    assert dtypes.named("bfloat16") is HALVES[1]


class Foreign:
    """An array of another library, on a GPU; some refuse one of the two protocols."""

    dtype = "torch.bfloat16"

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("can't get it of a variable that requires grad")

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **options):
        raise BufferError


def test_foreign_arrays_that_refuse_a_protocol(monkeypatch):
    assert device_arrays.is_on_device(Foreign())

    def from_dlpack(array):
        raise NotImplementedError("CuPy does not support bfloat16. Please install ml_dtypes to use bfloat16.")

    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(from_dlpack=from_dlpack))
    with pytest.raises(DTypeError, match=r"CuPy takes no array of dtype torch.bfloat16: .* install ml_dtypes"):
        arrays.as_array(Foreign(), "input", anywhere=True)
