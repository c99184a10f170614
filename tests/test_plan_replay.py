"""The plans of the compiled kernels replayed in NumPy, item by item, against the reference."""

import itertools

import numpy as np
import pytest
from support.data import FORMATS
from support.kernel_calls import geometry_of, integer_inputs, reference_outputs

from fastconv._kernels import plan
from fastconv._kernels.plan import VectorUnit
from fastconv.bench.cases import AWKWARD_CONVS
from fastconv.geometry import Conv2dGeometry

UNITS = (VectorUnit(4, 2, 12, 4), VectorUnit(16, 4, 12, 4))
every_case = pytest.mark.parametrize("case", AWKWARD_CONVS, ids=lambda case: case.name)
every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: f"{unit.vectors} x {unit.lanes}")


def entries(axis_plan, start):
    """(taps, sources) of the targets of a run."""
    chosen = slice(axis_plan.first[start], axis_plan.first[start + 1])
    return axis_plan.taps[chosen].tolist(), axis_plan.sources[chosen].tolist()


def targets_in(run, low, high):
    """(target, source shift) of every target of a run that lies in low .. high - 1."""
    start, count, step, source_step = run
    return [(start + j * step, j * source_step) for j in range(count) if low <= start + j * step < high]


def replay_sum(made, g, source, weight):
    """What the kernels compute from a SumPlan; every target must be written once, from rows that its item holds.

    source is (N, groups, C, pixels as the plan sees them), weight (groups, K, C, kH, kW).
    """
    N, groups = source.shape[:2]
    rows, cols = len(made.rows.first) - 1, len(made.cols.first) - 1
    out, written = np.zeros((N, groups, made.K, rows, cols)), np.zeros((N, rows, cols), int)
    for low, high, source_low, source_high in made.row_blocks.tolist():
        for row_run, col_run in itertools.product(made.rows.runs.tolist(), made.cols.runs.tolist()):
            row_entries, col_entries = entries(made.rows, row_run[0]), entries(made.cols, col_run[0])
            everywhere = targets_in(row_run, low, high), targets_in(col_run, 0, cols)
            for (row, row_shift), (col, col_shift) in itertools.product(*everywhere):
                written[:, row, col] += 1
                for kh, h in zip(*row_entries, strict=True):
                    assert source_low <= h + row_shift < source_high
                    assert (h + row_shift - source_low) % made.row_step == 0
                    for kw, w in zip(*col_entries, strict=True):
                        pixel = source[:, :, :, h + row_shift, w + col_shift]
                        out[..., row, col] += np.einsum("gkc,ngc->ngk", weight[..., kh, kw], pixel)
    assert (written == 1).all()
    return out


@every_case
@pytest.mark.parametrize(("unit", "dots"), [(UNITS[0], False), (UNITS[1], False), (UNITS[1], True)])
def test_a_sum_plan_replayed_is_forward_and_grad_input(case, unit, dots):
    g = geometry_of(case)
    inputs = integer_inputs(case, "float64")
    for transposed, wanted in itertools.product((False, True), FORMATS):
        made = plan.sum_plan(g, transposed, (wanted, wanted), unit, 2, dots)
        weight = inputs["weight"].reshape(g.groups, g.K_g, g.C_g, g.rows.kernel, g.cols.kernel)
        source = inputs["grad_out" if transposed else "x"]
        shape = (len(made.rows.first) - 1, len(made.cols.first) - 1)
        seen = source.reshape(g.N, g.groups, made.C, *_as_seen(source.shape[2:], made, g))
        out = replay_sum(made, g, seen, weight.swapaxes(1, 2) if transposed else weight)
        op, name = ("conv2d_grad_input", "grad_input") if transposed else ("conv2d_forward", "out")
        expected = reference_outputs(case, "float64", op)[1][name]
        if not transposed and case.bias:
            expected = expected - inputs["bias"].reshape(-1, 1, 1)
        np.testing.assert_array_equal(out.reshape(g.N, -1, *shape), expected.reshape(g.N, -1, *shape))
        assert_covers(made.k_blocks, made.K, 1 if dots else unit.lanes, unit.vectors)


def _as_seen(shape, made, g):
    """A pointwise convolution sees the pixels of an image in one column."""
    flattened = len(made.cols.first) == 2 and g.cols.size > 1 and plan.is_pointwise(g)
    return (shape[0] * shape[1], 1) if flattened else shape


def assert_covers(k_blocks, channels, lanes, most):
    """Blocks follow one another, none is empty or too large, and their lanes just hold the channels."""
    bounds = [0, *np.cumsum(k_blocks[:, 1]).tolist()]
    assert k_blocks[:, 0].tolist() == bounds[:-1]
    assert k_blocks[:, 1].min() >= 1
    assert k_blocks[:, 1].max() <= most
    assert (bounds[-1] - 1) * lanes < channels <= bounds[-1] * lanes


def pieces_of(made, N):
    """(images, rows, columns) of every piece, in order."""
    _, _, rows, cols = made.out_shape
    extents = ((N, made.images), (rows, made.row_block), (cols, made.col_block))
    blocks = [[range(at, min(size, at + block)) for at in range(0, size, block)] for size, block in extents]
    return list(itertools.product(*blocks))


@every_unit
@every_case
def test_a_grad_weight_plan_replayed_is_grad_weight(case, unit):
    g = geometry_of(case)
    inputs, outputs = reference_outputs(case, "float64", "conv2d_grad_weight")
    for formats in itertools.product(FORMATS, repeat=2):
        made = plan.grad_weight_plan(g, formats, unit)
        operands = [inputs["grad_out"], inputs["x"]]
        if made.exchanged:
            operands = [array.reshape(*array.shape[:2], 1, -1) for array in reversed(operands)]
        grad_out, x = (array.reshape(g.N, g.groups, -1, *array.shape[2:]) for array in operands)
        found = np.zeros((g.groups, made.K, made.C, g.rows.kernel, g.cols.kernel))
        pieces = pieces_of(made, g.N)
        assert len(pieces) == made.pieces
        for images, rows, cols in pieces:
            for kh, kw in itertools.product(range(g.rows.kernel), range(g.cols.kernel)):
                for (oh, ih), (ow, iw) in itertools.product(
                    _met(made.rows, kh, rows, g.rows.stride), _met(made.cols, kw, cols, g.cols.stride)
                ):
                    gradient, value = grad_out[images, ..., oh, ow], x[images, ..., ih, iw]
                    found[..., kh, kw] += np.einsum("ngk,ngc->gkc", gradient, value)
        found = found.swapaxes(1, 2) if made.exchanged else found
        np.testing.assert_array_equal(found.reshape(g.weight_shape), outputs["grad_weight"])
        assert_parts(made, g)


def _met(taps, tap, outputs, stride):
    """(output, input) of one tap for the outputs of a piece."""
    segments = taps.segments[taps.first[tap] : taps.first[tap + 1]].tolist()
    met = [(target + j, source + j * stride) for target, source, count in segments for j in range(count)]
    return [pair for pair in met if pair[0] in outputs]


def assert_parts(made, g):
    """Parts cover the gradient once, and the sums of the largest fit in the scratch."""
    blocks = [-(-len(made.k_blocks) // made.k_group), -(-made.C // made.c_block), -(-g.rows.kernel // made.tap_block)]
    assert made.parts == g.groups * np.prod(blocks)
    assert 1 <= made.segments <= made.pieces
    assert min(made.k_group, made.c_block, made.tap_block, made.images, made.row_block, made.col_block) >= 1
    if made.merged is not None:
        assert made.c_block == made.C


FIRST_LAYERS = [case for case in AWKWARD_CONVS if case.name.startswith("first layer,") and case.x_shape[3] != 37]
FORWARD = [case for case in FIRST_LAYERS if "gradients" not in case.name]
STRIDE_1 = [case for case in FIRST_LAYERS if case.stride == 1 and case.padding_mode == "zeros"]


@every_unit
@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.name)
def test_a_first_layer_plan_replayed_is_forward(case, unit):
    inputs, outputs = reference_outputs(case, "float64", "conv2d_forward")
    made = plan.first_layer_plan(geometry_of(case), FORMATS[:1] * 2, unit, transposed=False)
    bias = inputs["bias"][:, None, None] if "bias" in inputs and case.bias else 0
    found = replayed(made, inputs["x"], inputs["weight"], unit)
    np.testing.assert_array_equal(found + bias, outputs["out"])


def grad_input_plan(case, unit):
    return plan.first_layer_plan(geometry_of(case), FORMATS[:1] * 2, unit, transposed=True)


def test_gradients_of_first_layers_have_plans():
    taken = [
        (case.name, unit) for case in STRIDE_1 for unit in UNITS if not isinstance(grad_input_plan(case, unit), str)
    ]
    assert len(taken) >= 6
    assert {unit for _, unit in taken} == set(UNITS)


@every_unit
@pytest.mark.parametrize("case", STRIDE_1, ids=lambda case: case.name)
def test_a_first_layer_plan_replayed_is_grad_input(case, unit):
    inputs, outputs = reference_outputs(case, "float64", "conv2d_grad_input")
    made = grad_input_plan(case, unit)
    if isinstance(made, str):
        assert "lanes empty" in made
        return
    found = replayed(made, inputs["grad_out"], inputs["weight"].swapaxes(0, 1), unit)
    np.testing.assert_array_equal(found, outputs["grad_input"])


def replayed(made, source, weight, unit):
    """The sums of a first-layer plan; ``weight`` has shape (target channels, source channels, taps)."""
    copy, (_, _, rows, cols) = copied(made.padded, source), made.target_shape
    weight = weight.reshape(*weight.shape[:2], -1)
    found, covered = np.zeros(made.target_shape), np.zeros(cols, int)
    for first, vectors in made.blocks.tolist():
        covered[first * unit.lanes : (first + vectors) * unit.lanes] += 1
    assert (covered == 1).all()
    for row, (tap, place) in itertools.product(range(rows), made.entries.tolist()):
        begin = row * made.padded.rows.step * made.padded.pitch + place
        found[:, :, row] += np.einsum("kc,ncw->nkw", weight[:, :, tap], copy[:, :, begin : begin + cols])
    return found


ROWS_OF_GRADIENTS = [
    pytest.param(case, unit, id=f"{case.name}-{unit.lanes}")
    for case, unit in itertools.product(AWKWARD_CONVS, UNITS)
    if not isinstance(plan.first_layer_grad_plan(geometry_of(case), FORMATS[:1] * 2, unit), str)
]


@pytest.mark.parametrize(("case", "unit"), ROWS_OF_GRADIENTS)
def test_a_first_layer_grad_plan_replayed_is_grad_weight(case, unit):
    g, (inputs, outputs) = geometry_of(case), reference_outputs(case, "float64", "conv2d_grad_weight")
    made = plan.first_layer_grad_plan(g, FORMATS[:1] * 2, unit)
    copy, cols = copied(made.padded, inputs["x"]), g.cols.out
    found, summed = np.zeros((g.K, g.C, g.rows.kernel * g.cols.kernel)), []
    for (tap, place, taps), row in itertools.product(made.runs.tolist(), range(g.rows.out)):
        for number in range(taps):
            begin = row * made.padded.rows.step * made.padded.pitch + place + number * made.x_shift
            summed.append((row, tap + number * made.tap_step))
            inputs_met = copy[:, :, begin : begin + cols]
            found[:, :, summed[-1][1]] += np.einsum("nkw,ncw->kc", inputs["grad_out"][:, :, row], inputs_met)
    assert len(set(summed)) == len(summed)
    np.testing.assert_array_equal(found.reshape(g.weight_shape), outputs["grad_weight"])
    assert_covers(made.k_blocks, g.K, 1, unit.vectors)
    assert_pieces_fit(made, g, unit)


def assert_pieces_fit(made, g, unit):
    """Pieces cover the outputs once, no sum has too many terms, and vectors end inside the scratch."""
    padded, width = made.padded, made.vectors * unit.lanes
    assert made.pieces == -(-g.N // made.images) * padded.blocks
    assert 1 <= made.segments <= made.pieces <= 64 * made.segments
    assert 0 < made.per_chunk * made.vectors <= plan.BLOCK_TERMS
    assert g.cols.out <= width < g.cols.out + unit.lanes
    assert made.pitch == (0 if g.cols.out == width else width)
    places = made.runs[:, 1] + (made.runs[:, 2] - 1) * made.x_shift
    last = (made.images * g.C - 1) * made.plane + (padded.block - 1) * padded.rows.step * padded.pitch + places.max()
    assert last + width <= made.copy
    assert made.gradients == made.k_blocks[:, 1].max() * made.images * padded.block * made.pitch


def copied(padded, x):
    """The rows of each channel as the padded copy of all of them would hold them, one after the other."""
    N, C = x.shape[:2]
    held = np.zeros((N, C, len(padded.rows.sources) + 1, padded.pitch))
    for place, row in enumerate(padded.rows.sources.tolist()):
        for position, col in enumerate(padded.cols.sources.tolist()):
            if row >= 0 and col >= 0:
                element = position % padded.cols.step * padded.width + position // padded.cols.step
                held[:, :, place, element] = x[:, :, row, col]
    return held.reshape(N, C, -1)


@pytest.mark.parametrize(
    ("name", "formats", "transposed", "reason"),
    [
        ("first layer, strided", FORMATS, False, "channels lie together"),
        ("planes and a tail", FORMATS[:1] * 2, False, "are no first layer"),
        ("two groups", FORMATS[:1] * 2, False, "are no first layer"),
        ("stride above input", FORMATS[:1] * 2, False, "rows of 1 outputs leave lanes empty"),
        ("first layer, strided", FORMATS[:1] * 2, True, "sums of other taps"),
        ("ranges of channels", FORMATS[:1] * 2, True, "82 output channels are more"),
        ("few pixels", FORMATS[:1] * 2, True, "20 output channels are more"),
    ],
)
def test_what_is_no_first_layer_is_declined_with_the_reason(name, formats, transposed, reason):
    case = next(case for case in AWKWARD_CONVS if case.name == name)
    assert reason in plan.first_layer_plan(geometry_of(case), formats, UNITS[1], transposed)


@pytest.mark.parametrize(
    ("name", "formats", "reason"),
    [
        ("first layer, strided", FORMATS, "channels lie together"),
        ("two groups", FORMATS[:1] * 2, "are no first layer"),
        ("first layer, several images", FORMATS[:1] * 2, "20 filters are more than a vector of 16"),
        ("stride above input", FORMATS[:1] * 2, "rows of 1 outputs leave more lanes empty"),
        ("width one", FORMATS[:1] * 2, "leave more lanes empty than 4 filters do"),
        ("first layer, every third", FORMATS[:1] * 2, "too few taps of a row"),
    ],
)
def test_what_has_no_rows_of_gradients_is_declined_with_the_reason(name, formats, reason):
    case = next(case for case in AWKWARD_CONVS if case.name == name)
    assert reason in plan.first_layer_grad_plan(geometry_of(case), formats, UNITS[1])


def test_filters_that_nearly_fill_a_vector_need_few_channels_for_rows_of_gradients():
    few, many = (Conv2dGeometry.of((2, C, 9, 33), (14, C, 3, 2)) for C in (5, 6))
    assert plan.first_layer_grad_plan(few, FORMATS[:1] * 2, UNITS[1]).images == 1
    reason = plan.first_layer_grad_plan(many, FORMATS[:1] * 2, UNITS[1])
    assert reason == "14 filters fill a vector well enough for 6 input channels"


IMAGES = [
    pytest.param(case, unit, id=f"{case.name}-{unit.lanes}")
    for case, unit in itertools.product(AWKWARD_CONVS, UNITS)
    if not isinstance(plan.images_plan(geometry_of(case), FORMATS[:1] * 2, unit), str)
]


@pytest.mark.parametrize(("case", "unit"), IMAGES)
def test_an_images_plan_replayed_is_grad_input(case, unit):
    g, (inputs, outputs) = geometry_of(case), reference_outputs(case, "float64", "conv2d_grad_input")
    made = plan.images_plan(g, FORMATS[:1] * 2, unit)
    grad_out, weight = inputs["grad_out"].reshape(g.N, g.K, -1), inputs["weight"].reshape(g.K, g.C, -1)
    found, written = np.zeros(g.x_shape), np.zeros(g.x_shape[2:], int)
    for first, count, first_row, rows, first_col, cols in made.regions.tolist():
        for row, col in itertools.product(range(rows), range(cols)):
            written[first_row + row, first_col + col] += 1
            for tap, pixel in made.entries[first : first + count].tolist():
                assert pixel % g.cols.out + col < g.cols.out
                gradients = grad_out[:, :, pixel + row * g.cols.out + col]
                found[:, :, first_row + row, first_col + col] += gradients @ weight[:, :, tap]
    assert (written == 1).all()
    np.testing.assert_array_equal(found, outputs["grad_input"])
    assert made.items == -(-g.N // unit.lanes) * made.row_blocks
    assert 1 <= made.row_blocks <= g.rows.size
    assert made.source_plane >= grad_out.shape[2]
    assert made.target_plane >= written.size
    assert 0 < made.per_chunk * g.K <= plan.BLOCK_TERMS


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two groups", "there are 2 groups"),
        ("pointwise", "one tap takes no longer"),
        ("small maps of many images", "34 input channels fill a vector well enough"),
        ("first layer, wide gradients", "2 images leave lanes empty"),
    ],
)
def test_what_is_no_vector_of_images_is_declined_with_the_reason(name, reason):
    case = next(case for case in AWKWARD_CONVS if case.name == name)
    assert reason in plan.images_plan(geometry_of(case), FORMATS, UNITS[1])


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "parameters", "reason"),
    [
        ((16, 3, 9, 9), (170, 3, 3, 3), {}, "170 output channels have more terms"),
        ((16, 3, 99, 99), (5, 3, 3, 3), {}, "do not fit in the second cache"),
        ((16, 3, 9, 9), (5, 3, 3, 3), {"stride": 2}, "sums of other taps"),
        ((16, 3, 9, 9), (16, 3, 3, 3), {"padding": 1}, "most columns share their taps"),
    ],
)
def test_shapes_that_other_kernels_serve_better_get_no_vector_of_images(x_shape, weight_shape, parameters, reason):
    g = Conv2dGeometry.of(x_shape, weight_shape, **parameters)
    assert reason in plan.images_plan(g, FORMATS, UNITS[1])
