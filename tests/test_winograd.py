"""Winograd's minimal filtering: its tiles, its errors, where NaN and infinities land, and who may choose it."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from support.backends import compiled_backends
from support.cases import WINOGRAD
from support.data import FORMATS, assert_same_bits, in_format, integers
from support.kernel_calls import ROUNDING, activations, assert_exact, geometry_of, problem_of, run_fenced

import fastconv as fc
import fastconv.functional as F
from fastconv import _kernels, nn
from fastconv._kernels.contract import Declined
from fastconv._kernels.plan.winograd import CHOICES, Choice
from fastconv.arrays import CHANNELS_LAST
from fastconv.bench.cases import ConvCase
from fastconv.dtypes import FLOAT_TYPES

OPERATIONS = ("conv2d_forward", "conv2d_grad_input", "conv2d_grad_weight")
# Units of roundoff times the largest sum of magnitudes in a tile that a result may be wrong by, and how many more a
# gradient of the weight may be.
BOUNDS = {"winograd2": 16, **ROUNDING}
OF_WEIGHT = {"winograd2": 16, "winograd4": 0}
SIZES = {"winograd2": 2, "winograd4": 4}
every_operation = pytest.mark.parametrize("op", OPERATIONS)
of_activations = pytest.mark.parametrize("op", OPERATIONS[:2])
every_variant = pytest.mark.parametrize("variant", BOUNDS)
every_case = pytest.mark.parametrize("case", WINOGRAD, ids=lambda case: case.name)
LAYER = ConvCase("layer", "here", (2, 64, 13, 15), (48, 64, 3, 3), padding=1)


def problem(op, case, variant=None, dtype="float32", formats=CHANNELS_LAST, **options):
    """``formats``: one for all, or one for each of what lies in a memory format."""
    given = [formats] * len(activations(op)) if isinstance(formats, str) else formats
    return problem_of(op, geometry_of(case), dtype, given, {"bias"} if case.bias else (), variant, **options)


def run(backend, op, case, variant, inputs, **options):
    (output,) = run_fenced(backend, op, problem(op, case, variant, **options), inputs).values()
    return output


def normal_inputs(rng, case):
    g = geometry_of(case)
    shapes = {"x": g.x_shape, "weight": g.weight_shape, "bias": (g.K,), "grad_out": g.out_shape}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def wide(inputs, change=lambda values: values):
    return {name: change(values.astype(np.float64)) for name, values in inputs.items()}


@compiled_backends
@every_operation
@every_case
def test_tiles_give_the_bits_of_the_reference_on_integers(backend, op, case):
    activation = "relu" if op == "conv2d_forward" else None
    assert_exact(backend, op, case, "float32")
    assert_exact(backend, op, case, "float32", activation=activation)


def of_tiles(scale, size):
    """For every target the largest value of its tile."""
    largest = scale.copy()
    for row, col in itertools.product(range(0, scale.shape[2], size), range(0, scale.shape[3], size)):
        tile = np.s_[:, :, row : row + size, col : col + size]
        largest[tile] = scale[tile].max(axis=(2, 3), keepdims=True)
    return largest


@compiled_backends
@every_operation
@every_variant
@pytest.mark.parametrize("case", [*WINOGRAD, LAYER], ids=lambda case: case.name)
def test_errors_keep_the_bound_of_the_variant(backend, op, variant, case, rng):
    inputs = normal_inputs(rng, case)
    found = run(backend, op, case, variant, inputs)
    exact = run("reference", op, case, None, wide(inputs), dtype="float64")
    scale = run("reference", op, case, None, wide(inputs, np.abs), dtype="float64")
    of_weight = op == "conv2d_grad_weight"
    scale = scale.max(axis=(2, 3), keepdims=True) if of_weight else of_tiles(scale, SIZES[variant])
    error = np.max(np.abs(found - exact) / scale) / FLOAT_TYPES["float32"].unit_roundoff
    assert error <= BOUNDS[variant] + of_weight * OF_WEIGHT[variant], f"{error:.1f} u"


@compiled_backends
@every_operation
@every_variant
@pytest.mark.parametrize("case", [*WINOGRAD, LAYER], ids=lambda case: case.name)
def test_memory_formats_change_no_bit(backend, op, variant, case, rng):
    inputs = normal_inputs(rng, case)
    expected = run(backend, op, case, variant, inputs)
    for formats in itertools.product(FORMATS, repeat=2):
        assert_same_bits(run(backend, op, case, variant, inputs, formats=formats), expected)


@compiled_backends
@every_operation
@every_variant
@pytest.mark.parametrize("formats", FORMATS)
def test_what_is_not_finite_lands_where_direct_sums_put_it(backend, op, variant, formats, rng):
    inputs = normal_inputs(rng, LAYER)
    for name in ("x", "grad_out"):
        inputs[name][0, 3, 4, 4], inputs[name][0, 5, 9, 1] = np.inf, -np.inf
        inputs[name][1, 2, 0, 14], inputs[name][1, 7, 12, 0] = np.nan, np.inf
    found, expected = (run(backend, op, LAYER, name, inputs, formats=formats) for name in (variant, "direct"))
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(found), kind(expected))
    finite = np.isfinite(expected)
    assert 0 < (~finite).sum() < finite.sum()
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-4, atol=2e-3)


@compiled_backends
@of_activations
@every_variant
@pytest.mark.parametrize(("C", "K"), [(352, 80), (80, 352)])
def test_sums_in_several_parts_are_mended_too(backend, op, variant, C, K, rng):
    case = ConvCase("parts", "here", (1, C, 5, 6), (K, C, 3, 3), padding=1)
    inputs = normal_inputs(rng, case)
    inputs["x"][0, 3, 4, 4] = inputs["grad_out"][0, 5, 1, 0] = np.inf
    found, expected = (run(backend, op, case, name, inputs) for name in (variant, "direct"))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    assert finite.any()
    assert not finite.all()
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-4, atol=5e-3)


@compiled_backends
@of_activations
def test_a_weight_is_transformed_on_the_way_where_few_blocks_of_tiles_do(backend, op):
    prepare = _kernels.load(backend).prepare
    cases = (ConvCase("14 x 14", "here", (N, 64, 14, 14), (64, 64, 3, 3), padding=1) for N in (1, 6, 7))
    kernels = [prepare(op, problem(op, case, "winograd4")) for case in cases]
    # 16, 96 and 112 tiles in blocks of at most 48.
    assert [kernel.run_unpacked is not None for kernel in kernels] == [True, True, False]


@compiled_backends
@every_variant
@pytest.mark.parametrize(
    ("operand", "place", "value"), [("x", (0, 3, 4, 4), np.inf), ("grad_out", (1, 9, 0, 0), np.nan)]
)
def test_a_gradient_that_is_not_finite_is_the_direct_one(backend, variant, operand, place, value, rng):
    inputs = normal_inputs(rng, LAYER)
    inputs[operand][place] = value
    found, expected = (run(backend, "conv2d_grad_weight", LAYER, name, inputs) for name in (variant, "direct"))
    assert_same_bits(found, expected)
    assert 0 < (~np.isfinite(expected)).sum() < np.isfinite(expected).sum()


@compiled_backends
def test_a_huge_value_disturbs_a_gradient_by_no_more_than_the_window_grown_by_a_pixel(backend, rng):
    inputs, op = normal_inputs(rng, LAYER), "conv2d_grad_weight"
    for name in ("x", "grad_out"):
        inputs[name] = (inputs[name] * 10.0 ** rng.uniform(-6, 6, inputs[name].shape)).astype(np.float32)
    found = run(backend, op, LAYER, "winograd2", inputs)
    exact = run("reference", op, LAYER, None, wide(inputs), dtype="float64")
    # Taps one row or column outside of the kernel are those of one of 5 x 5 with a wider padding.
    larger = ConvCase("grown", "here", LAYER.x_shape, (*LAYER.weight_shape[:2], 5, 5), padding=2)
    scale = run("reference", op, larger, None, wide(inputs, np.abs), dtype="float64")
    grown = np.lib.stride_tricks.sliding_window_view(scale, (3, 3), (2, 3)).max(axis=(4, 5))
    terms = inputs["grad_out"][:, 0].size
    assert np.max(np.abs(found - exact) / grown) <= (terms + 2) * FLOAT_TYPES["float32"].unit_roundoff


@compiled_backends
@every_variant
def test_grad_weight_is_the_adjoint_of_forward(backend, variant, rng):
    for case in (LAYER, *WINOGRAD):
        case = replace(case, bias=False)
        inputs = normal_inputs(rng, case)
        out, grad_weight = (run(backend, op, case, variant, inputs) for op in ("conv2d_forward", "conv2d_grad_weight"))
        left, right = (
            (result.astype(np.float64) * inputs[name]).ravel()
            for result, name in ((out, "grad_out"), (grad_weight, "weight"))
        )
        size = np.sqrt(np.sum(left**2) + np.sum(right**2))
        assert abs(left.sum() - right.sum()) <= 1e-4 * size, case.name


@pytest.mark.usefixtures("_restore_settings")
@compiled_backends
@every_variant
@pytest.mark.parametrize("case", [LAYER, *WINOGRAD], ids=lambda case: case.name)
def test_a_gradient_does_not_depend_on_the_number_of_threads(backend, variant, case, rng):
    inputs, found = normal_inputs(rng, case), []
    for threads in (1, 2, 3):
        fc.set_num_threads(threads)
        found.append(run(backend, "conv2d_grad_weight", case, variant, inputs))
    for other in found[1:]:
        assert_same_bits(other, found[0])


@compiled_backends
@of_activations
@every_variant
def test_an_infinite_weight_has_no_effect_over_padding(backend, op, variant, rng):
    inputs = normal_inputs(rng, LAYER)
    inputs["weight"][3, 5, 0, 0] = np.inf
    inputs["weight"][7, 2, 2, 1] = np.nan
    found, expected = (run(backend, op, LAYER, name, inputs) for name in (variant, "direct"))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    assert np.isfinite(expected).any()


@compiled_backends
@every_variant
def test_activations_keep_nan_and_do_not_hide_what_is_not_finite(backend, variant, rng):
    inputs = normal_inputs(rng, LAYER)
    inputs["x"][0, 3, 4, 4], inputs["x"][1, 2, 0, 14] = -np.inf, np.nan
    plain, rectified, capped = (
        run(backend, "conv2d_forward", LAYER, variant, inputs, activation=activation)
        for activation in (None, "relu", "relu6")
    )
    assert_same_bits(rectified, np.where(plain < 0, np.float32(0), plain))
    assert_same_bits(capped, np.where(rectified > 6, np.float32(6), rectified))
    assert (capped == 6).any()


@pytest.mark.usefixtures("_restore_settings")
@compiled_backends
@every_variant
@pytest.mark.parametrize("formats", FORMATS)
def test_a_result_does_not_depend_on_the_batch_nor_on_the_number_of_threads(backend, variant, formats, rng):
    inputs = normal_inputs(rng, LAYER)
    both = run(backend, "conv2d_forward", LAYER, variant, inputs, formats=formats)
    alone = ConvCase("layer", "here", (1, 64, 13, 15), (48, 64, 3, 3), padding=1)
    fc.set_num_threads(1)
    for n in range(2):
        single = run(backend, "conv2d_forward", alone, variant, inputs | {"x": inputs["x"][n : n + 1]}, formats=formats)
        assert_same_bits(single, both[n : n + 1])


@compiled_backends
@every_operation
def test_precision_decides_and_a_name_wins(backend, op):
    prepare = _kernels.load(backend).prepare
    chosen = {level: prepare(op, replace(problem(op, LAYER), precision=level)).variant for level in fc.precision.LEVELS}
    assert chosen == {"strict": "direct", "high": "winograd2", "fast": "winograd4"}
    assert prepare(op, problem(op, LAYER, "winograd4")).variant == "winograd4"


@compiled_backends
@pytest.mark.parametrize(("targets", "forward", "grad_input"), [(5, 0, 0), (6, 2, 2), (7, 2, 4), (8, 4, 4)])
def test_a_gradient_takes_the_larger_tiles_on_smaller_maps(backend, targets, forward, grad_input):
    case = ConvCase("small maps", "here", (1, 32, targets, targets), (32, 32, 3, 3), padding=1)
    for op, size in zip(OPERATIONS, (forward, grad_input), strict=False):
        kernel = _kernels.load(backend).prepare(op, replace(problem(op, case), precision="fast"))
        assert kernel.variant == (f"winograd{size}" if size else "direct")


@compiled_backends
def test_where_all_images_have_few_tiles_these_are_the_smaller_ones(backend):
    prepare, op, found = _kernels.load(backend).prepare, "conv2d_grad_weight", []
    for N, precision in ((1, "fast"), (2, "fast"), (3, "high"), (4, "high")):
        case = ConvCase("small maps", "here", (N, 32, 7, 7), (32, 32, 3, 3), padding=1)
        found.append(prepare(op, replace(problem(op, case), precision=precision)))
    assert [kernel.variant for kernel in found] == ["direct", "winograd4", "direct", "winograd2"]
    assert "4 tiles of all images are fewer than 8" in found[0].choice[0]
    assert "8 tiles of all images at least 8" in found[1].choice[0]


@compiled_backends
@every_variant
@pytest.mark.parametrize(
    ("case", "dtype", "formats", "reason"),
    [
        (ConvCase("strided", "here", (1, 32, 9, 9), (32, 32, 3, 3), stride=2), "float32", CHANNELS_LAST, "3 x 3"),
        (ConvCase("dilated", "here", (1, 32, 9, 9), (32, 32, 3, 3), dilation=2), "float32", CHANNELS_LAST, "3 x 3"),
        (ConvCase("five", "here", (1, 32, 9, 9), (32, 32, 5, 5)), "float32", CHANNELS_LAST, "3 x 3"),
        (ConvCase("far", "here", (1, 32, 9, 9), (32, 32, 3, 3), padding=3), "float32", CHANNELS_LAST, "wider"),
        (
            ConvCase("circular", "here", (1, 32, 9, 9), (32, 32, 3, 3), padding=1, padding_mode="circular"),
            *("float32", CHANNELS_LAST, "circular"),
        ),
        (LAYER, "float64", CHANNELS_LAST, "not float32"),
        (ConvCase("few", "here", (1, 3, 9, 9), (32, 3, 3, 3)), "float32", CHANNELS_LAST, "leave lanes empty"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_has_no_tiles_is_declined_with_the_reason(backend, variant, case, dtype, formats, reason):
    for op in OPERATIONS:
        answer = _kernels.load(backend).prepare(op, problem(op, case, variant, dtype, formats))
        assert isinstance(answer, Declined)
        assert reason in answer.reason


def explained(backend, level, shape, K=32, formats=CHANNELS_LAST):
    """The only step of a layer at a precision."""
    x = in_format(np.zeros(shape, np.float32), formats)
    weight = np.zeros((K, shape[1], 3, 3), np.float32)
    with fc.use_backend(backend), fc.use_precision(level):
        explanation = fc.explain(F.conv2d, x, weight, padding=1)
    (step,) = explanation.steps
    for line in step.choice:
        assert line in str(explanation)
    assert f"precision {level}" in str(explanation)
    return step


@compiled_backends
@pytest.mark.parametrize("level", fc.precision.LEVELS)
@pytest.mark.parametrize("size", CHOICES)
def test_explain_quotes_the_rule_of_choice_with_the_numbers_of_the_call(backend, level, size):
    rule, name = CHOICES[size], f"winograd{size}"
    for channels, extent in itertools.product((rule.channels, rule.channels - 1), (rule.extent, rule.extent - 1)):
        step = explained(backend, level, (1, channels, rule.extent + 3, extent), K=rule.channels + 5)
        assert step.precision == level
        told = " ".join(step.choice)
        rejection = rule.rejection(channels, extent, level)
        if rejection:
            assert f"{name} declines: {rejection}" in told
        elif step.variant == name:
            assert f"{name} is chosen: {rule.reason(channels, extent, level)}" in told
            assert {str(channels), str(extent), level} <= set(re.findall(r"\w+", told))
        assert (step.variant == name) == (f"{name} is chosen" in told)


def test_a_rejection_names_what_is_missing_and_a_reason_all_that_is_there():
    rule = Choice(("high", "fast"), 32, 10)
    assert rule.rejection(32, 10, "high") is None
    assert rule.rejection(64, 56, "strict") == "the precision is strict, not high or fast"
    assert rule.rejection(31, 10, "fast") == "31 channels of a group are fewer than 32"
    assert rule.rejection(32, 9, "high") == "9 rows or columns of targets are fewer than 10"
    assert rule.reason(64, 56, "high") == (
        "the precision is high, 64 channels of a group are at least 32, 56 rows or columns of targets at least 10"
    )


@compiled_backends
def test_explain_tells_nothing_of_the_rule_where_filters_are_others(backend):
    with fc.use_backend(backend):
        (pointwise,) = fc.explain(F.conv2d, (1, 64, 20, 20), (64, 64, 1, 1)).steps
        (strided,) = fc.explain(F.conv2d, (1, 64, 20, 20), (64, 64, 3, 3), stride=2).steps
    assert pointwise.choice == strided.choice == ()


def test_layers_that_one_rule_decides_stand_together():
    layers = [nn.Conv2d(32, 32, 3, padding=1) for _ in range(3)]
    with fc.use_precision("fast"):
        x = in_format(np.zeros((1, 32, 16, 16), np.float32), CHANNELS_LAST)
        explanation = fc.explain(nn.Sequential(*layers, nn.Conv2d(32, 32, 7)), x)
    text = str(explanation)
    assert text.count("conv2d_forward 0, 1, 2:") == 1
    assert [step.layer for step in explanation.steps if step.choice] == ["0", "1", "2"]


def test_precision_is_high_unless_it_is_set():
    assert fc.get_precision() == "high"
    with fc.use_precision("fast"):
        assert fc.get_precision() == "fast"
        with fc.use_precision("strict"):
            assert fc.get_precision() == "strict"
        assert fc.get_precision() == "fast"
    fc.set_precision("strict")
    try:
        assert fc.get_precision() == "strict"
    finally:
        fc.set_precision("high")
    for wrong in ("highest", None, 1, np.array(["high", "fast"])):
        with pytest.raises(ValueError, match="precision must be one of 'strict', 'high', 'fast'"):
            fc.set_precision(wrong)
        with pytest.raises(ValueError, match="precision must be one of"):
            fc.use_precision(wrong)
    assert fc.get_precision() == "high"


@compiled_backends
def test_backward_keeps_the_precision_of_forward(backend, rng):
    x, weight = (
        fc.tensor(in_format(integers(rng, shape), CHANNELS_LAST), requires_grad=True)
        for shape in ((1, 32, 12, 12), (32, 32, 3, 3))
    )
    with fc.use_backend(backend), fc.use_precision("strict"):
        out = F.conv2d(x, weight, padding=1)
    with fc.backends.recording() as records:
        out.backward(np.ones(out.shape, np.float32))
    assert [record.variant for record in records if record.op in OPERATIONS[1:]] == ["direct", "direct"]


@compiled_backends
def test_what_is_repeated_asks_for_the_precision_again(backend, rng):
    fc.manual_seed(1)
    model = fc.fuse(nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1)).eval())
    x = rng.normal(size=(1, 3, 16, 16)).astype(np.float32)
    found = {}
    with fc.use_backend(backend):
        for level in fc.precision.LEVELS:
            with fc.use_precision(level):
                found[level] = [model(x).numpy() for _ in range(6)]
    for results in found.values():
        for repeated in results[1:]:
            assert_same_bits(repeated, results[0])
    assert (found["fast"][0] != found["strict"][0]).any()
