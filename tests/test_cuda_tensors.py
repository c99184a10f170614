"""Tensors, modules and training on a GPU that does not exist: arrays of a false CuPy, which are never copied unseen."""

import types
from dataclasses import replace

import numpy as np
import pytest
from support import false_cupy

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, backends, device_arrays, nn, training, weights
from fastconv._kernels.contract import Kernel
from fastconv.autograd import unwrap
from fastconv.errors import BackendUnavailableError, DeviceError
from fastconv.optim import Optimizer
from fastconv.packed_weights import PackedWeights

OPERATIONS = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: 2.0 - x - y,
    "mul": lambda x, y: x * y * np.float32(3),
    "div": lambda x, y: x / (y + 8),
    "neg": lambda x, y: -x,
    "pow": lambda x, y: x**3,
    "broadcast": lambda x, y: x + y[0],
    "matmul": lambda x, y: x @ y.reshape(4, 3),
    "vectors": lambda x, y: x[0] @ y[0],
    "sum": lambda x, y: (x * y).sum(1, keepdims=True),
    "mean": lambda x, y: x.mean(0) * y.mean(),
    "reshape": lambda x, y: x.reshape(2, 6) + y.flatten().reshape(2, -1),
    "slice": lambda x, y: x[1:, ::2],
    "repeated": lambda x, y: x[np.array([0, 0, 2])],
    "cast": lambda x, y: x.to(np.float64) * 2,
    "softmax": lambda x, y: F.softmax(x, 1),
    "tanh": lambda x, y: F.tanh(x),
    "sigmoid": lambda x, y: F.sigmoid(x),
    "leaky_relu": lambda x, y: F.leaky_relu(x, 0.25),
    "there and back": lambda x, y: (x.cpu() * 2).to(x.device),
}


@pytest.fixture(autouse=True)
def gpus(monkeypatch):
    false_cupy.installed(monkeypatch)


@pytest.fixture
def pair(rng):
    return rng.standard_normal((2, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operations_of_the_tape_run_and_stay_where_the_values_lie(operation, device, pair):
    results = []
    for place in ("cpu", device):
        leaves = [fc.tensor(array).to(place).requires_grad_() for array in pair]
        out = operation(*leaves)
        assert out.device == place
        out.backward(fc.tensor(np.ones(out.shape, out.dtype)).to(place))
        grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
        assert {grad.device for grad in grads} == {place}
        results.append([tensor.cpu().numpy() for tensor in (out, *grads)])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_comparisons_and_positions_have_no_gradient(pair):
    x, y = (fc.tensor(array).cuda() for array in pair)
    for operation in (lambda x, y: x < y, lambda x, y: x == y, lambda x, y: x.argmax(1)):
        found = operation(x, y)
        assert found.device == "cuda:0"
        np.testing.assert_array_equal(found.cpu().numpy(), operation(*map(fc.tensor, pair)).numpy())


def test_arrays_of_a_device_give_arrays_of_that_device(pair):
    x = device_arrays.uploaded(pair[0], "cuda:1")
    found = F.tanh(x)
    assert type(found) is false_cupy.ndarray
    assert int(found.device) == 1


def test_a_tensor_is_moved_by_the_name_or_the_number_of_a_device(pair):
    x = fc.tensor(pair[0], requires_grad=True)
    assert x.device == "cpu"
    assert x.cpu() is x.to("cpu") is x
    assert x.cuda().device == x.to("cuda").device == "cuda:0"
    there = x.cuda(1)
    assert there.device == there.to("cuda:1").device == there.cuda("cuda:1").device == "cuda:1"
    assert there.to("cuda:1") is there
    assert there.to("cuda:0").device == "cuda:0"
    assert there.to("cpu", np.float64).dtype == np.float64
    there.backward(there.detach())
    assert x.grad.device == "cpu"
    np.testing.assert_array_equal(x.grad.numpy(), pair[0])
    assert "device='cuda:1'" in repr(there)
    assert there.tolist() == x.tolist()


def test_the_memory_format_moves_too(rng):
    image = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    x = fc.tensor(arrays.to_format(image, arrays.CHANNELS_LAST)).cuda()
    assert arrays.memory_format(unwrap(x)) == arrays.CHANNELS_LAST
    assert arrays.memory_format(x.cpu().numpy()) == arrays.CHANNELS_LAST
    np.testing.assert_array_equal(x.cpu().numpy(), image)


def test_values_are_written_from_either_place(pair):
    x, y = fc.tensor(pair[0]).cuda(), fc.tensor(pair[1])
    x[0] = 1
    x.copy_(y)
    np.testing.assert_array_equal(x.cpu().numpy(), pair[1])
    y.copy_(x * 2)
    np.testing.assert_array_equal(y.numpy(), 2 * pair[1])
    assert x.zero_().device == "cuda:0"


def test_an_unused_output_gets_zeros_of_the_same_device():
    class Halves(fc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x[:1], x[1:]

        @staticmethod
        def backward(ctx, first, second):
            return np.concatenate([first, second])

    x = fc.tensor([1.0, 2.0]).cuda(1).requires_grad_()
    first, _ = Halves.apply(x)
    first.backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_a_copy_to_another_gpu_waits_for_both_queues(pair):
    x = fc.tensor(pair[0]).cuda(1)
    false_cupy.waits.clear()
    assert x.to("cuda:0").tolist() == x.tolist()
    assert false_cupy.waits == {1: 1, 0: 1}
    x.cpu().cuda()
    assert false_cupy.waits == {1: 1, 0: 1}


def packing(pack):
    """A kernel that wants its weight packed."""
    return Kernel("packed", lambda *operands: 0, pack, 1 << 20, packing="kind")


def test_each_queue_has_packed_weights_of_its_own(pair):
    kernel, store = packing(lambda weight: np.ones_like(weight)), PackedWeights(1 << 20)
    weight = fc.tensor(pair[0]).cuda()
    for stream in (false_cupy.Stream(0), false_cupy.Stream(7)):
        with stream:
            told = [store.packed(kernel, unwrap(weight), weight._version) for _ in range(3)]
            assert [word for _, word in told] == ["packed", "packed", "kept"]
    with false_cupy.Stream(0):
        first, word = store.packed(kernel, unwrap(weight), weight._version)
    assert word == "kept"
    assert first is not told[-1][0]


def test_no_memory_for_a_packed_weight_is_told_in_bytes_and_shape(monkeypatch):
    def pack(weight):
        raise MemoryError("Out of memory allocating 1,152 bytes")

    module = types.ModuleType("packing")
    module.prepare = lambda op, problem: packing(pack)
    kernels = replace(backends.select(), module=module)
    monkeypatch.setattr(backends, "select", lambda *given: kernels)
    with pytest.raises(MemoryError, match=r"forward of an input of shape \(1, 2, 3, 4\): no memory for 1,048,576 "):
        F.conv2d(np.ones((1, 2, 3, 4)), np.ones((1, 2, 1, 1)))


def test_a_device_array_without_axes_has_none():
    near = unwrap(fc.tensor(np.ones((2, 3), np.float32)).cuda(1))
    for make in (arrays.empty, arrays.zeros):
        made = make((), near.dtype, near=near)
        assert (made.shape, arrays.device_of(made)) == ((), "cuda:1")


class Layer(nn.Module):
    """Classes of images, by operations of the tape alone."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.zeros((4, 3), np.float32))
        self.register_buffer("calls", fc.tensor([0.0]))

    def forward(self, x):
        self.calls.copy_(self.calls + 1)
        return x.flatten(1) @ self.weight


class Descent(Optimizer):
    """The plainest optimiser."""

    def __init__(self, params):
        super().__init__(params, lr=0.5, weight_decay=0.0)

    def _update(self, p, grad, state, group):
        p[...] = p - grad * group["lr"]


def squared_error(logits, labels):
    ones = np.eye(3, dtype=np.float32)
    wanted = fc.tensor(ones[arrays.moved(unwrap(labels), "cpu")]).to(logits.device)
    return ((F.softmax(logits, 1) - wanted) ** 2).mean()


def test_a_module_moves_its_parameters_buffers_and_gradients_in_place():
    layer = Layer()
    layer.weight.grad = fc.tensor(np.ones((4, 3), np.float32))
    weight, version = layer.weight, layer.weight.version
    assert layer.to("cuda:1") is layer
    assert layer.weight is weight
    assert weight.version > version
    assert {tensor.device for tensor in (weight, weight.grad, layer.calls)} == {"cuda:1"}
    assert layer.cuda().weight.device == "cuda:0"
    assert layer.to("cpu", "float64").weight.dtype == np.float64
    assert {tensor.device for tensor in (weight, weight.grad, layer.calls)} == {"cpu"}


def test_a_model_trains_there_as_on_the_host(rng, tmp_path):
    images, labels = rng.standard_normal((12, 1, 2, 2)).astype(np.float32), rng.integers(0, 3, 12)
    runs = []
    for device in ("cpu", "cuda"):
        model = Layer().to(device)
        path = tmp_path / f"{device}.npz"
        history = training.fit(
            model,
            (images, labels),
            epochs=2,
            batch_size=5,
            optimizer=Descent(model.parameters()),
            loss=squared_error,
            validation=(images, labels),
            checkpoint=path,
            seed=0,
            progress=False,
        )
        logits = training.predict(model, images, batch_size=5)
        assert type(logits) is np.ndarray
        runs.append([logits, np.array(history.loss), np.array(history.validation_accuracy)])
        runs[-1] += training.model_state(path).values()
    assert model.weight.device == "cuda:0"
    for expected, found in zip(*runs, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_state_is_saved_from_a_device_and_loaded_onto_one(rng, tmp_path):
    layer, other = Layer().cuda(), Layer()
    values = rng.standard_normal((4, 3)).astype(np.float32)
    assert str(layer.load_state_dict({"weight": values, "calls": np.ones(1)})).startswith("<All")
    weights.save(layer.state_dict(), tmp_path / "layer.npz")
    weights.save({"weight": unwrap(layer.weight)}, tmp_path / "arrays.npz")
    for name in ("layer", "arrays"):
        np.testing.assert_array_equal(weights.load(tmp_path / f"{name}.npz")["weight"], values)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other.weight.numpy(), values)


def test_a_device_tensor_does_not_become_an_array_by_itself():
    x = fc.tensor([1.0]).cuda()
    for convert in (np.asarray, fc.Tensor.numpy):
        with pytest.raises(TypeError, match=r"a Tensor on cuda:0 has no NumPy array; .* Tensor\.cpu\(\)"):
            convert(x)


def test_operands_on_several_devices_are_named(pair):
    x, y = fc.tensor(pair[0]).cuda(1), fc.tensor(pair[1])
    with pytest.raises(DeviceError, match="a is on device cuda:1 but b is on device cpu; move one of them"):
        x + y
    with pytest.raises(DeviceError, match="a is on device cuda:1 but b is on device cuda:0"):
        x @ y.reshape(4, 3).cuda()
    with pytest.raises(DeviceError, match="input is on device cpu but index is on device cuda:1"):
        y[x.argmax(1)]
    with pytest.raises(DeviceError, match="gradient is on device cpu but the Tensor is on device cuda:1"):
        x.requires_grad_().backward(y)


def test_the_memory_of_a_device_that_is_used_up_is_told_in_bytes_and_leaves_a_model_as_it_was(monkeypatch):
    model = nn.Sequential(Layer(), nn.Conv2d(4, 8, 3))
    false_cupy.installed(monkeypatch, most_bytes=100)
    with pytest.raises(MemoryError, match=r"shape \(8, 4, 3, 3\) and dtype float32 takes 1,152 bytes of device memory"):
        model.cuda()
    assert {parameter.device for parameter in model.parameters()} == {"cpu"}
    x = fc.tensor(np.zeros(20, np.float32)).cuda()
    with pytest.raises(MemoryError, match=r"shape \(4, 5, 6\) and dtype float32 takes 480 bytes of device memory: Out"):
        arrays.empty((4, 5, 6), np.dtype(np.float32), near=unwrap(x))


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("cuda:2", BackendUnavailableError, "device 'cuda:2' cannot be used: GPUs are counted from 0, and there are 2"),
        ("cuda:x", ValueError, "expected 'cpu', 'cuda' or 'cuda:N', got 'cuda:x'"),
        ("cpu:1.5", ValueError, "expected 'cpu', 'cuda' or 'cuda:N', got 'cpu:1.5'"),
        ("gpu", TypeError, "gpu"),
    ],
)
def test_a_device_that_cannot_be_is_named_and_nothing_is_moved(target, error, words):
    layer = Layer()
    for moved in (fc.tensor([1.0]), layer):
        with pytest.raises(error, match=words):
            moved.to(target)
    assert layer.weight.device == "cpu"


def test_a_dtype_comes_after_a_device():
    for moved in (fc.tensor([1.0]), Layer()):
        with pytest.raises(TypeError, match="expected a device and a dtype, got 'float32' and 'cuda'"):
            moved.to("float32", "cuda")


def test_a_model_that_lies_there_is_summarised():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(np.ones(3, np.float32))

        def forward(self, x):
            return x * self.factor

    (layer,) = fc.summary(Scale().to("cuda:1"), (2, 3)).layers
    assert (layer.volume, layer.parameters, layer.activation_bytes) == ((2, 3), 3, 24)
