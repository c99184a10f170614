"""Calls so small that nothing but overhead counts; torch's same calls beside them."""

import importlib.util
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn

RTOL = ATOL = 1e-5
# So many calls a round that reading the timer does not count.
pytestmark = pytest.mark.benchmark(min_time=0.001)


@dataclass(frozen=True, slots=True)
class Library:
    """What the calls are made of: the two libraries have the same names, but for the way from and to arrays."""

    F: ModuleType
    nn: ModuleType
    given: Callable[[np.ndarray], Any]
    tensor: Callable[[np.ndarray], Any]
    array: Callable[[Any], np.ndarray]


def _fastconv():
    return Library(fc.functional, nn, np.asarray, fc.tensor, np.asarray)


def _torch():
    import torch

    return Library(
        torch.nn.functional, torch.nn, torch.from_numpy, torch.from_numpy, lambda found: found.detach().numpy()
    )


def _normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


X, WEIGHT, BIAS = _normal(1, 3, 8, 8), _normal(8, 3, 3, 3), _normal(8)


def conv2d(library):
    return partial(library.F.conv2d, library.given(X), library.given(WEIGHT))


def conv2d_of_one_pixel(library):
    return partial(library.F.conv2d, library.given(X[..., :1, :1].copy()), library.given(WEIGHT[..., :1, :1].copy()))


def max_pool2d(library):
    return partial(library.F.max_pool2d, library.given(X), 2)


def relu(library):
    return partial(library.F.relu, library.given(X))


def module(library):
    layer = library.nn.Conv2d(3, 8, 3)
    layer.load_state_dict({"weight": library.tensor(WEIGHT), "bias": library.tensor(BIAS)})
    return partial(layer, library.given(X))


def forward_and_backward(library):
    x, weight = (library.tensor(array.copy()).requires_grad_() for array in (X, WEIGHT))
    grad_out = library.given(_normal(1, 8, 6, 6))

    def call():
        x.grad = weight.grad = None
        library.F.conv2d(x, weight).backward(grad_out)
        return x.grad

    return call


CALLS = (conv2d, conv2d_of_one_pixel, max_pool2d, relu, module, forward_and_backward)
BACKENDS = [name for name, status in fc.available_backends().items() if status]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.mark.parametrize("name", [*BACKENDS, pytest.param("torch", marks=needs_torch)])
@pytest.mark.parametrize("make", CALLS, ids=[make.__name__ for make in CALLS])
def test_overhead(benchmark, make, name, threads):
    benchmark.group = f"overhead {make.__name__} threads {threads}"
    with fc.use_backend("reference"):
        expected = np.asarray(make(_fastconv())())
    library, environment = (
        (_torch(), _torch_threads(threads)) if name == "torch" else (_fastconv(), fc.use_backend(name))
    )
    with environment:
        call = make(library)
        np.testing.assert_allclose(library.array(call()), expected, RTOL, ATOL)
        benchmark(call)


@contextmanager
def _torch_threads(threads):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    yield
    torch.set_num_threads(before)
