"""Arrays as they come: the right answer for every layout, byte order and origin, and nothing of them is changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import USABLE, every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays


class Subclass(np.ndarray):
    pass


def reversed_view(array):
    whole = tuple(slice(None, None, -1) for _ in array.shape)
    return array[whole].copy()[whole]


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def sliced(array):
    larger = np.full([2 * size + 3 for size in array.shape], np.nan, array.dtype)
    view = larger[tuple(slice(1, 1 + 2 * size, 2) for size in array.shape)]
    view[...] = array
    return view


def field(array):
    records = np.zeros(array.shape, [("before", "i1"), ("value", array.dtype), ("after", "i2")])
    records["value"] = array
    return records["value"]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


class _Foreign:
    """Only what ``__array__`` gives."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


class _DLPack:
    """Only what DLPack gives."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


HOSTILE = {
    "read-only": read_only,
    "negative strides": reversed_view,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "byte-swapped and read-only": lambda a: read_only(a.astype(a.dtype.newbyteorder())),
    "unaligned": unaligned,
    "sliced": sliced,
    "a field of records": field,
    "Fortran order": np.asfortranarray,
    "axes exchanged": lambda a: a.swapaxes(0, -1).copy().swapaxes(0, -1),
    "a subclass": lambda a: a.view(Subclass),
    "__array__ alone": _Foreign,
    "DLPack alone": _DLPack,
}
hostile = pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def values_of(array):
    return np.array(getattr(array, "_array", array))


def everything(x, weight, bias, grad, backend):
    """Results and gradients of a convolution and a pooling; plain arrays give the same."""
    leaves = [fc.tensor(item, requires_grad=True) for item in (x, weight, bias)]
    parameters = {"stride": (1, 2), "padding": 1, "groups": 2, "backend": backend}
    out = F.conv2d(*leaves, **parameters)
    out.backward(grad)
    pooled = F.max_pool2d(leaves[0], 2, padding=1, backend=backend)
    arrays_alone = F.conv2d(x, weight, bias, **parameters), F.max_pool2d(x, 2, padding=1, backend=backend)
    for found, expected in zip(arrays_alone, (out, pooled), strict=True):
        assert type(found) is np.ndarray
        assert_same_bits(found, expected.numpy())
    averaged = F.avg_pool2d(x, 2, divisor_override=1)
    return [out.numpy(), pooled.numpy(), averaged, *(leaf.grad.numpy() for leaf in leaves)]


def operands(rng, dtype):
    return [integers(rng, shape, dtype) for shape in ((2, 4, 7, 6), (6, 2, 3, 3), (6,), (2, 6, 7, 3))]


@every_backend
@every_dtype
@hostile
def test_every_operand_in_every_form(backend, dtype, make, rng):
    plain = operands(rng, dtype)
    expected = everything(*plain, backend)
    for place in range(4):
        given_ = list(plain)
        given_[place] = make(plain[place])
        before = values_of(given_[place])
        for found, exact in zip(everything(*given_, backend), expected, strict=True):
            assert_same_bits(found, exact)
        assert_same_bits(values_of(given_[place]), before)
    for found, exact in zip(everything(*map(make, plain), backend), expected, strict=True):
        assert_same_bits(found, exact)


@every_backend
@every_dtype
def test_zero_strides(backend, dtype, rng):
    plain = operands(rng, dtype)
    repeated = [np.broadcast_to(array.ravel()[0], array.shape) for array in plain]
    expected = everything(*(array.copy() for array in repeated), backend)
    for found, exact in zip(everything(*repeated, backend), expected, strict=True):
        assert_same_bits(found, exact)
    rows = [np.broadcast_to(array[:1], array.shape) for array in plain]
    expected = everything(*(array.copy() for array in rows), backend)
    for found, exact in zip(everything(*rows, backend), expected, strict=True):
        assert_same_bits(found, exact)


RESULTS = {
    "conv2d": lambda x, backend: F.conv2d(x, np.ones((6, 4, 2, 3), x.dtype), backend=backend),
    "conv2d, grouped": lambda x, backend: F.conv2d(x, np.ones((4, 1, 3, 3), x.dtype), groups=4, backend=backend),
    "max_pool2d": lambda x, backend: F.max_pool2d(x, 2, backend=backend),
    "avg_pool2d": lambda x, backend: F.avg_pool2d(x, 2),
    "relu": lambda x, backend: F.relu(x),
    "dropout": lambda x, backend: F.dropout(x, 0.5),
    "relu6": lambda x, backend: F.relu6(x),
    "local_response_norm": lambda x, backend: F.local_response_norm(x, 3),
    "locally connected": lambda x, backend: F.locally_connected2d(
        x, np.ones((7, 5, 3, 4, 2, 2), x.dtype), np.ones((7, 5, 3), x.dtype), backend=backend
    ),
    "conv_transpose2d": lambda x, backend: F.conv_transpose2d(x, np.ones((4, 3, 2, 2), x.dtype), backend=backend),
    "cat": lambda x, backend: F.cat((x, x), 1),
    "pad": lambda x, backend: F.pad(x, (1, 2, 0, 1)),
    "add": lambda x, backend: F.add(x, x),
}


@every_backend
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("wanted", FORMATS)
def test_results_and_gradients_have_the_format_of_the_input(backend, name, wanted, rng):
    dense = in_format(integers(rng, (2, 4, 8, 6)), wanted)
    larger = in_format(integers(rng, (2, 6, 16, 12)), wanted)
    for x in (dense, larger[:, 1:5, ::2, ::2], dense.astype(">f4"), unaligned_in_format(dense, wanted)):
        leaf = fc.tensor(x, requires_grad=True)
        out = RESULTS[name](leaf, backend)
        assert arrays.memory_format(RESULTS[name](x, backend)) == wanted
        assert arrays.memory_format(out.numpy()) == wanted
        for grad in (integers(rng, out.shape), in_format(integers(rng, out.shape), arrays.CHANNELS_LAST)):
            leaf.grad = None
            out.backward(grad, retain_graph=True)
            assert leaf.grad.shape == x.shape
            if name.startswith(("conv", "locally", "max", "avg")):
                assert arrays.memory_format(leaf.grad.numpy()) == wanted


def unaligned_in_format(array, wanted):
    if wanted == arrays.CHANNELS_LAST:
        return unaligned(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return unaligned(array)


@every_backend
@every_dtype
@hostile
def test_unbatched_images(backend, dtype, make, rng):
    x, weight, bias, grad = operands(rng, dtype)
    batched = everything(x[:1], weight, bias, grad[:1], backend)
    single = everything(make(x[0]), weight, bias, make(grad[0]), backend)
    for position, (found, expected) in enumerate(zip(single, batched, strict=True)):
        one_image = position in (0, 1, 2, 3)
        assert_same_bits(found, expected[0] if one_image else expected)
    channels_last = in_format(x[:1], arrays.CHANNELS_LAST)[0]
    out = F.conv2d(channels_last, weight, bias, groups=2, backend=backend)
    assert arrays.memory_format(out[None]) == arrays.CHANNELS_LAST


@pytest.mark.oracle
@every_backend
@every_dtype
def test_torch_tensors_enter(torch, backend, dtype, rng):
    plain = operands(rng, dtype)
    expected = everything(*plain, backend)
    tensors = [torch.from_numpy(array) for array in plain]
    for found, exact in zip(everything(*tensors, backend), expected, strict=True):
        assert_same_bits(found, exact)
    tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
    tensors[1] = tensors[1].transpose(2, 3).contiguous().transpose(2, 3)
    for found, exact in zip(everything(*tensors, backend), expected, strict=True):
        assert_same_bits(found, exact)
    assert arrays.memory_format(F.conv2d(*tensors[:3], groups=2, backend=backend)) == arrays.CHANNELS_LAST


@pytest.mark.parametrize("told", [BufferError("it cannot say"), None, ()])
def test_arrays_that_cannot_say_where_they_lie_are_asked_for_their_values(rng, told):
    class Silent(_Foreign):
        def __dlpack_device__(self):
            if isinstance(told, Exception):
                raise told
            return told

    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(F.relu(Silent(x)), F.relu(x))


@pytest.mark.oracle
def test_classes_of_arrays_are_no_arrays(torch):
    for kind in (np.ndarray, torch.Tensor):
        with pytest.raises(TypeError):
            F.relu(kind)
    with pytest.raises(TypeError, match="meta"):
        F.relu(torch.empty(3, device="meta"))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_become_arrays(rng):
    x, weight = np.matrix(integers(rng, (3, 4))), np.matrix(integers(rng, (5, 4)))
    out = F.linear(x, weight)
    assert type(out) is np.ndarray
    assert_same_bits(out, F.linear(np.asarray(x), np.asarray(weight)))
    assert type(fc.tensor(x).numpy()) is np.ndarray
    assert F.mul(x, x).shape == (3, 4)  # elementwise, as arrays multiply


def test_numpy_scalars_are_arrays_without_axes():
    assert F.add(np.float32(1), np.float32(2)) == 3
    assert fc.tensor(np.float64(2)).shape == ()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool"])
def test_integer_tensors_exist_without_gradients(dtype):
    tensor = fc.tensor(np.ones((2, 3), dtype))
    assert (tensor.dtype, tensor.requires_grad) == (np.dtype(dtype), False)
    assert (tensor + tensor).numpy().tolist() == (np.ones((2, 3), dtype) + np.ones((2, 3), dtype)).tolist()


@given(st.data(), st.sampled_from(USABLE), st.integers(0, 2**32 - 1))
def test_any_view_of_any_buffer(data, backend, seed):
    rng = np.random.default_rng(seed)
    order = data.draw(st.permutations(range(4)))
    sizes = [data.draw(st.integers(1, 5)) for _ in range(4)]
    steps = [data.draw(st.sampled_from([1, 2, 3, -1, -2])) for _ in range(4)]
    base = integers(rng, [abs(step) * size for size, step in zip(sizes, steps, strict=True)], largest=9)
    x = base[tuple(slice(None, None, step) for step in steps)].transpose(order)
    _, C, H, W = x.shape
    weight = integers(rng, (data.draw(st.integers(1, 18)), C, min(2, H), min(3, W)))
    before = base.copy()
    expected = F.conv2d(np.ascontiguousarray(x), weight, padding=1, backend="reference")
    assert_same_bits(F.conv2d(x, weight, padding=1, backend=backend), expected)
    pooled = F.max_pool2d(x, (min(2, H), min(2, W)), return_indices=True, backend=backend)
    plain = F.max_pool2d(np.ascontiguousarray(x), (min(2, H), min(2, W)), return_indices=True, backend="reference")
    for found, exact in zip(pooled, plain, strict=True):
        assert_same_bits(found, exact)
    assert_same_bits(base, before)
