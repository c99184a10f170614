"""Passes over whole arrays, as ``support.cuda_check`` does for the others: ``python -m support.cuda_passes NAME``."""

import contextlib
import itertools
import sys

import numpy as np

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, nn, optim
from fastconv._kernels import numba_cuda
from fastconv._kernels.contract import ADAM_SETTINGS, OPERATIONS, RELU, RESPONSE_SETTINGS, SGD_SETTINGS
from fastconv._kernels.numba_cuda import batch_norm
from fastconv._kernels.numba_cuda.settings import SIMULATED
from fastconv.geometry import ChannelsGeometry, ClassesGeometry, ElementsGeometry, ResponseGeometry
from support import false_cupy
from support.cuda_arrays import HAS_GPU, DeviceAligned, DeviceFenced, a_gpu
from support.cuda_cases import POOLS
from support.cuda_check import exact
from support.data import DTYPES, FORMATS, assert_same_bits, in_format, integers, named_rng, on_host
from support.kernel_calls import activations, operand_dtype, operand_shape, problem_of, run_fenced

SIZES = ((1,), (37,), (2, 3, 3, 4))
FENCES = (DeviceFenced, DeviceAligned)
# Sums in two parts, of channels that take one block or two.
NORMS = (((2, 3, 3, 3), FORMATS[0]), ((2, 3, 3, 3), FORMATS[1]), ((4, 34, 2, 2), FORMATS[1]))
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 1e-45, -1e-45)


def inputs_of(op, geometry, dtype, rng):
    """Small integers for everything that an operation reads."""
    problem = problem_of(op, geometry, dtype, ())
    names = (*OPERATIONS[op].inputs, *(OPERATIONS[op].outputs if op.endswith("_") else ()))
    return {name: integers(rng, operand_shape(op, geometry, name), operand_dtype(problem, name)) for name in names}


def compare(op, geometry, dtype, inputs, wanted=FORMATS[0], present=(), activation=None, fence=DeviceFenced):
    """Name, what the kernel gives, and what the reference gives of every output."""
    formats = [wanted for name in activations(op) if name in present or name not in OPERATIONS[op].optional]
    problem = problem_of(op, geometry, dtype, formats, present, activation=activation)
    found, expected = run_fenced("cuda", op, problem, inputs, fence), run_fenced("reference", op, problem, inputs)
    assert found is not None, (op, problem)
    return [(name, np.asarray(found[name]), array) for name, array in expected.items()]


def operations():
    """There is a kernel for every operation of the contract, for both dtypes."""
    assert set(numba_cuda.VARIANTS) == set(OPERATIONS)


def elementwise():
    """The reference's bits, from vectors and from single elements."""
    rng = named_rng("elementwise")
    names = ("relu_forward", "relu_grad_input", "add_relu_forward", "hardtanh_forward", "hardtanh_grad_input")
    for op in (*names, "accumulate_"):
        for shape, (dtype, fence) in itertools.product(SIZES, zip(DTYPES, FENCES, strict=True)):
            geometry = ElementsGeometry(shape)
            inputs = inputs_of(op, geometry, dtype, rng)
            for wanted in FORMATS if len(shape) == 4 else FORMATS[:1]:
                for _, found, expected in compare(op, geometry, dtype, inputs, wanted, fence=fence):
                    assert_same_bits(found, expected, (op, shape, wanted))
    x = np.array(SPECIAL, np.float32)
    for op, inputs in (("relu_forward", {"x": x}), ("relu_grad_input", {"grad_out": x, "out": x[::-1]})):
        for _, found, expected in compare(op, ElementsGeometry(x.shape), "float32", inputs, fence=DeviceAligned):
            assert_same_bits(found, expected, op)


def responses():
    """The reference but for rounding, of planes and of single pixels."""
    rng = named_rng("responses")
    for shape, size, beta in (((2, 7, 5), 5, 0.75), ((3, 4, 1), 2, 0.6), ((1, 3, 40), 9, 1.0), ((40, 1, 1), 1, 0.5)):
        geometry, dtype = ResponseGeometry.of(shape, 1, size), DTYPES[size % 2]
        values = {"alpha": 0.5, "beta": beta, "k": 2.0}
        inputs = {"settings": np.array([values[name] for name in RESPONSE_SETTINGS])}
        inputs |= {name: rng.standard_normal(shape).astype(dtype) for name in ("x", "grad_out")}
        tolerance = 2e-6 if dtype == DTYPES[0] else 1e-14
        for op in (name for name in OPERATIONS if name.startswith("local_response_norm")):
            for _, found, expected in compare(op, geometry, dtype, inputs):
                np.testing.assert_allclose(found, expected, rtol=10 * tolerance, atol=tolerance, err_msg=op)


def dropout():
    """The random bits of the reference."""
    for (dtype, fence), threshold in itertools.product(zip(DTYPES, FENCES, strict=True), (0, 1 << 30, (1 << 32) - 1)):
        x = np.resize(np.array([*SPECIAL, *range(1, 90)], dtype), (101,))
        inputs = {"x": x, "settings": np.array([threshold, 2.5, 3_000_000_001, 4_294_967_295], np.float64)}
        for _, found, expected in compare("dropout", ElementsGeometry(x.shape), dtype, inputs, fence=fence):
            assert_same_bits(found, expected)


def steps():
    """SGD to the bit on integers; Adam but for rounding."""
    rng = named_rng("steps")
    for present, nesterov, begins, decay in itertools.product((0, 1), repeat=4):
        geometry, dtype, fence = ElementsGeometry((37,)), DTYPES[decay], FENCES[begins]
        inputs = inputs_of("sgd_step_", geometry, dtype, rng)
        values = {"lr": 2, "weight_decay": 2 * decay, "momentum": 3, "share": 2, "nesterov": nesterov, "begins": begins}
        inputs["settings"] = np.array([values[name] for name in SGD_SETTINGS], np.float64)
        kept = ("momentum_buffer",) if present else ()
        for name, found, expected in compare("sgd_step_", geometry, dtype, inputs, None, kept, fence=fence):
            assert_same_bits(found, expected, name)
    for present, (decay, shrink) in itertools.product((0, 1), ((0.0, 1.0), (0.1, 1.0), (0.0, 0.9))):
        geometry, dtype, fence = ElementsGeometry((37,)), DTYPES[present], FENCES[present]
        inputs = inputs_of("adam_step_", geometry, dtype, rng)
        inputs |= {name: np.abs(inputs[name]) for name in ("exp_avg_sq", "max_exp_avg_sq")}
        inputs["max_exp_avg_sq"][0] = np.nan
        values = {"step_size": 0.01, "weight_decay": decay, "shrink": shrink, "share": 0.1, "keep_square": 0.999}
        values |= {"share_square": 0.001, "root": 0.5, "eps": 1e-8}
        inputs["settings"] = np.array([values[name] for name in ADAM_SETTINGS], np.float64)
        kept = ("max_exp_avg_sq",) if present else ()
        for name, found, expected in compare("adam_step_", geometry, dtype, inputs, None, kept, fence=fence):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def classes():
    """One thread for a pixel, and several for its classes."""
    rng = named_rng("classes")
    for shape, dtype, smoothing in (
        ((1, 1), "float32", 0.0),
        ((2, 40), "float32", 0.3),
        ((1, 7), "float64", 0.0),
        ((2, 5, 35), "float64", 0.3),
        ((2, 3, 4), "float32", 0.0),
    ):
        geometry = ClassesGeometry.of(shape, 1)
        x = (10 * rng.standard_normal(geometry.x_shape)).astype(dtype)
        target = rng.integers(0, geometry.C, (geometry.N, geometry.pixels))
        if target.size > 1:
            x[0, 0], x[-1, -1, -1], target[0, -1] = -np.inf, np.nan, -100
        inputs = {"x": x, "target": target, "settings": np.array([smoothing])}
        inputs |= {"class_weight": rng.integers(0, 3, geometry.C).astype(dtype)}
        gradients = {"grad_out": geometry.x_shape, "grad_losses": target.shape}
        inputs |= {name: rng.standard_normal(extent).astype(dtype) for name, extent in gradients.items()}
        tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == DTYPES[0] else {"rtol": 1e-12, "atol": 1e-12}
        for op in (name for name in OPERATIONS if name.startswith(("log_softmax", "cross_entropy"))):
            for name, found, expected in compare(op, geometry, dtype, inputs):
                np.testing.assert_allclose(found, expected, **tolerance, err_msg=f"{op}: {name}")
                inputs.setdefault(name, expected)


def norms():
    """The reference's bits on integers, of passes and of sums in several parts."""
    batch_norm._LEAST_PIXELS = 8
    rng = named_rng("norms")
    for shape, wanted in NORMS:
        geometry, dtype = ChannelsGeometry.of(shape), DTYPES[shape[1] % 2]
        fence = FENCES[shape[1] % 2]
        for op, activation, present in (
            ("batch_norm_forward", None, ()),
            ("batch_norm_forward", RELU, ("residual",)),
            ("batch_norm_grad_sums", None, ()),
            ("batch_norm_grad_sums", RELU, ()),
            ("batch_norm_grad_input", None, ()),
            ("batch_norm_grad_input", RELU, ("x",)),
        ):
            inputs = inputs_of(op, geometry, dtype, rng)
            for name, found, expected in compare(op, geometry, dtype, inputs, wanted, present, activation, fence):
                assert_same_bits(found, expected, (op, shape, wanted, name))


def statistics():
    """Those of float64, however far the values are from zero; of infinite ones as torch has it."""
    batch_norm._LEAST_PIXELS = 8
    rng = named_rng("statistics")
    for shape, wanted in NORMS:
        geometry, dtype = ChannelsGeometry.of(shape), DTYPES[shape[1] % 2]
        x = (rng.standard_normal(shape) + 1000).astype(dtype)
        x[0, 0, 0, 0] = 1e4
        found = {name: array for name, array, _ in compare("batch_norm_statistics", geometry, dtype, {"x": x}, wanted)}
        wide = x.astype(np.float64)
        np.testing.assert_allclose(found["mean"], wide.mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(found["variance"], wide.var(axis=(0, 2, 3)), rtol=1e-9)
        x[0, 0, 0, 0], x[-1, 1, -1, -1], x[-1, 2, 0, 0], x[0, 2, 0, 0] = np.inf, -np.inf, np.inf, -np.inf
        found = {name: array for name, array, _ in compare("batch_norm_statistics", geometry, dtype, {"x": x}, wanted)}
        np.testing.assert_array_equal(found["mean"][:3], [np.inf, -np.inf, np.nan])
        assert np.isnan(found["variance"][:3]).all()


def averages():
    """Both directions in both formats, of windows without gaps."""
    plain = [case for case in POOLS if case.parameters.get("dilation", 1) == 1]
    for index, (case, layout) in enumerate(itertools.product(plain, FORMATS)):
        for op in ("avg_pool2d_forward", "avg_pool2d_grad_input"):
            exact(op, case, DTYPES[index % 3 == 2], (layout, layout))


def results(calls, device):
    """What some calls give on one device, and the gradients of all that they are given."""
    found = []
    for call, *given in calls:
        tensors = [fc.tensor(array).to(device) for array in given]
        for tensor in tensors:
            tensor.requires_grad_(tensor.dtype.kind == "f")
        fc.manual_seed(0)
        out = call(*tensors)
        out.backward(fc.tensor(np.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).to(device))
        assert out.device == device
        found += [tensor.cpu().numpy() for tensor in (out, *(t.grad for t in tensors if t.grad is not None))]
    return found


def normalised(x, weight, bias):
    return F.batch_norm(x, None, None, weight, bias, training=True, activation="relu")


def evaluated(x, mean, variance):
    return F.batch_norm(x, mean.detach(), variance.detach(), activation="relu")


def weighted_loss(x, target, weight):
    return F.cross_entropy(x, target, weight.detach(), reduction="none", label_smoothing=0.1)


def users():
    """Every operation on arrays of a device gives what it gives on the host; the statistics move there, too."""
    rng = named_rng("users of passes")
    x = in_format(rng.standard_normal((2, 3, 4, 4)).astype(np.float32), FORMATS[1])
    rows, labels = rng.standard_normal((3, 5)).astype(np.float32), np.array([1, -100, 4])
    channels = np.arange(1, 4, dtype=np.float32)
    calls = [
        (F.relu, x),
        (F.add_relu, x, in_format(x, FORMATS[0])),
        (F.dropout, x),
        (lambda given: F.dropout(given, 1.0), x),
        (lambda given: F.log_softmax(given, 1), x),
        (F.cross_entropy, rows, labels),
        (weighted_loss, rows, labels, rows[0] ** 2),
        (normalised, x, channels, channels),
        (evaluated, x, channels, channels),
        (lambda given, residual: F.batch_norm(given, None, None, training=True, residual=residual), x, x),
        (lambda given: F.avg_pool2d(given, 3, 2, 1), x),
        (lambda given: F.adaptive_avg_pool2d(given, (1, 3)), x),
        (lambda given: F.max_pool2d(given, 2, activation="relu"), x),
    ]
    with fc.use_backend("reference"):
        expected = results(calls, "cpu")
    with a_gpu() as gpu:
        for one, other in zip(results(calls, gpu), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        moving = [arrays.moved(channels, gpu) for _ in range(2)]
        F.batch_norm(arrays.moved(x, gpu), *moving, training=True)
        np.testing.assert_allclose(on_host(moving[0]), 0.9 * channels + 0.1 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
        # No check waits for the device: what no class can be is NaN there.
        strange = F.cross_entropy(*(arrays.moved(array, gpu) for array in (rows, np.array([1, 5, 0]))))
        assert np.isnan(on_host(strange))


def network():
    """Steps of training change a network as they do on the host, and wait for nothing."""
    rng = named_rng("network")
    x, labels = rng.standard_normal((2, 1, 4, 4)).astype(np.float32), np.array([0, 2])
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    initial = {name: tensor.numpy().copy() for name, tensor in nn.Sequential(*layers).state_dict().items()}

    def trained(device, waiting):
        model, loss = nn.Sequential(*layers), nn.CrossEntropyLoss()
        model.load_state_dict(initial)
        model.zero_grad()
        model.to(device)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        given = [fc.tensor(array).to(device) for array in (x, labels)]
        with waiting():
            for _ in range(2):
                out = model(given[0])
                # Used twice, so that gradients are added up on the way.
                value = loss(F.add_relu(out, out), given[1])
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
        tensors = [value, *(parameter.grad for parameter in model.parameters()), *model.state_dict().values()]
        assert {tensor.device for tensor in tensors} == {device}
        return [tensor.cpu().numpy().copy() for tensor in tensors]

    with fc.use_backend("reference"):
        expected = trained("cpu", contextlib.nullcontext)
    with a_gpu() as gpu:
        for one, other in zip(trained(gpu, never_waiting), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def never_waiting():
    """A ``with`` block in which no value of a simulated device is asked for."""
    return contextlib.nullcontext() if HAS_GPU else false_cupy.never_waiting()


def optimizers():
    """What optimisers remember stays on the device, is saved from it and loaded onto it again.

    A gradient there may be of another memory format.
    """
    rng = named_rng("optimizers")
    initial, grad = (rng.standard_normal((2, 3, 2, 2)).astype(np.float32) for _ in range(2))

    def stepped(device):
        leaf = fc.tensor(initial).to(device).requires_grad_()
        leaf.grad = fc.tensor(in_format(grad, FORMATS[1])).to(device)
        optimizer = optim.AdamW([leaf], amsgrad=True)
        optimizer.step()
        saved = optimizer.state_dict()
        (kept,) = saved["state"].values()
        assert {type(kept[slot]) for slot in optimizer.slots} == {np.ndarray}
        optimizer = optim.AdamW([leaf], amsgrad=True)
        optimizer.load_state_dict(saved)
        optimizer.step()
        kept = [optimizer.state[leaf][slot] for slot in optimizer.slots]
        assert {arrays.device_of(array) for array in (leaf._array, *kept)} == {device}
        return [on_host(array) for array in (leaf._array, *kept)]

    with fc.use_backend("reference"):
        expected = stepped("cpu")
    with a_gpu() as gpu:
        for one, other in zip(stepped(gpu), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)


CHECKS = (
    operations,
    elementwise,
    responses,
    dropout,
    steps,
    classes,
    norms,
    statistics,
    averages,
    users,
    optimizers,
    network,
)


def main():
    assert HAS_GPU or SIMULATED
    checks = {check.__name__: check for check in CHECKS}
    if not sys.argv[1:]:
        print(*checks, sep="\n")
    for name in sys.argv[1:]:
        checks[name]()
        print("checked:", name)


if __name__ == "__main__":
    main()
