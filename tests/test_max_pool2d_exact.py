"""Max-pooling: the reference's bits from every backend, variant, dtype, direction and memory format."""

import numpy as np
import pytest
from support.backends import compiled_backends, every_backend
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers
from support.kernel_calls import POOL_OPERATIONS, assert_exact, geometry_of, problem_of, run_fenced

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv._kernels.contract import offsets_dtype
from fastconv.bench.cases import AWKWARD_POOLS, PoolCase

every_case = pytest.mark.parametrize("case", AWKWARD_POOLS, ids=lambda case: case.name)


@compiled_backends
@pytest.mark.parametrize("op", POOL_OPERATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_kernels_give_the_bits_of_the_reference(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype)


@every_backend
@every_case
def test_the_public_function_gives_the_bits_of_the_reference(backend, case, rng):
    x = integers(rng, case.x_shape, "float64")
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(x.shape) < 0.1] = -np.inf
    grad = integers(rng, geometry_of(case).out_shape, "float64")
    expected = passes(x, grad, case, "reference")
    for wanted in FORMATS:
        given = in_format(x, wanted)
        found = passes(given, grad, case, backend)
        for array, other in zip(found, expected, strict=True):
            assert_same_bits(array, other)
        for array in found[::2]:
            # A plane of one pixel is in both formats, and counts as contiguous.
            assert arrays.memory_format(array) == arrays.memory_format(in_format(array, arrays.memory_format(given)))


def passes(x, grad, case, backend):
    """out, indices and grad_input."""
    leaf = fc.tensor(x, requires_grad=True)
    out, indices = F.max_pool2d(leaf, **case.parameters, return_indices=True, backend=backend)
    out.backward(grad)
    assert not indices.requires_grad
    assert indices.dtype == np.int64
    assert_same_bits(F.max_pool2d(x, **case.parameters, backend=backend), out.numpy())
    return out.numpy(), indices.numpy(), leaf.grad.numpy()


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(2, 3), (17, 16)])
def test_offsets_that_lead_outside_lead_nowhere(backend, dtype, kernel, rng):
    case = PoolCase("trusted", "here", (2, 3, 35, 33), kernel, stride=9, padding=1)
    geometry = geometry_of(case)
    offsets = rng.integers(0, np.iinfo(offsets_dtype(geometry)).max + 1, geometry.out_shape)
    inputs = {"grad_out": integers(rng, geometry.out_shape, dtype), "offsets": offsets}
    # One tap that exists lies in the padding of the first window.
    inputs["offsets"][:, :, 0, 0] = 0
    expected = scattered(geometry, inputs["grad_out"], offsets)
    for wanted in FORMATS:
        problem = problem_of("max_pool2d_grad_input", geometry, dtype, (wanted, wanted))
        found = run_fenced(backend, "max_pool2d_grad_input", problem, inputs)["grad_input"]
        assert_same_bits(found, expected)


def scattered(geometry, grad_out, offsets):
    """grad_input by definition, window by window."""
    rows, cols = geometry.rows, geometry.cols
    total = np.zeros(geometry.x_shape, grad_out.dtype)
    for n, c, oh, ow in np.ndindex(*geometry.out_shape):
        kh, kw = divmod(int(offsets[n, c, oh, ow]), cols.kernel)
        ih = oh * rows.stride - rows.low + kh * rows.dilation
        iw = ow * cols.stride - cols.low + kw * cols.dilation
        if kh < rows.kernel and 0 <= ih < rows.size and 0 <= iw < cols.size:
            total[n, c, ih, iw] += grad_out[n, c, oh, ow]
    return total
