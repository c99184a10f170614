"""Passes over whole arrays, kernel by kernel: the reference's bits on small integers, nothing written elsewhere."""

import itertools

import numpy as np
import pytest
from support.backends import compiled_backends, every_backend
from support.data import DTYPES, FORMATS, Aligned, Fenced, assert_same_bits, in_format, integers
from support.kernel_calls import activations, operand_dtype, operand_shape, problem_of, run_fenced

from fastconv import backends
from fastconv._kernels.contract import ADAM_SETTINGS, OPERATIONS, RELU, SGD_SETTINGS
from fastconv.geometry import ChannelsGeometry, ClassesGeometry, ElementsGeometry

SIZES = [(1,), (15,), (1024,), (1025,), (7, 300), (2, 3, 5, 7), (1, 70_001)]
SHAPES = [(2, 1, 1, 1), (1, 3, 2, 1), (3, 5, 1, 1), (40, 33, 1, 1), (2, 17, 7, 7), (3, 64, 5, 9), (2, 70, 14, 14)]
SHAPES += [(300, 3, 4, 4), (1, 2, 65, 41), (2, 1100, 2, 3)]
PASSES = ("relu_forward", "relu_grad_input", "add_relu_forward", "hardtanh_forward", "hardtanh_grad_input")
NORMS = tuple(op for op in OPERATIONS if op.startswith("batch_norm"))
SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 1e-45, -1e-45]

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_format = pytest.mark.parametrize("wanted", FORMATS)


def inputs_of(op, geometry, dtype, rng):
    problem = problem_of(op, geometry, dtype, ())
    names = (*OPERATIONS[op].inputs, *(OPERATIONS[op].outputs if op.endswith("_") else ()))
    return {name: integers(rng, operand_shape(op, geometry, name), operand_dtype(problem, name)) for name in names}


def compare(backend, op, geometry, dtype, inputs, wanted, present=(), activation=None, fence=Fenced):
    formats = [wanted] * len(
        [name for name in activations(op) if name in present or name not in OPERATIONS[op].optional]
    )
    problem = problem_of(op, geometry, dtype, formats, present, activation=activation)
    found, expected = (run_fenced(name, op, problem, inputs, fence) for name in (backend, "reference"))
    for name, array in expected.items():
        yield name, found[name], array


@compiled_backends
@every_dtype
@pytest.mark.parametrize("op", PASSES)
@pytest.mark.parametrize("shape", SIZES)
def test_elementwise_passes_give_the_references_bits(rng, backend, op, shape, dtype):
    geometry = ElementsGeometry(shape)
    for wanted in FORMATS if len(shape) == 4 else FORMATS[:1]:
        for _, found, expected in compare(backend, op, geometry, dtype, inputs_of(op, geometry, dtype, rng), wanted):
            assert_same_bits(found, expected, (op, shape, wanted))


@every_backend
@every_dtype
def test_the_rectifier_keeps_nan_and_the_sign_of_zero(backend, dtype):
    x = np.resize(np.array(SPECIAL, dtype), 1000)
    geometry = ElementsGeometry(x.shape)
    problem = problem_of("relu_forward", geometry, dtype, FORMATS[:1] * 2)
    out = run_fenced(backend, "relu_forward", problem, {"x": x})["out"]
    assert_same_bits(out, np.where(x < 0, np.array(0, dtype), x))
    problem = problem_of("relu_grad_input", geometry, dtype, FORMATS[:1] * 3)
    grad = np.resize(np.array(SPECIAL[::-1], dtype), 1000)
    found = run_fenced(backend, "relu_grad_input", problem, {"grad_out": grad, "out": out})["grad_input"]
    assert_same_bits(found, np.where(out == 0, np.array(0, dtype), grad))


@compiled_backends
@every_dtype
@every_format
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("op", "activation", "present"), [
    ("batch_norm_forward", None, ()),
    ("batch_norm_forward", RELU, ()),
    ("batch_norm_forward", None, ("residual",)),
    ("batch_norm_forward", RELU, ("residual",)),
    ("batch_norm_grad_sums", None, ()),
    ("batch_norm_grad_sums", RELU, ()),
    ("batch_norm_grad_input", None, ()),
    ("batch_norm_grad_input", None, ("x",)),
    ("batch_norm_grad_input", RELU, ("x",)),
])  # fmt: skip
def test_normalisations_give_the_references_bits(rng, backend, op, activation, present, shape, wanted, dtype):
    geometry = ChannelsGeometry.of(shape)
    inputs = inputs_of(op, geometry, dtype, rng)
    for name, found, expected in compare(backend, op, geometry, dtype, inputs, wanted, present, activation):
        assert_same_bits(found, expected, (op, name))


@every_backend
@every_dtype
@every_format
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("offset", [0, 1000])
def test_statistics_are_those_of_float64(rng, backend, dtype, wanted, shape, offset):
    x = (rng.standard_normal(shape) + offset).astype(dtype)
    problem = problem_of("batch_norm_statistics", ChannelsGeometry.of(shape), dtype, [wanted])
    found = run_fenced(backend, "batch_norm_statistics", problem, {"x": in_format(x, wanted)})
    wide = x.astype(np.float64)
    # What is rounded are distances from a value among the data, not the data.
    np.testing.assert_allclose(found["mean"], wide.mean(axis=(0, 2, 3)), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found["variance"], wide.var(axis=(0, 2, 3)), rtol=2e-5, atol=1e-12)


@every_backend
@every_dtype
@every_format
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (4, 3, 40, 40), (300, 3, 2, 2), (7, 3, 1, 5)])
@pytest.mark.parametrize("last", [False, True])
def test_the_mean_of_infinite_values_is_infinite(rng, backend, dtype, wanted, shape, last):
    """As torch has it: the variance is NaN, and so is the mean of both infinities."""
    x = rng.standard_normal(shape).astype(dtype)
    image, column = (-1, -1) if last else (0, 0)
    x[image, 0, 0, column] = np.inf
    x[image, 1, 0, column] = -np.inf
    x[:, 2, 0, 0], x[-1, 2, 0, -1] = np.inf, -np.inf
    problem = problem_of("batch_norm_statistics", ChannelsGeometry.of(shape), dtype, [wanted])
    found = run_fenced(backend, "batch_norm_statistics", problem, {"x": in_format(x, wanted)})
    np.testing.assert_array_equal(found["mean"], [np.inf, -np.inf, np.nan])
    assert np.isnan(found["variance"]).all()


@compiled_backends
@pytest.mark.parametrize("wanted", FORMATS)
def test_one_value_far_away_does_not_spoil_the_variance(backend, wanted, rng):
    x = rng.standard_normal((4, 3, 40, 40)).astype(np.float32)
    x[0, :, 0, 0] = 1e4
    problem = problem_of("batch_norm_statistics", ChannelsGeometry.of(x.shape), "float32", [wanted])
    found = run_fenced(backend, "batch_norm_statistics", problem, {"x": in_format(x, wanted)})
    np.testing.assert_allclose(found["variance"], x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-5)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("shape", SIZES)
def test_sums_in_place_give_the_references_bits(rng, backend, shape, dtype):
    geometry = ElementsGeometry(shape)
    for _, found, expected in compare(
        backend, "accumulate_", geometry, dtype, inputs_of("accumulate_", geometry, dtype, rng), None
    ):
        assert_same_bits(found, expected)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("threshold", [0, 1 << 30, (1 << 32) - 1])
def test_dropout_gives_the_references_bits(rng, backend, shape, dtype, threshold):
    geometry = ElementsGeometry(shape)
    x = np.resize(np.array([*SPECIAL, *range(1, 90)], dtype), shape)
    settings = np.array([threshold, 2.5, 3_000_000_001, 4_294_967_295], np.float64)
    inputs = {"x": x, "settings": settings}
    for _, found, expected in compare(backend, "dropout", geometry, dtype, inputs, FORMATS[0]):
        assert_same_bits(found, expected)


def test_dropout_keeps_its_share_and_nothing_repeats(rng):
    geometry = ElementsGeometry((1 << 20,))
    problem = problem_of("dropout", geometry, "float32", FORMATS[:1] * 2)
    ones, masks = np.ones(geometry.shape, np.float32), []
    for seeds in ((0, 0), (1, 0), (0, 1), (123_456_789, 987_654_321)):
        settings = np.array([0.25 * (1 << 32), 1.0, *seeds], np.float64)
        masks.append(run_fenced("reference", "dropout", problem, {"x": ones, "settings": settings})["out"] == 0)
    # Five standard deviations of the mean of as many independent draws.
    bound = 5 * np.sqrt(0.25 * 0.75 / masks[0].size)
    for mask in masks:
        assert abs(mask.mean() - 0.25) < bound
        for shift in (1, 2, 3, 16, 1024):
            assert abs((mask[shift:] & mask[:-shift]).mean() - 0.0625) < bound
    for one, other in itertools.combinations(masks, 2):
        assert abs((one & other).mean() - 0.0625) < bound


@compiled_backends
@every_dtype
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("present", [(), ("momentum_buffer",)])
@pytest.mark.parametrize(("nesterov", "begins", "decay"), [*itertools.product((0, 1), (0, 1), (0, 2))])
def test_steps_of_sgd_give_the_references_bits(rng, backend, shape, dtype, present, nesterov, begins, decay):
    geometry = ElementsGeometry(shape)
    inputs = inputs_of("sgd_step_", geometry, dtype, rng)
    values = {"lr": 2, "weight_decay": decay, "momentum": 3, "share": 2, "nesterov": nesterov, "begins": begins}
    inputs["settings"] = np.array([values[name] for name in SGD_SETTINGS], np.float64)
    for name, found, expected in compare(backend, "sgd_step_", geometry, dtype, inputs, None, present):
        assert_same_bits(found, expected, name)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("present", [(), ("max_exp_avg_sq",)])
@pytest.mark.parametrize(("decay", "shrink"), [(0.0, 1.0), (0.1, 1.0), (0.0, 0.9)])
def test_steps_of_adam_agree_with_the_reference(rng, backend, shape, dtype, present, decay, shrink):
    geometry = ElementsGeometry(shape)
    inputs = inputs_of("adam_step_", geometry, dtype, rng)
    inputs |= {name: np.abs(inputs[name]) for name in ("exp_avg_sq", "max_exp_avg_sq")}
    values = {"step_size": 0.01, "weight_decay": decay, "shrink": shrink, "share": 0.1, "keep_square": 0.999}
    values |= {"share_square": 0.001, "root": 0.5, "eps": 1e-8}
    inputs["settings"] = np.array([values[name] for name in ADAM_SETTINGS], np.float64)
    for name, found, expected in compare(backend, "adam_step_", geometry, dtype, inputs, None, present):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@compiled_backends
@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (7, 10), (3, 1000), (2, 5, 70), (4, 3, 130)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_passes_over_classes_agree_with_the_reference(rng, backend, shape, smoothing, dtype):
    geometry = ClassesGeometry.of(shape, 1)
    x = (10 * rng.standard_normal(geometry.x_shape)).astype(dtype)
    x[0, 0] = -np.inf
    x[-1, -1, -1] = np.nan
    target = rng.integers(0, geometry.C, (geometry.N, geometry.pixels))
    target[rng.random(target.shape) < 0.2] = -100
    inputs = {"x": x, "target": target, "settings": np.array([smoothing])}
    inputs |= {"class_weight": rng.uniform(0, 2, geometry.C).astype(dtype)}
    inputs["class_weight"][0] = 0
    gradients = {"grad_out": geometry.x_shape, "grad_losses": target.shape}
    inputs |= {name: rng.standard_normal(extent).astype(dtype) for name, extent in gradients.items()}
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-12}
    for op in ("log_softmax_forward", "cross_entropy_forward", "log_softmax_grad_input", "cross_entropy_grad_input"):
        for name, found, expected in compare(backend, op, geometry, dtype, inputs, FORMATS[0]):
            np.testing.assert_allclose(found, expected, **tolerance, err_msg=f"{op}: {name}")
            inputs.setdefault(name, expected)


@compiled_backends
@every_format
@pytest.mark.parametrize("op", ["relu_forward", "add_relu_forward", "relu_grad_input", *NORMS])
def test_results_do_not_depend_on_the_threads(rng, backend, op, wanted):
    shape = (9, 48, 23, 31)
    geometry = ElementsGeometry(shape) if op in PASSES else ChannelsGeometry.of(shape)
    problem = problem_of(op, geometry, "float32", [wanted] * len(activations(op)), OPERATIONS[op].optional)
    inputs = {
        name: in_format(rng.standard_normal(operand_shape(op, geometry, name)).astype(np.float32), wanted)
        for name in OPERATIONS[op].inputs
    }
    results, threads = [], backends.get_num_threads()
    try:
        for count in (1, 2, 3, 7):
            backends.set_num_threads(count)
            results.append(run_fenced(backend, op, problem, inputs))
    finally:
        backends.set_num_threads(threads)
    for other in results[1:]:
        for name, array in other.items():
            assert_same_bits(array, results[0][name], name)


@compiled_backends
@every_format
@pytest.mark.parametrize(
    "op", ["relu_forward", "add_relu_forward", "relu_grad_input", "batch_norm_forward", "batch_norm_grad_input"]
)
def test_targets_past_the_caches(rng, backend, op, wanted, monkeypatch):
    """The threshold is lowered, so that small arrays are written as large ones are."""
    from fastconv._kernels.plan import blocks

    monkeypatch.setattr(blocks, "STREAMED_BYTES", 1)
    for shape, fence in itertools.product([(2, 48, 16, 20), (1, 16, 5, 7)], (Fenced, Aligned)):
        geometry = ElementsGeometry(shape) if op in PASSES else ChannelsGeometry.of(shape)
        inputs = inputs_of(op, geometry, "float32", rng)
        for name, found, expected in compare(
            backend, op, geometry, "float32", inputs, wanted, OPERATIONS[op].optional, fence=fence
        ):
            assert_same_bits(found, expected, (op, shape, name))
