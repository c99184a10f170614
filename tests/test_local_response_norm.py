"""Normalisation across channels; PyTorch is the judge, in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import USABLE, every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format

import fastconv as fc
import fastconv.functional as F
import fastconv.nn as nn
from fastconv import arrays

SHAPES = [(2, 7, 3, 5), (1, 96, 5, 7), (3, 1, 2, 2), (2, 5, 4), (2, 3, 1, 2, 3), (1, 33, 1, 1), (2, 20, 6, 33)]
BETAS = [0.75, 0.5, 1.0, 0.6, 2.0, -0.25, 0.0]
TOLERANCE = {"float32": 3e-6, "float64": 1e-13}


def both(torch, x, grad, settings, dtype):
    """(result, gradient) of ours, and PyTorch's in float64."""
    leaf = fc.tensor(x.astype(dtype), requires_grad=True)
    out = F.local_response_norm(leaf, *settings)
    out.backward(grad.astype(dtype))
    other = torch.from_numpy(x.astype(dtype).astype(np.float64)).requires_grad_()
    expected = torch.nn.functional.local_response_norm(other, *settings)
    expected.backward(torch.from_numpy(grad.astype(dtype).astype(np.float64)))
    return (out.numpy(), leaf.grad.numpy()), (expected.detach().numpy(), other.grad.numpy())


def assert_close(found, expected, dtype):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        scale = np.abs(theirs).max(initial=1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=20 * TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)


@pytest.mark.oracle
@given(
    st.sampled_from(SHAPES),
    st.integers(1, 9),
    st.sampled_from(BETAS),
    st.sampled_from([1e-4, 1.0]),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from(FORMATS),
    st.sampled_from(DTYPES),
    st.sampled_from(USABLE),
    st.integers(0, 2**32 - 1),
)
def test_against_torch(torch, shape, size, beta, alpha, k, wanted, dtype, backend, seed):
    rng = np.random.default_rng(seed)
    x, grad = (in_format(rng.standard_normal(shape), wanted) for _ in range(2))
    with fc.use_backend(backend):
        found, expected = both(torch, x, grad, (size, alpha, beta, k), dtype)
    assert_close(found, expected, dtype)
    if len(shape) == 4:
        assert arrays.memory_format(found[0]) == arrays.memory_format(x)


@pytest.mark.oracle
@every_backend
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("beta", BETAS)
def test_special_values_stay_where_they_are(torch, backend, wanted, beta, rng):
    """A NaN or an infinite value reaches the channels that see it, and no other pixel."""
    x = in_format(rng.standard_normal((1, 19, 2, 18)), wanted)
    x[0, 3, 0, 0], x[0, 9, 1, 17], x[0, 12, 0, 5], x[0, 0, 1, 1] = np.nan, np.inf, -np.inf, 1e8
    with fc.use_backend(backend):
        found = F.local_response_norm(x.astype(np.float32), 5, 1.0, beta, 1.0)
    expected = torch.nn.functional.local_response_norm(torch.from_numpy(x.astype(np.float32)), 5, 1.0, beta, 1.0)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)


@every_backend
@pytest.mark.usefixtures("_restore_settings")
@pytest.mark.parametrize("wanted", FORMATS)
def test_any_number_of_threads_gives_the_same_bits(backend, wanted, rng):
    x, grad = (in_format(rng.standard_normal((3, 40, 33, 31)).astype(np.float32), wanted) for _ in range(2))
    results = []
    with fc.use_backend(backend):
        for threads in (1, 2, 5):
            fc.set_num_threads(threads)
            leaf = fc.tensor(x, requires_grad=True)
            out = F.local_response_norm(leaf, 5, 0.1)
            out.backward(grad)
            results.append((out.numpy(), leaf.grad.numpy()))
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_same_bits(found, expected)


@every_backend
def test_an_empty_batch_and_a_layer(backend):
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)
    with fc.use_backend(backend):
        leaf = fc.tensor(np.empty((0, 3, 4, 4), np.float32), requires_grad=True)
        out = layer(leaf)
        out.backward(out.detach())
    assert out.shape == leaf.grad.shape == (0, 3, 4, 4)
    assert repr(layer) == "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2.0)"
