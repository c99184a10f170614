"""Checked calls are found again: never for parameters of another type, never with some that could have changed."""

import importlib
import sys

import numpy as np
import pytest
from support.backends import USABLE, compiled_backends, every_backend
from support.process import script

import fastconv as fc
import fastconv.functional as F
from fastconv import backends
from fastconv.errors import BackendUnavailableError, DTypeError, ShapeError

CONVOLUTIONS, POOLINGS = (importlib.import_module(f"fastconv.functional.{op}") for op in ("conv2d", "max_pool2d"))
X, WEIGHT, BIAS = np.ones((1, 2, 6, 5), np.float32), np.ones((3, 2, 2, 2), np.float32), np.ones(3, np.float32)


@pytest.fixture(autouse=True)
def _forgotten():
    CONVOLUTIONS._known.clear()
    POOLINGS._known.clear()


def counted(monkeypatch, module):
    """Counts how often the module checks a call."""
    checks, check = [], module._checked
    monkeypatch.setattr(module, "_checked", lambda *given: checks.append(given) or check(*given))
    return checks


def test_a_repeated_call_is_checked_once(monkeypatch):
    checks, stride, padding = counted(monkeypatch, CONVOLUTIONS), (1, 2), ((1, 0), (0, 1))
    first = F.conv2d(X, WEIGHT, BIAS, stride, padding)
    for x in (X, X.copy(), fc.tensor(X), fc.tensor(X, requires_grad=True)):
        np.testing.assert_array_equal(F.conv2d(x, WEIGHT, BIAS, stride, padding), first)
    assert len(checks) == 1
    checks = counted(monkeypatch, POOLINGS)
    for _ in range(3):
        F.max_pool2d(X, stride)
    assert len(checks) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"x": X[:, :, 1:].copy()},
        {"x": X[0]},
        {"weight": WEIGHT[:1], "bias": BIAS[:1]},
        {"bias": None},
        {"stride": 2},
        {"padding": 1},
        {"dilation": 2},
        {"x": X[:, :1], "weight": WEIGHT[:, :1]},
        {"weight": np.ones((4, 1, 2, 2), np.float32), "groups": 2, "bias": np.ones(4, np.float32)},
        {"padding": 1, "padding_mode": "reflect"},
        {name: value.astype(np.float64) for name, value in (("x", X), ("weight", WEIGHT), ("bias", BIAS))},
        {"x": np.asfortranarray(X)},
        {"x": X.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_whatever_differs_makes_another_call(changes):
    rng = np.random.default_rng(0)
    given = {"x": X, "weight": WEIGHT, "bias": BIAS} | changes
    given = {
        name: rng.integers(-3, 4, value.shape).astype(value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in given.items()
    }
    fresh = F.conv2d(**given, backend="reference")
    for backend in USABLE:
        CONVOLUTIONS._known.clear()
        F.conv2d(X, WEIGHT, BIAS, backend=backend)
        for _ in range(2):
            found = F.conv2d(**given, backend=backend)
            assert found.dtype == fresh.dtype
            np.testing.assert_array_equal(found, fresh)


EQUAL_BUT_WRONG = {
    "a float": (1, 1.0, "must be an int, got 1.0"),
    "a bool": (1, True, "must be an int, got True"),
    "a pair of floats": ((1, 1), (1.0, 1), "must be an int, got 1.0"),
    "a pair of bools": ((1, 1), (True, True), "must be an int, got True"),
}


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("row", EQUAL_BUT_WRONG)
def test_what_equals_a_known_parameter_is_still_refused(name, row):
    good, bad, words = EQUAL_BUT_WRONG[row]
    assert good == bad
    for function in (lambda value: F.conv2d(X, WEIGHT, **{name: value}), lambda value: pool(**{name: value})):
        function(good)
        before = len(CONVOLUTIONS._known), len(POOLINGS._known)
        with backends.recording() as launches, pytest.raises(TypeError, match=words):
            function(bad)
        assert not launches
        assert (len(CONVOLUTIONS._known), len(POOLINGS._known)) == before


def pool(**parameters):
    return F.max_pool2d(X, 2, **parameters)


def test_groups_and_ceil_mode_that_only_equal_known_ones():
    F.conv2d(X, WEIGHT, groups=1)
    pool(ceil_mode=True)
    with pytest.raises(TypeError, match="groups must be an int, got True"):
        F.conv2d(X, WEIGHT, groups=True)
    with pytest.raises(TypeError, match="ceil_mode must be True or False, got 1"):
        pool(ceil_mode=1)


def test_parameters_that_can_change_are_read_anew():
    stride = [1, 1]
    assert F.conv2d(X, WEIGHT, stride=stride).shape == (1, 3, 5, 4)
    stride[0] = 2
    assert F.conv2d(X, WEIGHT, stride=stride).shape == (1, 3, 3, 4)
    kernel = np.array([2, 2])
    assert F.max_pool2d(X, (kernel[0], kernel[1])).shape == F.max_pool2d(X, kernel).shape == (1, 2, 3, 2)
    kernel[0] = 3
    assert F.max_pool2d(X, kernel).shape == (1, 2, 2, 2)
    held = fc.tensor([1, 1], dtype=np.int64)
    assert F.conv2d(X, WEIGHT, stride=held).shape == (1, 3, 5, 4)
    assert F.conv2d(X, WEIGHT, stride=(held[0], 1)).shape == (1, 3, 5, 4)
    held[0] = 2
    assert F.conv2d(X, WEIGHT, stride=held).shape == (1, 3, 3, 4)
    assert not CONVOLUTIONS._known
    assert not POOLINGS._known


def test_what_was_refused_is_not_kept():
    for function, error in (
        (lambda: F.conv2d(X, WEIGHT, stride=0), ShapeError),
        (lambda: F.conv2d(X, WEIGHT.astype(np.float64)), DTypeError),
        (lambda: F.conv2d(X, WEIGHT[:, :1]), ShapeError),
        (lambda: F.max_pool2d(X, 9), ShapeError),
    ):
        for _ in range(2):
            with pytest.raises(error):
                function()
    assert not CONVOLUTIONS._known
    assert not POOLINGS._known
    F.conv2d(X, WEIGHT)
    with pytest.raises(DTypeError, match="mixed dtypes"):
        F.conv2d(X, WEIGHT.astype(np.float64))
    with pytest.raises(DTypeError, match="mixed dtypes"):
        F.conv2d(X, WEIGHT, BIAS.astype(np.float64))
    with pytest.raises(ShapeError, match="bias must have shape"):
        F.conv2d(X, WEIGHT, BIAS[:2])


def test_unaligned_and_foreign_arrays_after_a_known_call():
    expected = F.conv2d(X, WEIGHT)
    raw = np.zeros(X.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(X.shape)
    unaligned[...] = X
    for x in (unaligned, X.astype(X.dtype.newbyteorder()), X[..., ::-1]):
        np.testing.assert_array_equal(F.conv2d(x, WEIGHT), expected)
    with pytest.raises(TypeError, match="masked array"):
        F.conv2d(np.ma.masked_array(X), WEIGHT)


@every_backend
def test_the_backend_is_asked_for_at_every_call(backend, monkeypatch):
    monkeypatch.delenv("FASTCONV_BACKEND", raising=False)

    def used(**options):
        with backends.recording() as launches:
            F.max_pool2d(F.conv2d(X, WEIGHT, **options), 2, **options)
        return {(record.backend, record.why) for record in launches}

    automatic = used()
    assert used(backend=backend) == {(backend, "chosen by argument")}
    with fc.use_backend(backend):
        assert used() == {(backend, "chosen by use_backend")}
    assert used() == automatic
    monkeypatch.setenv("FASTCONV_BACKEND", backend)
    assert used() == {(backend, "chosen by FASTCONV_BACKEND")}
    monkeypatch.setenv("FASTCONV_BACKEND", "tpu")
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="no backend 'tpu'"):
            used()
    assert used(backend=backend) == {(backend, "chosen by argument")}
    monkeypatch.delenv("FASTCONV_BACKEND")
    assert used() == automatic


def test_memory_is_still_looked_at(monkeypatch):
    x, weight = np.ones((1, 1, 64, 64), np.float32), np.ones((8, 1, 1, 1), np.float32)
    F.conv2d(x, weight)
    F.max_pool2d(x, 1)
    monkeypatch.setattr("fastconv.arrays._CHECKED_BYTES", 1)
    monkeypatch.setattr("fastconv.memory.available_bytes", lambda: 1000)
    for function in (lambda: F.conv2d(x, weight), lambda: F.max_pool2d(x, 1)):
        with pytest.raises(MemoryError, match="left are 1,000"):
            function()


def test_known_calls_are_few(monkeypatch):
    monkeypatch.setattr("fastconv.functional.calls._LIMIT", 10)
    for height in range(2, 40):
        F.conv2d(np.ones((1, 2, height, 5), np.float32), WEIGHT)
        assert 1 <= len(CONVOLUTIONS._known) <= 10


TINY = """
import os, numpy as np, fastconv as fc, fastconv.functional as F
fc.set_backend({backend!r})
def listed():
    return len(os.listdir("/proc/self/task"))
def tiny():
    for x, weight, groups in (
        ((1, 3, 8, 8), (8, 3, 3, 3), 1),
        ((1, 32, 4, 4), (32, 32, 3, 3), 1),
        ((1, 4, 4, 4), (256, 4, 1, 1), 1),
        ((1, 128, 4, 4), (128, 1, 3, 3), 128),
    ):
        x, weight, bias = (fc.tensor(np.ones(shape), requires_grad=True) for shape in (x, weight, weight[:1]))
        out = F.max_pool2d(F.conv2d(x, weight, bias, padding=weight.shape[2] // 2, groups=groups), 2)
        out.backward(np.ones(out.shape))
fc.set_num_threads(1)
tiny()  # a compiler may have threads of its own
before = listed()
fc.set_num_threads(4)
tiny()
print(listed() - before)
F.conv2d(np.ones((4, 64, 64, 64)), np.ones((64, 64, 3, 3)))
print(listed() - before)
"""


@compiled_backends
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts the threads that Linux lists")
def test_tiny_calls_wake_no_other_thread(backend):
    """The pool starts its threads for the first region that is worth handing over."""
    assert script(TINY.format(backend=backend)) == "0\n3\n"
