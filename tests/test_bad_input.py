"""The table of bad inputs, from convolution and pooling on every backend: class, words, nothing changed."""

import numpy as np
import pytest
from support.backends import every_backend
from support.data import integers

import fastconv as fc
import fastconv.functional as F
from fastconv import backends, memory
from fastconv.errors import BackendUnavailableError, DTypeError, FastconvError, ShapeError

HUGE = 2**62


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# id: (what differs from a convolution that works, class, words of the message)
CONV_ROWS = {
    "channels and groups": ({"groups": 3}, ValueError, "in_channels must be divisible by groups.*=4 and groups=3"),
    "filters and groups": (
        {"weight": zeros(5, 2, 3, 3), "groups": 2, "bias": None},
        ValueError,
        "out_channels must be divisible by groups, got out_channels=5 and groups=2",
    ),
    "no filters": ({"weight": zeros(0, 4, 3, 3), "groups": 1, "bias": None}, ValueError, "out_channels=0"),
    "groups 0": ({"groups": 0}, ValueError, "groups must be a positive int, got 0"),
    "groups -2": ({"groups": -2}, ValueError, "groups must be a positive int, got -2"),
    "groups 2.0": ({"groups": 2.0}, TypeError, "groups must be an int, got 2.0 of type float"),
    "groups True": ({"groups": True}, TypeError, "groups must be an int, got True"),
    "groups 2**62": ({"groups": HUGE}, ValueError, "groups is too large"),
    "stride 0": ({"stride": 0}, ShapeError, "non-positive stride is not supported, got stride=0"),
    "stride (1, -1)": ({"stride": (1, -1)}, ShapeError, r"non-positive stride is not supported.*\(1, -1\)"),
    "stride 1.5": ({"stride": 1.5}, TypeError, "stride must be an int, got 1.5"),
    "stride of three": ({"stride": (1, 1, 1)}, ValueError, r"stride must be an int or 2 ints, got \(1, 1, 1\)"),
    "stride '2'": ({"stride": "2"}, TypeError, "stride must be an int, got '2' of type str"),
    "stride None": ({"stride": None}, TypeError, "stride must be an int, got None"),
    "stride 2**62": ({"stride": HUGE}, ValueError, "stride is too large"),
    "dilation 0": ({"dilation": 0}, ShapeError, "dilation should be greater than zero, got dilation=0"),
    "dilation -1": ({"dilation": (-1, 1)}, ShapeError, "dilation should be greater than zero"),
    "dilation 2**62": ({"dilation": HUGE}, ValueError, "dilation is too large"),
    "padding -1": ({"padding": -1}, ShapeError, "negative padding is not supported, got padding=-1"),
    "padding below": ({"padding": ((0, 0), (0, -3))}, ShapeError, "negative padding is not supported"),
    "padding 0.5": ({"padding": 0.5}, TypeError, "padding must be an int, got 0.5"),
    "padding of four": (
        {"padding": (1, 1, 2, 2)},
        ValueError,
        r"ambiguous \(frameworks disagree.*padding=\(\(top, bottom\), \(left, right\)\)",
    ),
    "padding 'smae'": ({"padding": "smae"}, ValueError, "padding must be 'same', 'valid', an int.*got 'smae'"),
    "same with stride": (
        {"padding": "same", "stride": 2},
        ValueError,
        r"padding='same' is not supported for strided convolutions.*padding=\(\(top, bottom\), \(left, right\)\)",
    ),
    "padding 2**62": ({"padding": HUGE}, ValueError, "padding is too large: 4611686018427387904 is above 2147483647"),
    "padding mode": (
        {"padding_mode": "mirror"},
        ValueError,
        "one of zeros, reflect, replicate, circular, got 'mirror'",
    ),
    "reflect too far": (
        {"padding_mode": "reflect", "padding": ((6, 0), (0, 0))},
        ShapeError,
        r"padding \(6, 0\) of the height must be at most 5 for padding_mode='reflect' and an input height of 6",
    ),
    "circular too far": ({"padding_mode": "circular", "padding": (0, 6)}, ShapeError, "width must be at most 5"),
    "rank 2": (
        {"x": zeros(8, 8)},
        ShapeError,
        r"expected 3D \(unbatched\) or 4D \(batched\) input to conv2d, got shape \(8, 8\)",
    ),
    "rank 5": ({"x": zeros(1, 1, 4, 8, 8)}, ShapeError, r"got shape \(1, 1, 4, 8, 8\)"),
    "rank 0": ({"x": np.float32(3)}, ShapeError, r"got shape \(\)"),
    "rank of the weight": ({"weight": zeros(6, 2, 3)}, ShapeError, r"\(K, C/groups, kH, kW\), got shape \(6, 2, 3\)"),
    "wrong channels": (
        {"x": zeros(2, 6, 6, 5)},
        ShapeError,
        r"weight of shape \(6, 2, 3, 3\) expects input \(2, 6, 6, 5\) to have 4 channels, but got 6",
    ),
    "wrong bias": ({"bias": zeros(4)}, ShapeError, r"bias must have shape \(6,\), one value.*, got \(4,\)"),
    "bias of rank 2": ({"bias": zeros(6, 1)}, ShapeError, r"bias must have shape \(6,\).* got \(6, 1\)"),
    "kernel above input": (
        {"weight": zeros(6, 2, 3, 4), "dilation": (1, 2), "padding": (0, 0)},
        ShapeError,
        r"can't be greater than the padded input: padded input \(6 x 5\).*effective kernel \(3 x 7\)"
        r".*floor\(\(padded - effective kernel\) / stride\) \+ 1 = \(4 x -1\) is too small",
    ),
    "no rows": ({"x": zeros(2, 4, 0, 5)}, ShapeError, r"input of shape \(2, 4, 0, 5\) has a zero extent"),
    "no channels": ({"x": zeros(2, 0, 6, 5), "weight": zeros(6, 0, 3, 3)}, ShapeError, "zero extent"),
    "empty filter": ({"weight": zeros(6, 2, 0, 3)}, ShapeError, r"weight of shape .*6?.*2, 0, 3\) has a zero extent"),
    "mixed dtypes": (
        {"weight": zeros(6, 2, 3, 3, dtype=np.float64)},
        DTypeError,
        r"mixed dtypes: input is float32 but weight is float64.*weight.astype\('float32'\)",
    ),
    "mixed bias": (
        {"bias": zeros(6, dtype=np.float64)},
        DTypeError,
        "mixed dtypes: input is float32 but bias is float64",
    ),
    "integer weight": (
        {"weight": zeros(6, 2, 3, 3, dtype=int)},
        DTypeError,
        "weight has dtype int64; supported are float32",
    ),
    "x is None": ({"x": None}, TypeError, "input must be an array or a Tensor, got NoneType"),
    "weight is None": ({"weight": None}, TypeError, "weight must be an array or a Tensor, got NoneType"),
    "x is a list": ({"x": [[1.0]]}, TypeError, "input must be an array or a Tensor, got list"),
    "x is a tuple": ({"x": (1.0,)}, TypeError, "input must be an array or a Tensor, got tuple"),
    "x is a str": ({"x": "cat.png"}, TypeError, "input must be an array or a Tensor, got str"),
    "bias is a number": ({"bias": 0.5}, TypeError, "bias must be an array or a Tensor, got float"),
    "x is masked": ({"x": np.ma.masked_array(zeros(2, 4, 6, 5))}, TypeError, r"masked array.*input.filled\(...\)"),
    "kernel 2**31": (
        {"weight": np.broadcast_to(np.float32(0), (6, 2, 2**31, 1))},
        ValueError,
        "kernel_size is too large: .2147483648",
    ),
    "no such backend": (
        {"backend": "cuda9"},
        BackendUnavailableError,
        "no backend 'cuda9' .chosen by argument.; there are: auto, reference",
    ),
}
UNSUPPORTED_DTYPES = ["bool", "int64", "uint8", "float16", "longdouble", "complex64", "O", "U3", "M8[s]", "i4,f4"]
# id: (input or None, arguments of max_pool2d, class, words of the message)
POOL_ROWS = {
    "kernel (1, 0)": ({"kernel_size": (1, 0)}, ValueError, r"kernel_size must be 2 positive ints, got \(1, 0\)"),
    "kernel 0": ({"kernel_size": 0}, ValueError, "kernel_size must be 2 positive ints, got 0"),
    "kernel -2": ({"kernel_size": -2}, ValueError, "kernel_size must be 2 positive ints, got -2"),
    "kernel 2.0": ({"kernel_size": 2.0}, TypeError, "kernel_size must be an int, got 2.0 of type float"),
    "kernel True": ({"kernel_size": True}, TypeError, "kernel_size must be an int, got True"),
    "kernel of three": ({"kernel_size": (2, 2, 2)}, ValueError, r"kernel_size must be .* 2 .*ints, got \(2, 2, 2\)"),
    "kernel None": ({"kernel_size": None}, TypeError, "kernel_size must be an int, got None"),
    "kernel 2**31": ({"kernel_size": 2**31}, ValueError, "kernel_size is too large: 2147483648 is above 2147483647"),
    "window 2**32": ({"kernel_size": 2**16, "padding": 2**15}, ValueError, "kernel_size is too large"),
    "stride 0": ({"stride": 0}, ShapeError, "non-positive stride is not supported"),
    "dilation 0": ({"dilation": 0}, ShapeError, "dilation should be greater than zero"),
    "padding -1": ({"padding": -1}, ShapeError, "negative padding is not supported"),
    "padding above half": (
        {"kernel_size": 3, "padding": 2},
        ShapeError,
        "pad should be smaller than or equal to half of kernel size, but got pad=2, kernel_size=3",
    ),
    "padding 'same'": ({"padding": "same"}, TypeError, "padding of a pooling must be .*got 'same'"),
    "padding 2**62": ({"padding": HUGE}, ValueError, "padding is too large"),
    "ceil_mode 1": ({"ceil_mode": 1}, TypeError, "ceil_mode must be True or False, got 1"),
    "return_indices 'no'": ({"return_indices": "no"}, TypeError, "return_indices must be True or False, got 'no'"),
    "rank 2": ({"x": zeros(8, 8)}, ShapeError, r"expected 3D .* or 4D .* input to max_pool2d, got shape \(8, 8\)"),
    "kernel above input": ({"kernel_size": 9}, ShapeError, r"padded input \(6 x 5\).*effective kernel \(9 x 9\)"),
    "no columns": ({"x": zeros(2, 4, 6, 0)}, ShapeError, r"input of shape \(2, 4, 6, 0\) has a zero extent"),
    "no channels": ({"x": zeros(2, 0, 6, 5)}, ShapeError, "zero extent"),
    "x is None": ({"x": None}, TypeError, "input must be an array or a Tensor, got NoneType"),
    "x is a list": ({"x": [[1.0]]}, TypeError, "input must be an array or a Tensor, got list"),
    "no such backend": (
        {"backend": "tpu"},
        BackendUnavailableError,
        "no backend 'tpu' .chosen by argument.; there are: auto, reference",
    ),
}


def assert_refused(function, arrays, error, words):
    """The error has the class and the words, no kernel ran, no array changed."""
    before = {name: value.copy() for name, value in arrays.items() if is_small_array(value)}
    with backends.recording() as launches, pytest.raises(error, match=words) as caught:
        function()
    assert not launches
    if error in (ShapeError, DTypeError, BackendUnavailableError):
        assert isinstance(caught.value, FastconvError)
    for name, value in before.items():
        np.testing.assert_array_equal(arrays[name], value)


def is_small_array(value):
    return isinstance(value, np.ndarray) and value.size < 999


def as_tensors(arguments):
    """The same call with Tensors that ask for gradients, where such Tensors exist."""
    return {
        name: fc.tensor(value, requires_grad=True)
        if is_small_array(value) and type(value) is np.ndarray and value.dtype.name in ("float32", "float64")
        else value
        for name, value in arguments.items()
    }


@every_backend
@pytest.mark.parametrize("row", CONV_ROWS)
def test_conv2d(backend, row, rng):
    changes, error, words = CONV_ROWS[row]
    arguments = {"x": integers(rng, (2, 4, 6, 5)), "weight": integers(rng, (6, 2, 3, 3)), "bias": integers(rng, (6,))}
    arguments |= {"groups": 2, "padding": 1, "backend": backend} | changes
    assert_refused(lambda: F.conv2d(**arguments), arguments, error, words)
    assert_refused(lambda: F.conv2d(**as_tensors(arguments)), arguments, error, words)


@every_backend
@pytest.mark.parametrize("row", POOL_ROWS)
def test_max_pool2d(backend, row, rng):
    changes, error, words = POOL_ROWS[row]
    arguments = {"x": integers(rng, (2, 4, 6, 5)), "kernel_size": 2, "backend": backend} | changes
    assert_refused(lambda: F.max_pool2d(**arguments), arguments, error, words)
    assert_refused(lambda: F.max_pool2d(**as_tensors(arguments)), arguments, error, words)


@pytest.mark.parametrize(
    "row",
    [row for row, (changes, _, _) in POOL_ROWS.items() if not {"backend", "dilation", "return_indices"} & set(changes)],
)
def test_avg_pool2d(row, rng):
    changes, error, words = POOL_ROWS[row]
    arguments = {"x": integers(rng, (2, 4, 6, 5)), "kernel_size": 2} | changes
    words = words.replace("max_pool2d", "avg_pool2d")
    assert_refused(lambda: F.avg_pool2d(**arguments), arguments, error, words)
    assert_refused(lambda: F.avg_pool2d(**as_tensors(arguments)), arguments, error, words)


@every_backend
@pytest.mark.parametrize("dtype", UNSUPPORTED_DTYPES)
def test_unsupported_dtypes(backend, dtype):
    x = np.zeros((1, 1, 4, 4), dtype)
    words = "input has dtype .*; supported are float32 and float64"
    assert_refused(lambda: F.max_pool2d(x, 2, backend=backend), {"x": x}, DTypeError, words)
    assert_refused(lambda: F.conv2d(x, x, backend=backend), {"x": x}, DTypeError, words)
    assert_refused(lambda: F.avg_pool2d(x, 2), {"x": x}, DTypeError, words)


@every_backend
def test_an_output_beyond_the_memory(backend):
    x, weight = zeros(1, 1, 5, 5), zeros(1, 1, 3, 3)
    words = r"an array of shape \(1, 1, 4194307, 4194307\) and dtype float32 takes 70,368,844,840,996 bytes; left are"
    assert_refused(lambda: F.conv2d(x, weight, padding=2**21, backend=backend), {"x": x}, MemoryError, words)


@every_backend
def test_memory_is_asked_for_before_it_is_taken(backend, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    x, weight = zeros(1, 1, 8, 8), zeros(1, 1, 1, 1)
    with pytest.raises(MemoryError, match=r"takes 134,742,016 bytes; left are 100,000,000"):
        F.conv2d(x, weight, padding=((2**10, 2**10), (2**13, 2**13 - 8)), stride=1, backend=backend)
    # Zero strides make an array of any size; the copy that the kernels need would be that large.
    with pytest.raises(MemoryError, match=r"left are 100,000,000"):
        F.max_pool2d(np.broadcast_to(np.float32(1), (1, 1, 2**13, 2**13)), 2**12, backend=backend)


def test_padding_of_an_average_beyond_the_memory(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**8)
    with pytest.raises(MemoryError, match=r"takes [\d,]+ bytes; left are [\d,]+"):
        F.avg_pool2d(zeros(1, 1, 5, 5), (2**31 - 1, 1), padding=(2**30 - 1, 0))


def test_an_unknown_amount_of_memory_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    with pytest.raises(MemoryError, match=r"an array of shape .* takes [\d,]+ bytes"):
        F.conv2d(zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), padding=2**31 - 1)
