"""The plan replayed in plain Python: every entry exactly once, in every grouping, for every padding mode."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fastconv import arrays
from fastconv._kernels import plan
from fastconv._kernels.plan import depthwise
from fastconv._kernels.plan.sweeps import sweep
from fastconv.geometry import Axis, Conv2dGeometry
from fastconv.parameters import PADDING_MODES

NUMPY_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@st.composite
def planned_axes(draw):
    """(axis, padding mode) of every kind that a geometry can have."""
    mode = draw(st.sampled_from(PADDING_MODES))
    size, kernel = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    stride, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    limit = {"reflect": size - 1, "circular": size}.get(mode, 8)
    low, high = draw(st.integers(0, limit)), draw(st.integers(0, limit))
    axis = Axis.of(size, kernel, stride, (low, high), dilation)
    assume(axis.out >= 1)
    return axis, mode


def entries(axis, mode):
    """Every (output, tap, input) by definition: walk over a padded array of positions."""
    width = (axis.low, axis.high)
    if mode == "zeros":
        padded = np.pad(np.arange(axis.size), width, constant_values=-1)
    else:
        padded = np.pad(np.arange(axis.size), width, mode=NUMPY_MODE[mode])
    found = Counter()
    for out in range(axis.out):
        for tap in range(axis.kernel):
            source = int(padded[out * axis.stride + tap * axis.dilation])
            if source >= 0:
                found[out, tap, source] += 1
    return found


def grouped(axis_plan):
    """The entries of an AxisPlan as a list of (taps, sources) per target."""
    bounds = list(zip(axis_plan.first, axis_plan.first[1:], strict=False))
    return [(axis_plan.taps[a:b].tolist(), axis_plan.sources[a:b].tolist()) for a, b in bounds]


def assert_runs(axis_plan, targets):
    """Every target is in one run, whose targets have equal taps and steadily advancing sources."""
    groups, seen = grouped(axis_plan), Counter()
    for start, count, target_step, source_step in axis_plan.runs.tolist():
        taps, sources = groups[start]
        for j in range(count):
            target = start + j * target_step
            seen[target] += 1
            assert groups[target] == (taps, [source + j * source_step for source in sources])
    assert seen == Counter(range(targets))


@given(planned_axes())
def test_forward_has_every_entry_once(planned):
    axis, mode = planned
    made = plan.forward_axis(axis, mode)
    found = Counter((target, *pair) for target, group in enumerate(grouped(made)) for pair in zip(*group, strict=True))
    assert found == entries(axis, mode)
    assert all(taps == sorted(taps) for taps, _ in grouped(made))
    assert_runs(made, axis.out)


@given(planned_axes())
def test_grad_input_has_every_entry_once(planned):
    axis, mode = planned
    made = plan.grad_input_axis(axis, mode)
    groups = enumerate(grouped(made))
    found = Counter((out, tap, target) for target, group in groups for tap, out in zip(*group, strict=True))
    assert found == entries(axis, mode)
    assert mode != "zeros" or all(sources == sorted(sources) for _, sources in grouped(made))
    assert_runs(made, axis.size)


@given(planned_axes())
def test_grad_weight_has_every_entry_once(planned):
    axis, mode = planned
    made = plan.grad_weight_axis(axis, mode)
    assert len(made.first) == axis.kernel + 1
    found = Counter()
    for tap, (begin, end) in enumerate(zip(made.first, made.first[1:], strict=False)):
        outs = []
        for target, source, count in made.segments[begin:end].tolist():
            assert count >= 1
            for j in range(count):
                found[target + j, tap, source + j * axis.stride] += 1
                outs.append(target + j)
        assert outs == sorted(outs)
    assert made.first[-1] == len(made.segments)
    assert found == entries(axis, mode)


@given(planned_axes())
def test_the_source_table_is_the_definition(planned):
    axis, mode = planned
    table = plan.source_table(axis, mode)
    assert table.shape == (axis.out, axis.kernel)
    targets, taps = np.nonzero(table >= 0)
    assert Counter(zip(targets.tolist(), taps.tolist(), table[targets, taps].tolist(), strict=True)) == entries(
        axis, mode
    )


@pytest.mark.parametrize(("stride", "runs"), [(1, 3), (2, 2), (3, 2)])
def test_the_interior_is_one_run(stride, runs):
    axis = Axis.of(31, 3, stride, (1, 1), 1)
    made = plan.forward_axis(axis)
    assert len(made.runs) == runs + (axis.out * stride - axis.low > axis.size - 2) * (stride > 1)
    assert made.runs[:, 1].max() >= axis.out - 2


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_grad_input_has_one_interior_run_per_phase(stride):
    made = plan.grad_input_axis(Axis.of(43, 3, stride, (0, 0), 1))
    long = made.runs[made.runs[:, 1] > 2]
    assert sorted(set((long[:, 0] % stride).tolist())) == list(range(stride))
    assert set(made.runs[:, 2].tolist()) == {stride}


@pytest.mark.parametrize("make", [plan.forward_axis, plan.grad_input_axis, plan.grad_weight_axis])
def test_plans_are_cached_and_read_only(make):
    made = make(Axis.of(9, 3, 2, (1, 1), 1), "zeros")
    assert make(Axis.of(9, 3, 2, (1, 1), 1), "zeros") is made
    for name in made.__slots__:
        table = getattr(made, name)
        assert table.dtype == np.int64
        assert table.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            table[...] = 0


def test_a_plan_beyond_the_memory_is_refused():
    axis = Axis.of(5, 2**31 - 1, 1, (2**30, 2**30), 1)
    assert axis.out >= 1
    with pytest.raises(MemoryError, match=r"array of shape .* takes [\d,]+ bytes"):
        plan.forward_axis(axis)


def test_taps_of_a_beyond_the_memory_window_are_refused():
    axis = Axis.of(5, 2**20, 1, (2**19, 2**19), 1)
    with pytest.raises(MemoryError, match=r"takes [\d,]+ bytes"):
        plan.tap_positions(axis, axis)


@given(planned_axes(), planned_axes())
def test_tap_positions_are_the_places_in_the_window(rows, cols):
    rows, cols = rows[0], cols[0]
    found = list(zip(*(table.tolist() for table in plan.tap_positions(rows, cols)), strict=True))
    expected = [(kh * rows.dilation, kw * cols.dilation) for kh in range(rows.kernel) for kw in range(cols.kernel)]
    assert found == expected
    assert len(found) == math.prod((rows.kernel, cols.kernel))


@pytest.mark.parametrize(
    ("channels", "groups", "lanes", "joined"),
    [((64, 64), 32, 16, 8), ((18, 12), 6, 16, 3), ((34, 102), 17, 16, 1), ((32, 64), 32, 16, 8), ((8, 8), 2, 8, 2)],
)
def test_groups_are_joined_as_far_as_they_divide_and_fit(channels, groups, lanes, joined):
    C, K = channels
    g = Conv2dGeometry.of((1, C, 5, 5), (K, C // groups, 3, 3), None, groups=groups)
    unit = plan.VectorUnit(lanes, 4, 12, 4)
    assert plan.joined_groups(g, unit) == joined
    assert (plan.groups_reason(g, C, unit) is None) == (joined > 1 and lanes <= C)


@pytest.mark.parametrize("kernel", [3, 23, 41])
def test_joined_groups_are_never_cut(kernel):
    """A vector of x has all their channels: with another beginning it would end behind the array."""
    g = Conv2dGeometry.of((1, 16, 44, 44), (16, 8, kernel, kernel), None, groups=2)
    made = plan.grad_weight_plan(g, ("channels_last", "channels_last"), plan.VectorUnit(16, 4, 12, 4), joined=2)
    assert made.c_block == made.C == 8


def swept_entries(swept):
    """Target -> (tap, source) pairs, as fc_sweep says."""
    found = {swept.start + j: [] for j in range(swept.count)}
    if swept.phases == 2:
        for q, k in itertools.product(range(swept.count // 2 + 1), range(3)):
            target = 2 * q - 1 + k
            if 0 <= target < swept.count and not (swept.tail and target == swept.count - 1 and k == 0):
                found[swept.start + target].append((k, swept.source + q))
        return found
    for j, k in itertools.product(range(swept.count), range(3)):
        lacking = (swept.head and j == k == 0) or (swept.tail and j == swept.count - 1 and k == 2)
        if not lacking:
            tap = swept.first + k * swept.direction
            found[swept.start + j].append((tap, swept.source + j * swept.step + k))
    return found


@given(planned_axes())
def test_a_sweep_has_the_entries_of_its_columns_and_cuts_no_run(planned):
    axis, mode = planned
    for made in (plan.forward_axis(axis, mode), plan.grad_input_axis(axis, mode)):
        swept, groups = sweep(made, axis.kernel), grouped(made)
        for target, found in swept_entries(swept).items():
            assert found == list(zip(*groups[target], strict=True))
        for start, count, step, _ in made.runs.tolist():
            inside = {swept.start <= start + j * step < swept.start + swept.count for j in range(count)}
            assert len(inside) == 1


@pytest.mark.parametrize(("size", "padding"), [(14, 1), (15, 1), (9, 0), (8, 0)])
def test_grad_input_of_a_stride_of_two_is_swept(size, padding):
    swept = sweep(plan.grad_input_axis(Axis.of(size, 3, 2, (padding, padding), 1)), 3)
    assert swept.phases == 2
    assert swept.count >= size - 2


UNIT = plan.VectorUnit(16, 4, 12, 4)
LAST, PLANAR = (arrays.CHANNELS_LAST,) * 2, (arrays.CONTIGUOUS,) * 2


def sum_of(*shapes, dots=False, **parameters):
    """The plan of forward."""
    return plan.sum_plan(Conv2dGeometry.of(*shapes, **parameters), False, LAST, UNIT, 2, dots)


def test_weights_that_one_item_reads_are_packed_by_it():
    # 512 channels of 3 x 3 taps are summed in ranges of 32, blocks of output channels have 4 vectors.
    assert sum_of((1, 512, 7, 7), (512, 512, 3, 3), padding=1).packed_weight == 32 * 9 * 64
    assert sum_of((1, 64, 8, 8), (40, 64, 1, 1)).packed_weight == 64 * 48
    assert sum_of((16, 512, 7, 7), (512, 512, 3, 3), padding=1).packed_weight == 0
    # Many items, but few weights.
    assert sum_of((2, 3, 8, 8), (16, 3, 3, 3)).packed_weight == 27 * 16
    assert sum_of((1, 512, 4, 4), (3, 512, 3, 3), padding=1, dots=True).packed_weight == 512 * 9 * 3


def test_weights_that_all_items_read_are_held_by_each_thread():
    made = sum_of((1, 64, 56, 56), (64, 64, 3, 3), padding=1)
    assert (made.packed_weight, made.items, made.holds, made.repacks) == (64 * 9 * 64, 14, True, False)
    # Too many for the second cache; two blocks of output channels.
    assert not sum_of((1, 512, 56, 56), (64, 512, 3, 3), padding=1).holds
    assert sum_of((1, 64, 14, 14), (128, 64, 3, 3), padding=1).repacks
    # Few items are all shared out at once, many a quarter at a time.
    assert [plan.held_items(items, 2) for items in (1, 2, 3, 14, 16, 17, 224)] == [1, 1, 2, 7, 8, 3, 28]


def test_weights_of_pointwise_gradients_are_read_in_place_where_few_items_read_them():
    def in_place(*shapes):
        return plan.sum_plan(Conv2dGeometry.of(*shapes), True, LAST, UNIT, 2, False).in_place

    assert in_place((1, 512, 7, 7), (2048, 512, 1, 1))
    assert in_place((1, 512, 28, 28), (128, 512, 1, 1))
    assert not in_place((16, 512, 7, 7), (2048, 512, 1, 1))
    assert not in_place((1, 24, 7, 7), (64, 24, 1, 1))
    assert not in_place((1, 512, 7, 7), (2048, 512, 3, 3))


@pytest.mark.parametrize(
    ("shape", "kernel", "formats", "in_place"),
    [
        ((1, 512, 7, 7), 1, LAST, True),
        ((1, 512, 7, 7), 1, PLANAR, True),
        ((1, 512, 28, 28), 1, LAST, True),  # several pieces
        ((1, 512, 7, 7), 3, LAST, False),  # not symmetric in its channels
        ((1, 64, 56, 56), 1, LAST, False),  # segments, whose sums are added up
        ((64, 512, 28, 28), 1, LAST, False),  # more pieces than are added up in one go
    ],
)
def test_where_the_last_piece_writes_grad_weight(shape, kernel, formats, in_place):
    g = Conv2dGeometry.of(shape, (shape[1], shape[1], kernel, kernel), padding=kernel // 2)
    made = plan.grad_weight_plan(g, formats, UNIT)
    assert made.in_place == in_place
    assert not made.in_place or (made.exchanged and made.segments == 1 and made.pieces <= made.span)


@pytest.mark.parametrize("rows", [7, 14, 50_000])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_strips_cover_all_rows_within_the_cache(rows, padding_mode, monkeypatch):
    g = Conv2dGeometry.of((1, 32, rows, 1), (32, 1, 3, 1), padding=(1, 0), groups=32, padding_mode=padding_mode)
    calls, row_blocks = [], depthwise.row_blocks
    monkeypatch.setattr(depthwise, "row_blocks", lambda *given: calls.append(given) or row_blocks(*given))
    made = depthwise.strips(plan.forward_axis(g.rows, padding_mode), g, 64)
    assert len(calls) <= 1 + math.log2(rows)
    assert made.row_blocks[0, 0] == 0
    assert made.row_blocks[-1, 1] == rows
    assert (made.row_blocks[1:, 0] == made.row_blocks[:-1, 1]).all()
    assert 64 * (made.x_pixels + made.grad_out_pixels) <= depthwise._STRIP_BYTES


@pytest.mark.parametrize(
    ("shape", "weight", "items"),
    [
        ((1, 832, 7, 7), (48, 832, 1, 1), 2),  # one block of channels
        ((1, 832, 7, 7), (160, 832, 1, 1), 6),  # three
        ((1, 832, 7, 7), (128, 832, 1, 1), 2),  # two
        ((1, 832, 4, 4), (48, 832, 1, 1), 1),  # too small to share
        ((16, 128, 4, 4), (10, 128, 4, 4), 1),  # images of a pixel, which fill few tiles
    ],
)
def test_few_items_are_shared_evenly(shape, weight, items):
    assert sum_of(shape, weight).items == items


@given(st.sampled_from([(16, 4), (8, 2), (4, 2), (4, 4)]), st.data())
def test_no_block_of_channels_is_smaller_than_a_vector_where_all_are_not(machine, data):
    lanes, vectors = machine
    channels = data.draw(st.integers(lanes, 600))
    blocks = plan.channel_blocks(channels, plan.VectorUnit(lanes, vectors, 12, 4))
    ends = np.minimum(blocks.sum(axis=1) * lanes, channels)
    assert (ends - blocks[:, 0] * lanes >= lanes).all()
