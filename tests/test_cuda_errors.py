"""What a call on a GPU's arrays is told where it cannot run; all of it is decided before any kernel is."""

import importlib.metadata
import inspect
import types

import numpy as np
import pytest
from support.cuda_arrays import DeviceArray, on_device
from support.process import script

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv._kernels import cuda_driver
from fastconv.errors import DeviceError

X, WEIGHT, BIAS = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 2, 2), np.float32), np.ones(3, np.float32)


def printed(code, **environment):
    imports = "import numpy as np, fastconv as fc, fastconv.functional as F"
    return script(f"{imports}\n{inspect.cleandoc(code)}", **environment)


def test_without_a_driver_the_backend_says_so_and_loads_nothing():
    told = printed(
        """
        import sys
        from fastconv._kernels import cuda_driver
        cuda_driver._LIBRARY = "libno-such-driver.so"
        status = fc.available_backends()["cuda"]
        print(bool(status), status.reason, {"numba", "numba_cuda", "cupy"} & set(sys.modules))
        try:
            F.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), backend="cuda")
        except fc.BackendUnavailableError as error:
            print(error)
        """
    )
    reason = "there is no NVIDIA driver (libno-such-driver.so cannot be loaded)"
    remedy = "(pip install 'fastconv[cuda13]', or [cuda12] for drivers of CUDA 12)"
    assert told.splitlines() == [
        f"False {reason} {remedy} set()",
        f"backend 'cuda' (chosen by argument) cannot be used: {reason} {remedy}",
    ]


@pytest.mark.parametrize(
    ("installed", "driver", "reason"),
    [
        ("13.5.0", (12, 4), "the driver is for CUDA 12.4, the installed packages are for CUDA 13"),
        ("13.5.0", (13, 0), None),
        ("12.9.1", (13, 0), None),
    ],
)
def test_a_driver_that_is_too_old_is_named_with_both_versions(monkeypatch, installed, driver, reason):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: installed)
    assert cuda_driver._too_old(*driver) == reason


class Libraries:
    """The driver's two libraries, of which the one for computing must not be started: children could not use it."""

    def __init__(self, devices, status=0, has_management=True):
        self._devices, self._status, self._has_management = devices, status, has_management

    def __call__(self, name):
        if name == cuda_driver._MANAGEMENT and not self._has_management:
            raise OSError(name)
        return types.SimpleNamespace(
            cuDriverGetVersion=lambda version: setattr(version._obj, "value", 13000),
            nvmlInit_v2=lambda: self._status,
            nvmlDeviceGetCount_v2=lambda count: setattr(count._obj, "value", self._devices),
            nvmlShutdown=lambda: 0,
        )


@pytest.mark.parametrize(
    ("libraries", "visible", "reason"),
    [
        (Libraries(1), None, None),
        (Libraries(1), "1,0", None),
        (Libraries(0), None, "there is no CUDA device"),
        (Libraries(1, status=9), None, "the NVIDIA driver finds no usable device (nvmlInit returned 9)"),
        (Libraries(0, has_management=False), None, None),
        (Libraries(1), "", "CUDA_VISIBLE_DEVICES='' hides all CUDA devices"),
        (Libraries(1), "-1,0", "CUDA_VISIBLE_DEVICES='-1,0' hides all CUDA devices"),
    ],
)
def test_devices_are_counted_without_starting_the_driver(libraries, visible, reason, monkeypatch):
    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", libraries)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert cuda_driver.missing.__wrapped__() == reason


@pytest.mark.parametrize(
    "copied",
    [arrays.dense, lambda x: arrays.dense_4d(x)[0], lambda x: fc.tensor(x)._array],
    ids=["any", "4d", "tensor"],
)
def test_what_must_be_copied_stays_on_its_device(rng, copied):
    host = rng.standard_normal((1, 2, 3, 8)).astype(np.float32)
    found = copied(on_device(host)[..., ::2])
    assert type(found) is DeviceArray
    np.testing.assert_array_equal(np.asarray(found), host[..., ::2])


@pytest.mark.parametrize(("name", "changed"), [("weight", 1), ("bias", 2)])
def test_a_mix_of_host_and_device_names_the_argument_and_both_places(name, changed):
    given = [X, WEIGHT, BIAS]
    given[changed] = on_device(given[changed])
    with pytest.raises(DeviceError, match=f"input is on device cpu but {name} is on device cuda:0"):
        F.conv2d(*given)
    with pytest.raises(ValueError, match="input is on device cuda:0 but weight is on device cpu"):
        F.conv2d(on_device(X), WEIGHT)


def test_gradients_lie_where_their_tensors_do():
    leaves = [fc.tensor(X, requires_grad=True) for _ in range(2)]
    total = leaves[0].reshape(-1) * leaves[1].reshape(-1)
    with pytest.raises(DeviceError, match="gradient is on device cuda:0 but the Tensor is on device cpu"):
        total.backward(on_device(X.reshape(-1)), retain_graph=True)
    leaves[1].grad = fc.tensor(on_device(X))
    with pytest.raises(DeviceError, match="is on device cpu but the Tensor that it was set to is on device cuda:0"):
        total.backward(X.reshape(-1), retain_graph=True)
    assert leaves[0].grad is None


def test_a_backend_of_the_cpu_refuses_arrays_of_a_gpu():
    x, weight = on_device(X), on_device(WEIGHT)
    message = "backend 'reference', chosen by {}, computes on the CPU, but the arrays are on cuda:0"
    with pytest.raises(DeviceError, match=message.format("argument")):
        F.conv2d(x, weight, backend="reference")
    with pytest.raises(DeviceError, match=message.format("use_backend")), fc.use_backend("reference"):
        F.max_pool2d(x, 2)


def test_the_backend_of_a_gpu_refuses_arrays_of_the_host():
    told = printed(
        """
        for call in (F.max_pool2d, lambda x, k, backend: F.conv2d(x, x, backend=backend)):
            try:
                call(np.ones((1, 1, 2, 2)), 1, backend="cuda")
            except fc.errors.DeviceError as error:
                print(error)
        """,
        NUMBA_ENABLE_CUDASIM="1",
    )
    line = "backend 'cuda', chosen by argument, computes on a GPU, but the arrays are on the cpu"
    assert told.splitlines() == [line, line]


def test_operations_of_the_cpu_alone_copy_nothing_behind_the_back():
    with pytest.raises(DeviceError, match="x is on device cuda:0; this operation computes in the memory of"):
        arrays.as_array(on_device(X), "x")


@pytest.mark.parametrize(
    ("call", "first", "name"),
    [
        (F.add_relu, X, "residual"),
        (lambda x, other: F.batch_norm(x, None, None, training=True, residual=other), X, "residual"),
        (lambda x, other: F.batch_norm(x, None, None, other[0, 0, 0, :2], training=True), X, "weight"),
        (lambda x, other: F.batch_norm(x, other[0, 0, 0, :2], other[0, 0, 0, :2]), X, "running_mean"),
        (lambda x, other: F.linear(x, other[0, 0]), X, "weight"),
        (lambda x, other: F.cross_entropy(x, other[0, 0, 0, :2].astype(int)), X[0, 0, :2], "target"),
        (lambda x, other: F.cross_entropy(x, x[:, 0].astype(int), other[0, 0, 0]), X[0, 0, :2], "weight"),
    ],
)
def test_passes_over_a_mix_of_host_and_device_name_the_argument(call, first, name):
    for one, other in ((first, on_device(X)), (on_device(first), X)):
        with pytest.raises(DeviceError, match=f"input is on device .* but {name} is on device"):
            call(one, other)
