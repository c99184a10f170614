"""Long sums of one sign: blocks keep the error of every direction near the result's own rounding, or near torch's."""

import numpy as np
import pytest
from support.backends import compiled_backends

import fastconv as fc
import fastconv.functional as F
from fastconv._kernels import plan
from fastconv.geometry import Axis

UNIT_ROUNDOFF = 2.0**-24
TORCH_GRAD_WEIGHT = 19  # units of roundoff that torch 2.13 is off on the row of 100,000


def _error(found, expected):
    return float(np.max(np.abs(found - expected) / expected)) / UNIT_ROUNDOFF


@compiled_backends
@pytest.mark.parametrize("shape", [(1, 1, 1, 1 << 18), (1, 1, 4096, 8), (1, 1, 300, 300)])
def test_grad_bias_is_rounded_once(backend, shape):
    grad = np.random.default_rng(7).random(shape, np.float32)
    bias = fc.tensor(np.zeros(1, np.float32), requires_grad=True)
    F.conv2d(grad, np.ones((1, 1, 1, 1), np.float32), bias, backend=backend).backward(grad)
    assert _error(bias.grad.numpy(), grad.sum(dtype=np.float64)) <= 1.0


@compiled_backends
def test_grad_weight_over_a_long_row(backend):
    generator = np.random.default_rng(8)
    x, grad = (generator.random((1, 1, 1, 100_000), np.float32) for _ in range(2))
    weight = fc.tensor(np.ones((1, 1, 1, 1), np.float32), requires_grad=True)
    F.conv2d(x, weight, backend=backend).backward(grad)
    assert _error(weight.grad.numpy(), (x.astype(np.float64) * grad).sum()) <= 1.5 * TORCH_GRAD_WEIGHT


@compiled_backends
def test_forward_over_a_large_window_of_one_channel(backend):
    generator = np.random.default_rng(9)
    x, weight = (generator.random((1, 1, 68, 68), np.float32) for _ in range(2))
    out = F.conv2d(x, weight, backend=backend)
    assert _error(out, (x.astype(np.float64) * weight).sum()) <= 10


def test_a_plan_takes_memory_for_its_entries_only():
    axis = Axis.of(4000, 3, 1, (0, 4000), 1)
    axis_plan = plan.grad_input_axis(axis, "replicate")
    assert len(axis_plan.taps) == axis.out * 3
    assert axis_plan.runs[:, 1].sum() == 4000
