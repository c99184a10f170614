"""The table of bad inputs through the layers: at construction where possible, before any kernel runs."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import assert_same_bits, integers

import fastconv as fc
import fastconv.nn as nn
from fastconv import backends
from fastconv.errors import BackendUnavailableError, DTypeError, FastconvError, ShapeError

HUGE = 2**62
# id: (construction, class, words)
CONSTRUCTION = {
    "channels and groups": (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "in_channels=4 and groups=3"),
    "filters and groups": (lambda: nn.Conv2d(4, 5, 3, groups=2), ValueError, "out_channels=5 and groups=2"),
    "groups 0": (lambda: nn.Conv2d(4, 6, 3, groups=0), ValueError, "groups must be a positive int, got 0"),
    "groups -1": (lambda: nn.Conv2d(4, 6, 3, groups=-1), ValueError, "groups must be a positive int, got -1"),
    "no input channels": (lambda: nn.Conv2d(0, 6, 3), ValueError, "in_channels must be a positive int, got 0"),
    "no output channels": (lambda: nn.Conv2d(4, 0, 3), ValueError, "out_channels must be a positive int, got 0"),
    "channels as float": (lambda: nn.Conv2d(4.0, 6, 3), TypeError, "in_channels must be an int, got 4.0"),
    "kernel (1, 0)": (
        lambda: nn.Conv2d(4, 6, (1, 0)),
        ValueError,
        r"kernel_size must be 2 positive ints, got \(1, 0\)",
    ),
    "kernel -3": (lambda: nn.Conv2d(4, 6, -3), ValueError, "kernel_size must be 2 positive ints, got -3"),
    "kernel 3.0": (lambda: nn.Conv2d(4, 6, 3.0), TypeError, "kernel_size must be an int, got 3.0"),
    "kernel of three": (lambda: nn.Conv2d(4, 6, (3, 3, 3)), ValueError, r"kernel_size .* 2 ints, got \(3, 3, 3\)"),
    "kernel 2**31": (lambda: nn.Conv2d(4, 6, (2**31, 1)), ValueError, "kernel_size is too large"),
    "stride 0": (lambda: nn.Conv2d(4, 6, 3, stride=0), ShapeError, "non-positive stride is not supported"),
    "dilation 0": (lambda: nn.Conv2d(4, 6, 3, dilation=0), ShapeError, "dilation should be greater than zero"),
    "padding -1": (lambda: nn.Conv2d(4, 6, 3, padding=-1), ShapeError, "negative padding is not supported"),
    "padding 2**62": (lambda: nn.Conv2d(4, 6, 3, padding=HUGE), ValueError, "padding is too large"),
    "padding of four": (lambda: nn.Conv2d(4, 6, 3, padding=(1, 1, 1, 1)), ValueError, "ambiguous"),
    "same with stride": (lambda: nn.Conv2d(4, 6, 3, 2, "same"), ValueError, r"\(\(top, bottom\), \(left, right\)\)"),
    "padding mode": (
        lambda: nn.Conv2d(4, 6, 3, padding_mode="mirror"),
        ValueError,
        "padding_mode must be one of zeros",
    ),
    "bias 1": (lambda: nn.Conv2d(4, 6, 3, bias=1), TypeError, "bias must be True or False, got 1"),
    "dtype": (lambda: nn.Conv2d(4, 6, 3, dtype=np.float16), DTypeError, "float16"),
    "weight beyond the memory": (
        lambda: nn.Conv2d(2**24, 2**24, 3),
        MemoryError,
        r"an array of shape \(16777216, 16777216, 3, 3\) and dtype float32 takes 10,133,099,161,583,616 bytes",
    ),
    "moved to a GPU": (lambda: nn.Conv2d(4, 6, 3).to("cuda:99"), BackendUnavailableError, "device 'cuda:99' cannot be"),
    "a Tensor moved to a GPU": (lambda: fc.tensor([1.0]).cuda(99), BackendUnavailableError, "device 'cuda:99' cannot"),
    "pool kernel 0": (lambda: nn.MaxPool2d(0), ValueError, "kernel_size must be 2 positive ints, got 0"),
    "pool kernel 2.0": (lambda: nn.MaxPool2d(2.0), TypeError, "kernel_size must be an int, got 2.0"),
    "pool kernel of three": (lambda: nn.MaxPool2d((2, 2, 2)), ValueError, r"got \(2, 2, 2\)"),
    "pool kernel 2**31": (lambda: nn.MaxPool2d(2**31), ValueError, "kernel_size is too large"),
    "pool stride 0": (lambda: nn.MaxPool2d(2, stride=0), ShapeError, "non-positive stride is not supported"),
    "pool dilation 0": (lambda: nn.MaxPool2d(2, dilation=0), ShapeError, "dilation should be greater than zero"),
    "pool padding -1": (lambda: nn.MaxPool2d(2, padding=-1), ShapeError, "negative padding is not supported"),
    "pool padding above half": (
        lambda: nn.MaxPool2d(3, padding=2),
        ShapeError,
        "pad should be smaller than or equal to half of kernel size, but got pad=2, kernel_size=3",
    ),
    "pool padding 2**62": (lambda: nn.MaxPool2d(2, padding=HUGE), ValueError, "padding is too large"),
    "pool ceil_mode 1": (lambda: nn.MaxPool2d(2, ceil_mode=1), TypeError, "ceil_mode must be True or False, got 1"),
    "pool indices 1": (lambda: nn.MaxPool2d(2, return_indices=1), TypeError, "return_indices must be True or False"),
    "average kernel 0": (lambda: nn.AvgPool2d(0), ValueError, "kernel_size must be 2 positive ints, got 0"),
    "average padding above half": (
        lambda: nn.AvgPool2d(3, padding=2),
        ShapeError,
        "pad should be smaller than or equal to half",
    ),
    "average divisor 0": (
        lambda: nn.AvgPool2d(2, divisor_override=0),
        ValueError,
        "divisor_override must be a positive",
    ),
    "unpool kernel 0": (lambda: nn.MaxUnpool2d(0), ValueError, "kernel_size must be 2 positive ints, got 0"),
    "features 0": (lambda: nn.Linear(0, 5), ValueError, "in_features must be a positive int, got 0"),
    "features as float": (lambda: nn.Linear(3, 5.5), TypeError, "out_features must be an int, got 5.5"),
    "response norm of size 0": (lambda: nn.LocalResponseNorm(0), ValueError, "size must be a positive int, got 0"),
    "response norm, beta": (lambda: nn.LocalResponseNorm(5, beta="a"), TypeError, "beta must be a number, got 'a'"),
    "hardtanh, ends": (lambda: nn.Hardtanh(1, -1), ValueError, "min_val must not be above max_val, got 1 and -1"),
    "relu6, inplace": (lambda: nn.ReLU6(1), TypeError, "inplace must be True or False, got 1"),
    "dropout2d -1": (lambda: nn.Dropout2d(-1), ValueError, "has to be between 0 and 1, but got -1"),
    "dropout 1.5": (lambda: nn.Dropout(1.5), ValueError, "has to be between 0 and 1, but got 1.5"),
    "reduction": (lambda: nn.CrossEntropyLoss(reduction="max"), ValueError, "reduction must be one of mean, sum, none"),
    "smoothing": (
        lambda: nn.CrossEntropyLoss(label_smoothing=-1),
        ValueError,
        "label_smoothing must lie between 0 and 1",
    ),
}


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# id: (layer, input, class, words)
FORWARD = {
    "rank 2": (lambda: nn.Conv2d(4, 6, 3), zeros(8, 8), ShapeError, r"input to conv2d, got shape \(8, 8\)"),
    "wrong channels": (
        lambda: nn.Conv2d(4, 6, 3),
        zeros(2, 3, 8, 8),
        ShapeError,
        r"weight of shape \(6, 4, 3, 3\) expects input \(2, 3, 8, 8\) to have 4 channels, but got 3 channels",
    ),
    "kernel above padded input": (
        lambda: nn.Conv2d(4, 6, 5, padding=1),
        zeros(1, 4, 2, 9),
        ShapeError,
        r"padded input \(4 x 11\).*effective kernel \(5 x 5\)",
    ),
    "no rows": (lambda: nn.Conv2d(4, 6, 3), zeros(2, 4, 0, 8), ShapeError, "has a zero extent"),
    "mixed dtypes": (
        lambda: nn.Conv2d(4, 6, 3),
        zeros(1, 4, 8, 8, dtype=np.float64),
        DTypeError,
        "mixed dtypes: input is float64 but weight is float32",
    ),
    "integers": (
        lambda: nn.Conv2d(4, 6, 3),
        zeros(1, 4, 8, 8, dtype=int),
        DTypeError,
        "input has dtype int64; supported",
    ),
    "None": (lambda: nn.Conv2d(4, 6, 3), None, TypeError, "input must be an array or a Tensor, got NoneType"),
    "a list": (lambda: nn.Conv2d(4, 6, 3), [[1.0]], TypeError, "input must be an array or a Tensor, got list"),
    "a str": (lambda: nn.Conv2d(4, 6, 3), "cat.png", TypeError, "input must be an array or a Tensor, got str"),
    "output beyond the memory": (
        lambda: nn.Conv2d(1, 1, 3, padding=2**21),
        zeros(1, 1, 5, 5),
        MemoryError,
        r"shape \(1, 1, 4194307, 4194307\).*takes 70,368,844,840,996 bytes",
    ),
    "pool, rank 2": (lambda: nn.MaxPool2d(2), zeros(8, 8), ShapeError, r"input to max_pool2d, got shape \(8, 8\)"),
    "pool, kernel above input": (lambda: nn.MaxPool2d(9), zeros(1, 4, 8, 8), ShapeError, r"effective kernel \(9 x 9\)"),
    "pool, no columns": (lambda: nn.MaxPool2d(2), zeros(1, 4, 8, 0), ShapeError, "has a zero extent"),
    "pool, bool": (
        lambda: nn.MaxPool2d(2),
        zeros(1, 4, 8, 8, dtype=bool),
        DTypeError,
        "dtype bool; supported are float32",
    ),
    "pool, complex": (lambda: nn.MaxPool2d(2), zeros(1, 4, 8, 8, dtype="c8"), DTypeError, "dtype complex64; supported"),
    "pool, objects": (lambda: nn.MaxPool2d(2), zeros(1, 4, 8, 8, dtype=object), DTypeError, "dtype object; supported"),
    "pool, None": (lambda: nn.MaxPool2d(2), None, TypeError, "input must be an array or a Tensor, got NoneType"),
    "average, rank 5": (lambda: nn.AvgPool2d(2), zeros(1, 1, 1, 8, 8), ShapeError, "input to avg_pool2d, got shape"),
    "linear, features": (lambda: nn.Linear(3, 5), zeros(2, 4), ShapeError, r"input \(2, 4\) and weight \(5, 3\)"),
    "linear, mixed": (lambda: nn.Linear(3, 5), zeros(2, 3, dtype=np.float64), DTypeError, "mixed dtypes"),
    "flatten": (lambda: nn.Flatten(2), zeros(3, 4), IndexError, "start_dim 2 is out of range for 2 axes"),
    "relu, a list": (lambda: nn.ReLU(), [1.0], TypeError, "input must be an array or a Tensor, got list"),
}


@pytest.mark.parametrize("row", CONSTRUCTION)
def test_construction(row):
    construct, error, words = CONSTRUCTION[row]
    with pytest.raises(error, match=words) as caught:
        construct()
    if error in (ShapeError, DTypeError):
        assert isinstance(caught.value, FastconvError)


@every_backend
@pytest.mark.parametrize("row", FORWARD)
def test_forward(backend, row):
    construct, value, error, words = FORWARD[row]
    layer = construct()
    before = {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
    with fc.use_backend(backend), backends.recording() as launches, pytest.raises(error, match=words):
        layer(value)
    assert not launches
    for name, tensor in layer.state_dict().items():
        assert_same_bits(tensor.numpy(), before[name])
    if isinstance(value, np.ndarray):
        assert not value.any()


def network():
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))


@every_backend
@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda g: g[:1], ShapeError),
        (lambda g: g.T, ShapeError),
        (lambda g: g.astype(np.float64), DTypeError),
        (lambda g: g.tolist(), TypeError),
        (lambda g: None, RuntimeError),
    ],
)
def test_a_wrong_gradient_changes_nothing(backend, spoil, error, rng):
    net = network()
    with fc.use_backend(backend):
        out = net(integers(rng, (2, 2, 6, 6)))
    with pytest.raises(error):
        out.backward(spoil(np.ones((2, 3), np.float32)))
    assert all(parameter.grad is None for parameter in net.parameters())
    out.backward(np.ones((2, 3), np.float32))
    assert all(parameter.grad is not None for parameter in net.parameters())


@every_backend
def test_backward_twice(backend, rng):
    net = network()
    with fc.use_backend(backend):
        out = net(integers(rng, (2, 2, 6, 6))).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.backward()


@every_backend
def test_a_weight_changed_between_forward_and_backward(backend, rng):
    net = network()
    with fc.use_backend(backend):
        x = fc.tensor(integers(rng, (2, 2, 6, 6)), requires_grad=True)
        out = net(x).sum()
    for write in (lambda: net[0].weight.copy_(0), lambda: net.state_dict()["0.weight"].zero_()):
        with fc.no_grad():
            write()
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            out.backward()
        assert x.grad is None


def test_indices_outside_the_output(rng):
    layer = nn.MaxUnpool2d(2)
    with pytest.raises(IndexError, match="found an index outside the 4 x 4 output"):
        layer(integers(rng, (1, 1, 2, 2)), np.array([[[[0, 3], [16, 1]]]]))


def test_classes_outside_the_logits(rng):
    for target, error in (([0, 3], IndexError), ([0, -1], IndexError), ([0.0, 1.0], DTypeError), ([0], ShapeError)):
        with pytest.raises(error):
            nn.CrossEntropyLoss()(integers(rng, (2, 3)), np.array(target))


def test_an_unknown_backend_runs_no_layer(rng):
    with pytest.raises(BackendUnavailableError, match="no backend 'tpu'"), fc.use_backend("tpu"):
        network()(integers(rng, (2, 2, 6, 6)))
