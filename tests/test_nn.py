"""Modules: what they find, hold, save, load, print and refuse; layers and losses against their functions and torch."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from support.backends import every_backend
from support.data import FORMATS, in_format

import fastconv as fc
from fastconv import arrays, functional, models, nn
from fastconv.errors import DTypeError, ShapeError


class Branches(nn.Module):
    """A module with one parameter of its own, a shared layer, buffers of both kinds."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter([2.0])
        self.left = nn.Linear(3, 2)
        self.right = nn.Sequential(nn.Linear(3, 2, bias=False), self.left)
        self.register_buffer("mean", fc.tensor(np.zeros(2, np.float32)))
        self.register_buffer("cache", fc.tensor(np.zeros(1, np.float32)), persistent=False)
        self.register_buffer("count", fc.tensor(np.array(0)))
        self.plain = 5

    def forward(self, x):
        return self.left(x) * self.scale


PARAMETERS = ["scale", "left.weight", "left.bias", "right.0.weight"]
STATE = [
    "scale",
    "mean",
    "count",
    "left.weight",
    "left.bias",
    "right.0.weight",
    "right.1.weight",
    "right.1.bias",
]


def snapshot(module):
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def assert_state(module, expected):
    found = snapshot(module)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name, strict=True)


def test_a_module_finds_what_its_attributes_hold():
    net = Branches()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_parameters("a")] == [f"a.{name}" for name in PARAMETERS]
    assert [name for name, _ in net.named_buffers()] == ["mean", "cache", "count"]
    assert [name for name, _ in net.named_modules()] == ["", "left", "right", "right.0"]
    assert [name for name, _ in net.named_children()] == ["left", "right"]
    assert list(net.state_dict()) == STATE
    assert list(net.state_dict("a.")) == [f"a.{name}" for name in STATE]
    assert net.right[1] is net.left
    assert next(net.parameters()) is net.scale
    assert [id(buffer) for buffer in net.buffers()] == [id(net.mean), id(net.cache), id(net.count)]
    assert {"scale", "left", "mean", "plain"} <= set(dir(net))


def test_attributes_move_between_registries_and_disappear():
    net = Branches()
    net.plain = nn.Parameter([1.0])
    assert "plain" not in net.__dict__
    assert "plain" in dict(net.named_parameters())
    net.plain = nn.ReLU()
    assert "plain" not in dict(net.named_parameters())
    assert isinstance(net.plain, nn.ReLU)
    net.plain = None
    assert net.plain is None
    assert "plain" not in dict(net.named_children())
    del net.plain, net.scale, net.mean
    for name in ("plain", "scale", "mean"):
        assert not hasattr(net, name)
    with pytest.raises(AttributeError, match="'Branches' object has no attribute 'scale'"):
        net.scale
    with pytest.raises(AttributeError):
        del net.scale
    net.count = fc.tensor(np.array(7))
    assert net.state_dict()["count"].item() == 7
    net.left.bias = None
    assert "left.bias" not in net.state_dict()


def test_wrong_assignments_are_refused_and_change_nothing():
    net = Branches()
    before = snapshot(net)
    for name, value in (("scale", np.ones(1)), ("left", np.ones(1)), ("mean", np.ones(2)), ("scale", fc.tensor([1.0]))):
        with pytest.raises(TypeError, match=name):
            setattr(net, name, value)
    with pytest.raises(TypeError, match="Parameter or None, got Tensor"):
        net.register_parameter("w", fc.tensor([1.0]))
    with pytest.raises(TypeError, match="Module or None, got int"):
        net.register_module("w", 3)
    with pytest.raises(TypeError, match="Tensor or None, got ndarray"):
        net.register_buffer("w", np.ones(1))
    with pytest.raises(TypeError, match="must be a str"):
        net.register_buffer(3, None)
    for name in ("", "a.b", "plain", "forward"):
        with pytest.raises(KeyError):
            net.register_parameter(name, nn.Parameter([1.0]))
    assert_state(net, before)


def test_the_base_constructor_must_run_first():
    class Early(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter([1.0])

    with pytest.raises(AttributeError, match=r"before Early has called Module.__init__\(\)"):
        Early()
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(np.ones(1))


def test_modes_reach_every_module():
    net = Branches()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.right.train()
    assert [module.training for module in net.modules()] == [False, True, True, True]
    with pytest.raises(TypeError, match="mode"):
        net.train("yes")
    visited = []
    assert net.apply(lambda module: visited.append(type(module).__name__)) is net
    assert visited == ["Linear", "Linear", "Linear", "Sequential", "Branches"]


def test_gradients_are_forgotten_or_zeroed():
    net = Branches()
    net(np.ones((1, 3), np.float32)).sum().backward()
    gradient = net.left.weight.grad
    net.zero_grad(set_to_none=False)
    assert net.left.weight.grad is gradient
    assert not gradient.numpy().any()
    net.zero_grad()
    assert net.left.weight.grad is None
    net.requires_grad_(False)
    assert not net(np.ones((1, 3), np.float32)).requires_grad


def test_arrays_enter_as_tensors_and_nothing_else_does():
    seen = []

    class Spy(nn.Module):
        def forward(self, *inputs, **options):
            seen.extend([*inputs, *options.values()])

    array, tensor = np.ones((2, 2), ">f4"), fc.tensor([1.0])
    Spy()(array, tensor, 3, np.float32(2), key=array[0], other="text")
    assert [type(item) for item in seen] == [fc.Tensor, fc.Tensor, int, np.float32, fc.Tensor, str]
    assert seen[0].dtype == np.float32
    assert seen[1] is tensor
    with pytest.raises(TypeError, match="input must be an array or a Tensor, got list"):
        nn.ReLU()([1.0])
    with pytest.raises(TypeError, match="got NoneType"):
        nn.Conv2d(1, 1, 1)(None)


def test_numpy_sees_a_parameter_read_only_through_every_door():
    layer = nn.Linear(3, 2)
    for requires_grad in (True, False):
        layer.requires_grad_(requires_grad)
        with fc.no_grad():
            doors = [layer.weight, layer.weight.detach(), layer.state_dict()["weight"], layer.weight[0]]
            doors += [layer.weight.reshape(-1), layer.weight.detach().reshape(3, 2)]
        for tensor in doors:
            for array in (tensor.numpy(), np.asarray(tensor)):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
        writable = np.array(layer.weight)
        writable[...] = 0
        assert layer.weight.numpy().any()


def test_a_parameter_has_its_own_memory():
    data = np.ones(3, np.float32)
    tensor = fc.tensor(data)
    from_array, from_tensor = nn.Parameter(data), nn.Parameter(tensor)
    data[0] = tensor.numpy()[0] = 5
    assert from_array.tolist() == from_tensor.tolist() == [1, 1, 1]
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert not nn.Parameter(np.arange(3), requires_grad=False).requires_grad
    with pytest.raises(DTypeError):
        nn.Parameter(np.arange(3))
    with pytest.raises(TypeError):
        nn.Parameter(None)
    assert repr(nn.Parameter([1.0])).startswith("Parameter containing:\ntensor([1.]")


def test_state_tensors_are_live_and_detached():
    layer = nn.Linear(3, 2)
    state = layer.state_dict()
    assert not any(tensor.requires_grad for tensor in state.values())
    state["weight"].copy_(np.full((2, 3), 4))
    state["bias"][0] = 9
    assert layer.weight.numpy().min() == layer.weight.numpy().max() == 4
    assert layer.bias.numpy()[0] == 9


@pytest.mark.parametrize("write", ["state", "load", "copy", "item"])
def test_a_write_between_forward_and_backward_is_noticed(write):
    layer = nn.Conv2d(1, 1, 1)
    x = fc.tensor(np.ones((1, 1, 2, 2), np.float32), requires_grad=True)
    loss = layer(x).sum()
    with fc.no_grad():
        if write == "state":
            layer.state_dict()["weight"].zero_()
        elif write == "load":
            layer.load_state_dict(layer.state_dict())
        elif write == "copy":
            layer.weight.copy_(0)
        else:
            layer.weight[0] = 0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_loading_copies_tensors_and_arrays_of_any_castable_dtype():
    source, target = Branches(), Branches()
    state = {name: array.astype(np.float64) for name, array in snapshot(source).items()}
    state["count"] = np.int32(3)
    state["scale"] = [np.array([7])][0]
    result = target.load_state_dict(state)
    assert result == ([], [])
    assert repr(result) == "<All keys matched successfully>"
    assert target.count.dtype == np.int64
    assert target.count.item() == 3
    assert target.scale.item() == 7
    np.testing.assert_array_equal(target.left.weight.numpy(), source.left.weight.numpy())
    target.load_state_dict(source.state_dict())
    assert_state(target, snapshot(source))


def test_a_bad_state_is_described_once_and_changes_nothing():
    net = Branches()
    before = snapshot(net)
    state = dict(before)
    del state["scale"], state["right.1.bias"]
    state |= {"extra": np.ones(1), "left.weight": np.ones((3, 2)), "mean": np.ones(2) * 1j, "left.bias": "text"}
    state["count"] = np.float32(1)
    with pytest.raises(ShapeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    for part in (
        "for Branches",
        "missing key 'scale'",
        "missing key 'right.1.bias'",
        "unexpected key 'extra'",
        "'left.weight': size mismatch: shape (3, 2) in the state, (2, 3) in the module",
        "'mean': dtype complex128 in the state cannot be cast to float32",
        "'count': dtype float32 in the state cannot be cast to int64",
        "'left.bias': the value must be an array",
    ):
        assert part in text
    assert isinstance(caught.value, RuntimeError)
    assert_state(net, before)
    with pytest.raises(TypeError, match="expected a mapping from names to arrays, got a list"):
        net.load_state_dict([])


def test_loose_loading_reports_keys_but_still_checks_values():
    net = Branches()
    before = snapshot(net)
    result = net.load_state_dict({"scale": [np.ones(1)][0], "other": 3}, strict=False)
    assert result.missing_keys == STATE[1:]
    assert result.unexpected_keys == ["other"]
    assert "missing_keys" in repr(result)
    assert net.scale.item() == 1
    with pytest.raises(ShapeError, match="size mismatch"):
        net.load_state_dict({"scale": np.ones(3), "mean": np.ones(2)}, strict=False)
    assert_state(net, before | {"scale": np.ones(1, np.float32)})


def test_conversion_keeps_the_objects():
    net = Branches()
    net(np.ones((1, 3), np.float32)).sum().backward()
    weight, before = net.left.weight, snapshot(net)
    assert net.double() is net
    assert net.left.weight is weight is net.right[1].weight
    assert weight.dtype == weight.grad.dtype == net.mean.dtype == np.float64
    assert net.count.dtype == np.int64
    assert net(np.ones((1, 3))).dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        weight.numpy()[...] = 0
    assert_state(net.float(), before)
    assert net.to("float64").scale.dtype == np.float64
    for dtype in (np.int32, np.float16):
        with pytest.raises(DTypeError):
            net.to(dtype)


def test_copies_are_deep_and_pickles_refused():
    net = Branches()
    net.mean.copy_(np.array([1.0, 2.0], np.float32))
    twin = copy.deepcopy(net)
    assert_state(twin, snapshot(net))
    assert twin.right[1] is twin.left is not net.left
    with fc.no_grad():
        twin.left.weight.zero_()
        twin.mean.zero_()
    assert net.left.weight.numpy().any()
    assert net.mean.tolist() == [1, 2]
    assert twin.left.weight.requires_grad
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(net)


def test_sequential_behaves_like_a_list():
    first, second, third = nn.ReLU(), nn.Flatten(), nn.Identity()
    net = nn.Sequential(first, second)
    assert net.append(third) is net
    assert list(net) == [first, second, third]
    assert len(net) == 3
    assert net[0] is first
    assert net[-1] is third
    assert list(net[1:]) == [second, third]
    assert isinstance(net[::2], nn.Sequential)
    assert list(dict(net[1:].named_children())) == ["1", "2"]
    net[1] = third
    assert net[1] is third
    del net[0]
    assert list(dict(net.named_children())) == ["0", "1"]
    for index in (2, -3):
        with pytest.raises(IndexError, match="out of range for 2 modules"):
            net[index]
    with pytest.raises(TypeError):
        net["0"]
    with pytest.raises(TypeError, match="'1' must be a fastconv\\.nn\\.Module, got function"):
        nn.Sequential(first, functional.relu)
    with pytest.raises(TypeError, match="got NoneType"):
        nn.Sequential(first, None)
    named = nn.Sequential(OrderedDict([("a", first), ("b", second)]))
    assert named.b is named[1] is second
    del named[:1]
    assert list(dict(named.named_children())) == ["b"]
    x = fc.tensor([1.0])
    assert nn.Sequential()(x) is x


BAD_CONVOLUTIONS = [
    (
        {"in_channels": 3, "groups": 2},
        ShapeError,
        "in_channels must be divisible by groups, got in_channels=3 and groups=2",
    ),
    ({"in_channels": 4, "out_channels": 3, "groups": 2}, ShapeError, "out_channels must be divisible by groups"),
    ({"groups": 0}, ValueError, "groups must be a positive int, got 0"),
    ({"in_channels": 0}, ValueError, "in_channels must be a positive int, got 0"),
    ({"out_channels": -1}, ValueError, "out_channels must be a positive int, got -1"),
    ({"in_channels": 1.0}, TypeError, "in_channels must be an int"),
    ({"kernel_size": (1, 0)}, ValueError, r"kernel_size must be 2 positive ints, got \(1, 0\)"),
    ({"kernel_size": 2.5}, TypeError, "kernel_size must be an int"),
    ({"kernel_size": (1, 2, 3)}, ValueError, "kernel_size must be an int or 2 ints"),
    ({"kernel_size": 2**31}, ValueError, "too large"),
    ({"stride": 0}, ShapeError, "non-positive stride is not supported"),
    ({"dilation": 0}, ShapeError, "dilation should be greater than zero"),
    ({"padding": -1}, ShapeError, "negative padding is not supported"),
    ({"padding": 2**62}, ValueError, "too large"),
    ({"padding": "full"}, ValueError, "padding must be 'same', 'valid'"),
    ({"padding": "same", "stride": 2}, ValueError, "padding='same' is not supported for strided convolutions"),
    ({"padding": (1, 1, 1, 1)}, ValueError, "ambiguous"),
    ({"padding_mode": "mirror"}, ValueError, "padding_mode must be one of"),
    ({"bias": "no"}, TypeError, "bias must be True or False"),
    ({"dtype": np.float16}, DTypeError, "supported are float32 and float64"),
    ({"in_channels": 2**20, "out_channels": 2**20, "kernel_size": 999}, MemoryError, "left are"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_CONVOLUTIONS)
def test_conv2d_refuses_bad_arguments_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        nn.Conv2d(**({"in_channels": 4, "out_channels": 4, "kernel_size": 3} | arguments))


@pytest.mark.parametrize("layer", [nn.MaxPool2d, nn.AvgPool2d, nn.MaxUnpool2d])
def test_pools_refuse_bad_arguments_at_construction(layer):
    for arguments, error in (
        ({"kernel_size": 0}, ValueError),
        ({"kernel_size": "2"}, TypeError),
        ({"kernel_size": 2, "stride": 0}, ShapeError),
        ({"kernel_size": 2, "padding": 2}, ShapeError),
        ({"kernel_size": 2, "padding": -1}, ShapeError),
    ):
        with pytest.raises(error):
            layer(**arguments)


@pytest.mark.parametrize(
    ("construct", "error"),
    [
        (lambda: nn.MaxPool2d(2, dilation=0), ShapeError),
        (lambda: nn.MaxPool2d(2, ceil_mode=1), TypeError),
        (lambda: nn.MaxPool2d(2, return_indices=1), TypeError),
        (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError),
        (lambda: nn.AvgPool2d(2, count_include_pad=None), TypeError),
        (lambda: nn.Linear(0, 1), ValueError),
        (lambda: nn.Linear(1, 1.5), TypeError),
        (lambda: nn.Linear(1, 1, dtype="int32"), DTypeError),
        (lambda: nn.Dropout(1.5), ValueError),
        (lambda: nn.Dropout(-0.1), ValueError),
        (lambda: nn.Dropout(float("nan")), ValueError),
        (lambda: nn.Flatten(1.0), TypeError),
        (lambda: nn.LogSoftmax("1"), TypeError),
        (lambda: nn.Softmax(1.0), TypeError),
        (lambda: nn.LeakyReLU("0.1"), TypeError),
        (lambda: nn.LeakyReLU(0.1, inplace=1), TypeError),
        (lambda: nn.BatchNorm1d(0), ValueError),
        (lambda: nn.CrossEntropyLoss(reduction="average"), ValueError),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.1), ValueError),
        (lambda: nn.CrossEntropyLoss(np.ones((2, 2), np.float32)), ShapeError),
        (lambda: nn.CrossEntropyLoss(ignore_index=None), TypeError),
    ],
)
def test_layers_refuse_bad_arguments_at_construction(construct, error):
    with pytest.raises(error):
        construct()


def test_layers_call_their_functions(rng):
    x = rng.standard_normal((2, 4, 6, 7), np.float32)
    conv = nn.Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, False, "replicate")
    assert conv.padding == ((1, 0), (2, 1))
    expected = functional.conv2d(
        x, conv.weight.numpy(), None, (2, 1), ((1, 0), (2, 1)), (1, 2), 2, padding_mode="replicate"
    )
    np.testing.assert_array_equal(conv(x).numpy(), expected)
    same = nn.Conv2d(4, 1, 3, padding="same")
    assert same.padding == "same"
    assert same(x[0]).shape == (1, 6, 7)
    pooled, indices = nn.MaxPool2d(2, 1, 1, 2, return_indices=True, ceil_mode=True)(x)
    expected = functional.max_pool2d(x, 2, 1, 1, 2, ceil_mode=True, return_indices=True)
    np.testing.assert_array_equal(pooled.numpy(), expected[0])
    np.testing.assert_array_equal(indices.numpy(), expected[1])
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(x)
    restored = nn.MaxUnpool2d(2)(pooled, indices, output_size=(6, 7))
    np.testing.assert_array_equal(restored.numpy(), np.where(np.isin(x, pooled.numpy()), x, 0))
    averaged = nn.AvgPool2d(3, 2, 1, True, False, None)(x)
    np.testing.assert_array_equal(averaged.numpy(), functional.avg_pool2d(x, 3, 2, 1, True, False))
    assert nn.AvgPool2d(2, divisor_override=1)(np.ones((1, 2, 2))).tolist() == [[[4.0]]]
    np.testing.assert_array_equal(nn.ReLU(inplace=True)(x).numpy(), np.maximum(x, 0))
    np.testing.assert_array_equal(nn.LeakyReLU(0.2, inplace=True)(x).numpy(), functional.leaky_relu(x, 0.2))
    np.testing.assert_array_equal(nn.Tanh()(x).numpy(), functional.tanh(x))
    np.testing.assert_array_equal(nn.Sigmoid()(x).numpy(), functional.sigmoid(x))
    np.testing.assert_array_equal(nn.Softmax(2)(x).numpy(), functional.softmax(x, 2))
    np.testing.assert_array_equal(nn.Softmax()(x).numpy(), functional.softmax(x, 1))
    assert nn.Flatten(0, 1)(x).shape == (8, 6, 7)
    assert nn.Linear(7, 5, dtype="float64")(x.astype(np.float64)).dtype == np.float64


def test_log_softmax_chooses_the_axis_as_torch_did():
    for shape, axis in (((3,), 0), ((3, 4), 1), ((3, 4, 5), 0), ((3, 4, 5, 6), 1)):
        total = np.exp(nn.LogSoftmax()(np.ones(shape, np.float32)).numpy()).sum(axis=axis)
        np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_dropout_follows_mode_and_seed():
    layer, x = nn.Dropout(0.25), np.ones((50, 50), np.float32)
    fc.manual_seed(3)
    first = layer(x).numpy()
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.15 < (first == 0).mean() < 0.35
    fc.manual_seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), x)
    assert not nn.Dropout(1.0)(x).numpy().any()


@every_backend
@pytest.mark.parametrize("shape", [(20, 30, 4, 5), (500, 4, 5)])
@pytest.mark.parametrize("wanted", FORMATS)
def test_dropout2d_drops_whole_channels(backend, shape, wanted, rng):
    layer = nn.Dropout2d(0.25)
    x = fc.tensor(in_format(rng.uniform(1, 2, shape).astype(np.float32), wanted), requires_grad=True)
    fc.manual_seed(3)
    with fc.use_backend(backend):
        out = layer(x)
        out.backward(in_format(np.ones(shape, np.float32), wanted))
    factors = x.grad.numpy()
    assert set(np.unique(factors)) == {np.float32(0), np.float32(1 / 0.75)}
    assert not np.ptp(factors, axis=(-1, -2)).any()
    assert 0.15 < (factors == 0).mean() < 0.35
    np.testing.assert_allclose(out.numpy(), x.numpy() * factors, rtol=1e-6)
    assert arrays.memory_format(out.numpy()) == arrays.memory_format(x.numpy())
    assert layer.eval()(x) is x


def test_dropout2d_of_infinite_values_and_of_nothing():
    assert not nn.Dropout2d(1.0)(np.full((1, 2, 3, 3), np.inf, np.float32)).numpy().any()
    assert nn.Dropout2d()(np.empty((0, 2, 3, 3), np.float32)).shape == (0, 2, 3, 3)


def test_initial_values_follow_the_seed_and_the_bounds():
    fc.manual_seed(7)
    first = nn.Conv2d(8, 16, (3, 5), groups=2)
    fc.manual_seed(7)
    second = nn.Conv2d(8, 16, (3, 5), groups=2)
    assert_state(second, snapshot(first))
    bound = 1 / np.sqrt(4 * 3 * 5)
    for values in (first.weight.numpy(), first.bias.numpy()):
        assert np.abs(values).max() <= np.float32(bound)
        assert np.abs(values).max() > 0.7 * bound
    assert abs(first.weight.numpy().std() - bound / np.sqrt(3)) < 0.05 * bound
    first.reset_parameters()
    assert (first.weight.numpy() != second.weight.numpy()).any()


def test_init_fills_in_place():
    weight = nn.Parameter(np.empty((40, 30, 2, 2), np.float32))
    assert nn.init.fan_in_and_fan_out(weight) == (120, 160)
    assert nn.init.xavier_uniform_(weight, gain=2) is weight
    bound = 2 * np.sqrt(6 / 280)
    assert 0.9 * bound < np.abs(weight.numpy()).max() <= np.float32(bound)
    nn.init.kaiming_uniform_(weight, mode="fan_out", nonlinearity="relu")
    assert 0.9 < np.abs(weight.numpy()).max() / np.sqrt(6 / 160) <= 1
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    assert abs(weight.numpy().std() / np.sqrt(2 / 160) - 1) < 0.1
    nn.init.normal_(weight, 5, 2)
    assert abs(weight.numpy().mean() - 5) < 0.2
    assert abs(weight.numpy().std() - 2) < 0.2
    nn.init.uniform_(weight, 2, 3)
    assert weight.numpy().min() >= 2
    assert weight.numpy().max() <= 3
    assert not nn.init.zeros_(weight).numpy().any()
    assert (nn.init.ones_(weight).numpy() == 1).all()
    assert (nn.init.constant_(weight, 4).numpy() == 4).all()
    double = nn.init.uniform_(fc.tensor(np.zeros(9)))
    assert (double.numpy() != double.numpy().astype(np.float32)).any()
    assert weight.requires_grad


@pytest.mark.parametrize(
    ("fill", "error"),
    [
        (lambda: nn.init.kaiming_uniform_(fc.tensor([1.0])), ValueError),
        (lambda: nn.init.kaiming_uniform_(fc.tensor([[1.0]]), mode="fan"), ValueError),
        (lambda: nn.init.kaiming_uniform_(fc.tensor([[1.0]]), nonlinearity="cube"), ValueError),
        (lambda: nn.init.kaiming_normal_(fc.tensor([[1.0]]), mode="fan"), ValueError),
        (lambda: nn.init.uniform_(fc.tensor([1.0]), 2, 1), ValueError),
        (lambda: nn.init.normal_(fc.tensor([1.0]), std=-1), ValueError),
        (lambda: nn.init.zeros_(np.ones(2)), TypeError),
    ],
)
def test_init_refuses_bad_arguments(fill, error):
    with pytest.raises(error):
        fill()


def test_loss_keeps_its_weight_as_a_buffer(rng):
    weight = rng.random(4, np.float32)
    loss = nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum", label_smoothing=0.2)
    logits, target = rng.standard_normal((5, 4), np.float32), np.array([0, 1, 2, 3, 1])
    expected = functional.cross_entropy(logits, target, weight, ignore_index=2, reduction="sum", label_smoothing=0.2)
    assert loss(logits, target).item() == expected
    assert list(loss.state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []


@pytest.mark.parametrize(
    ("build", "shape", "first"),
    [
        (models.lenet5, (1, 28, 28), "conv1"),
        (models.digits_net, (1, 8, 8), "conv1"),
        (models.cifar_small, (3, 32, 32), "conv1"),
    ],
)
def test_models_have_the_stated_shapes(build, shape, first, rng):
    model = build(7)
    assert next(iter(model.state_dict())) == f"{first}.weight"
    for batch in (0, 1, 3):
        assert model(rng.random((batch, *shape), np.float32)).shape == (batch, 7)
    assert build(dtype=np.float64)(rng.random((2, *shape))).dtype == np.float64
    model(rng.random((2, *shape), np.float32)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


LAYERS = [
    lambda nn: nn.Conv2d(3, 8, 3),
    lambda nn: nn.Conv2d(4, 8, (3, 2), stride=(2, 1), padding=1, dilation=2, groups=2, bias=False),
    lambda nn: nn.Conv2d(4, 8, 3, padding="same", padding_mode="reflect"),
    lambda nn: nn.MaxPool2d(2),
    lambda nn: nn.MaxPool2d((3, 2), 1, (1, 0), 2, ceil_mode=True),
    lambda nn: nn.AvgPool2d(2, padding=1),
    lambda nn: nn.MaxUnpool2d(2),
    lambda nn: nn.Linear(3, 4, bias=False),
    lambda nn: nn.ReLU(),
    lambda nn: nn.ReLU(inplace=True),
    lambda nn: nn.LogSoftmax(dim=1),
    lambda nn: nn.LeakyReLU(),
    lambda nn: nn.LeakyReLU(0.2, inplace=True),
    lambda nn: nn.Tanh(),
    lambda nn: nn.Sigmoid(),
    lambda nn: nn.Softmax(dim=1),
    lambda nn: nn.Softmax(),
    lambda nn: nn.BatchNorm1d(3, momentum=None),
    lambda nn: nn.Dropout(0.2),
    lambda nn: nn.Flatten(),
    lambda nn: nn.Identity(),
    lambda nn: nn.CrossEntropyLoss(),
    lambda nn: nn.Sequential(),
    lambda nn: nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.ReLU(), nn.Flatten(0))),
]


@pytest.mark.oracle
@pytest.mark.parametrize("build", LAYERS)
def test_layers_print_and_name_their_state_as_torch_does(build, torch):
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.oracle
def test_a_network_and_its_gradients_equal_torchs(torch, rng):
    fc.manual_seed(1)
    model = models.lenet5()
    peer = torch.nn.Sequential(
        OrderedDict(
            conv1=torch.nn.Conv2d(1, 6, 5, padding=2),
            relu1=torch.nn.ReLU(),
            pool1=torch.nn.MaxPool2d(2),
            conv2=torch.nn.Conv2d(6, 16, 5),
            relu2=torch.nn.ReLU(),
            pool2=torch.nn.MaxPool2d(2),
            flatten=torch.nn.Flatten(),
            fc1=torch.nn.Linear(400, 120),
            relu3=torch.nn.ReLU(),
            fc2=torch.nn.Linear(120, 84),
            relu4=torch.nn.ReLU(),
            fc3=torch.nn.Linear(84, 10),
        )
    )
    model.load_state_dict(peer.state_dict())
    images, labels = rng.random((5, 1, 28, 28), np.float32), np.arange(5)
    loss = nn.CrossEntropyLoss()(model(images), labels)
    expected = torch.nn.CrossEntropyLoss()(peer(torch.from_numpy(images)), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    for (name, parameter), other in zip(model.named_parameters(), peer.parameters(), strict=True):
        gradient = other.grad.numpy()
        tolerance = 1e-5 * np.abs(gradient).max()
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-4, atol=tolerance, err_msg=name)
    peer.load_state_dict({name: torch.tensor(tensor.numpy()) for name, tensor in model.state_dict().items()})


@pytest.mark.oracle
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_loss_equals_torchs(torch, rng, reduction):
    logits, target = rng.standard_normal((6, 4, 3), np.float32), rng.integers(0, 4, (6, 3))
    target[0, 0] = -1
    weight = rng.random(4, np.float32)
    options = {"ignore_index": -1, "reduction": reduction, "label_smoothing": 0.1}
    found = nn.CrossEntropyLoss(weight, **options)(logits, target)
    expected = torch.nn.CrossEntropyLoss(torch.from_numpy(weight), **options)(
        torch.from_numpy(logits), torch.from_numpy(target)
    )
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.oracle
def test_gains_fans_and_bounds_equal_torchs(torch):
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    for slope in (None, 0.3):
        assert nn.init.calculate_gain("leaky_relu", slope) == torch.nn.init.calculate_gain("leaky_relu", slope)
    ours, theirs = nn.Conv2d(64, 64, 3, groups=4), torch.nn.Conv2d(64, 64, 3, groups=4)
    for a, b in (
        (ours.weight.numpy(), theirs.weight.detach().numpy()),
        (ours.bias.numpy(), theirs.bias.detach().numpy()),
    ):
        assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.15)
