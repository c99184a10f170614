"""SciPy as the judge of convolution and of pooling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import USABLE

import fastconv.functional as F

pytestmark = pytest.mark.oracle
backends = st.sampled_from(USABLE)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def signal():
    return pytest.importorskip("scipy.signal")


@pytest.fixture(scope="module")
def ndimage():
    return pytest.importorskip("scipy.ndimage")


def correlated(signal, x, weight, mode, boundary="fill"):
    """Sums over channels of scipy's two-dimensional correlations."""

    def one(image, filters):
        return sum(signal.correlate2d(*pair, mode, boundary) for pair in zip(image, filters, strict=True))

    return np.array([[one(image, filters) for filters in weight] for image in x])


@given(st.tuples(*[st.integers(4, 9)] * 2), st.tuples(*[st.integers(1, 4)] * 2), backends, seeds)
def test_conv2d_is_correlation(signal, size, kernel, backend, seed):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((2, 3, *size)), rng.standard_normal((4, 3, *kernel))
    valid = F.conv2d(x, weight, backend=backend)
    np.testing.assert_allclose(valid, correlated(signal, x, weight, "valid"), atol=1e-12)
    padding = tuple(k - 1 for k in kernel)
    full = F.conv2d(x, weight, padding=padding, backend=backend)
    np.testing.assert_allclose(full, correlated(signal, x, weight, "full"), atol=1e-12)
    strided = F.conv2d(x, weight, stride=(2, 3), padding=padding, backend=backend)
    np.testing.assert_allclose(strided, correlated(signal, x, weight, "full")[:, :, ::2, ::3], atol=1e-12)
    circular = F.conv2d(x, weight, padding=padding, padding_mode="circular", backend=backend)
    np.testing.assert_allclose(circular, correlated(signal, x, weight, "full", "wrap"), atol=1e-12)


@given(st.tuples(*[st.integers(3, 9)] * 2), st.tuples(*[st.integers(1, 3)] * 2), backends, seeds)
def test_dilation_is_a_kernel_with_holes(signal, size, dilation, backend, seed):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((1, 2, 8, 9)), rng.standard_normal((3, 2, 2, 3))
    holes = np.zeros((3, 2, dilation[0] + 1, 2 * dilation[1] + 1))
    holes[:, :, :: dilation[0], :: dilation[1]] = weight
    found = F.conv2d(x, weight, dilation=dilation, backend=backend)
    np.testing.assert_allclose(found, correlated(signal, x, holes, "valid"), atol=1e-12)


@given(
    st.tuples(*[st.integers(3, 11)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    backends,
    seeds,
)
def test_max_pool2d_is_a_sampled_maximum_filter(ndimage, size, kernel, stride, backend, seed):
    x = np.random.default_rng(seed).standard_normal((2, 3, *size))
    # Whole windows alone: the first is centred at k // 2.
    filtered = ndimage.maximum_filter(x, size=(1, 1, *kernel), mode="constant", cval=-np.inf)
    rows, cols = (slice(k // 2, n - (k - 1) + k // 2, s) for k, n, s in zip(kernel, size, stride, strict=True))
    found = F.max_pool2d(x, kernel, stride, backend=backend)
    np.testing.assert_array_equal(found, filtered[:, :, rows, cols])


@given(st.tuples(*[st.integers(1, 11)] * 2), st.sampled_from([1, 3, 5]), backends, seeds)
def test_padded_max_pool2d_is_the_maximum_filter(ndimage, size, kernel, backend, seed):
    x = np.random.default_rng(seed).standard_normal((1, 2, *size))
    filtered = ndimage.maximum_filter(x, size=(1, 1, kernel, kernel), mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(F.max_pool2d(x, kernel, 1, kernel // 2, backend=backend), filtered)


@given(st.tuples(*[st.integers(1, 11)] * 2), st.sampled_from([1, 3, 5]), seeds)
def test_padded_avg_pool2d_is_the_uniform_filter(ndimage, size, kernel, seed):
    x = np.random.default_rng(seed).standard_normal((1, 2, *size))
    filtered = ndimage.uniform_filter(x, size=(1, 1, kernel, kernel), mode="constant")
    np.testing.assert_allclose(F.avg_pool2d(x, kernel, 1, kernel // 2), filtered, atol=1e-12)


def test_log_softmax(rng):
    special = pytest.importorskip("scipy.special")
    x = rng.standard_normal((3, 4, 5)) * 100
    np.testing.assert_allclose(F.log_softmax(x, 1), special.log_softmax(x, 1), atol=1e-12)
