"""Sizes against an enumeration of windows; descriptors that are immutable, hashable and equal where they should be."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.bench import cases
from fastconv.errors import ShapeError
from fastconv.geometry import Axis, Conv2dGeometry, Pool2dGeometry, batched_shape


def window_starts(size, kernel, stride, low, high, dilation, ceil_mode=False):
    """The first position of every window, by trying one after the other.

    Floor: the whole window lies in the padded input. Ceil: the window before it left some padded input at the end, and
    it starts inside the input or its low padding.
    """
    extent = dilation * (kernel - 1) + 1
    start, starts = -low, []
    while True:
        fits = start + extent <= size + high
        left_over = start - stride + extent < size + high and start < size
        if not (left_over if ceil_mode else fits):
            return starts
        starts.append(start)
        start += stride


@st.composite
def axes(draw, pool=False):
    """(size, kernel, stride, (low, high), dilation) that a caller may ask for, whether or not the window fits."""
    size, kernel = draw(st.integers(1, 14)), draw(st.integers(1, 5))
    stride, dilation = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    limit = kernel // 2 if pool else 7
    return size, kernel, stride, (draw(st.integers(0, limit)), draw(st.integers(0, limit))), dilation


@given(axes())
def test_conv_sizes_count_the_windows_that_fit(axis):
    size, kernel, stride, (low, high), dilation = axis
    starts = window_starts(size, kernel, stride, low, high, dilation)
    found = Axis.of(size, kernel, stride, (low, high), dilation)
    assert max(0, found.out) == len(starts)
    assert (found.extent, found.padded) == (dilation * (kernel - 1) + 1, low + size + high)


@given(axes(pool=True), st.booleans())
def test_pool_sizes_count_the_windows_that_start_inside(axis, ceil_mode):
    size, kernel, stride, (low, high), dilation = axis
    starts = window_starts(size, kernel, stride, low, high, dilation, ceil_mode)
    assert max(0, Axis.of(size, kernel, stride, (low, high), dilation, ceil_mode=ceil_mode).out) == len(starts)


@given(axes(), axes())
def test_conv_geometry_checks_both_axes(rows, cols):
    (H, kH, sH, pH, dH), (W, kW, sW, pW, dW) = rows, cols
    expected = tuple(len(window_starts(n, k, s, *p, d)) for n, k, s, p, d in (rows, cols))
    make = partial(Conv2dGeometry.of, (2, 3, H, W), (5, 3, kH, kW))
    parameters = {"stride": (sH, sW), "padding": (pH, pW), "dilation": (dH, dW)}
    if 0 in expected:
        with pytest.raises(ShapeError, match="can't be greater than the padded input"):
            make(**parameters)
        return
    g = make(**parameters)
    assert g.out_shape == (2, 5, *expected)
    assert g.flops == 2 * int(np.prod(g.out_shape)) * 3 * kH * kW
    assert (g.x_shape, g.weight_shape) == ((2, 3, H, W), (5, 3, kH, kW))


@given(axes(pool=True), axes(pool=True), st.booleans())
def test_pool_geometry_checks_both_axes(rows, cols, ceil_mode):
    (H, kH, sH, pH, dH), (W, kW, sW, pW, dW) = rows, cols
    expected = tuple(len(window_starts(n, k, s, *p, d, ceil_mode)) for n, k, s, p, d in (rows, cols))
    make = partial(Pool2dGeometry.of, (2, 3, H, W), (kH, kW), (sH, sW), (pH, pW), (dH, dW), ceil_mode=ceil_mode)
    if 0 in expected:
        with pytest.raises(ShapeError, match="can't be greater than the padded input"):
            make()
    else:
        assert make().out_shape == (2, 3, *expected)


@pytest.mark.oracle
@given(axis=axes(pool=True), ceil_mode=st.booleans())
def test_pool_sizes_are_torchs(torch, axis, ceil_mode):
    size, kernel, stride, (padding, _), dilation = axis
    padding = min(padding, kernel // 2)
    parameters = (kernel, 1), (stride, 1), (padding, 0), (dilation, 1)
    try:
        expected = torch.nn.MaxPool2d(*parameters, ceil_mode=ceil_mode)(torch.zeros(1, 1, size, 1)).shape
    except RuntimeError:
        with pytest.raises(ShapeError):
            Pool2dGeometry.of((1, 1, size, 1), *parameters, ceil_mode=ceil_mode)
    else:
        assert Pool2dGeometry.of((1, 1, size, 1), *parameters, ceil_mode=ceil_mode).out_shape == tuple(expected)


@given(kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)), dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_same_keeps_the_size_and_puts_the_odd_pad_at_the_end(kernel, dilation):
    g = Conv2dGeometry.of((1, 2, 9, 8), (3, 2, *kernel), padding="same", dilation=dilation)
    assert g.out_shape == (1, 3, 9, 8)
    for axis in (g.rows, g.cols):
        assert axis.low + axis.high == axis.extent - 1
        assert axis.low <= axis.high <= axis.low + 1


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 3), ((1, 1), (3, 3))),
        ([1, 3], ((1, 1), (3, 3))),
        (np.array([1, 3]), ((1, 1), (3, 3))),
        (np.int64(2), ((2, 2), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        (np.array([[0, 1], [2, 3]]), ((0, 1), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 1), (0, 1))),
    ],
)
def test_every_way_to_write_padding(padding, expected):
    g = Conv2dGeometry.of((1, 1, 7, 6), (1, 1, 3, 2), padding=padding)
    assert ((g.rows.low, g.rows.high), (g.cols.low, g.cols.high)) == expected


def test_equal_geometries_are_one_key():
    spelled = [
        Conv2dGeometry.of((2, 4, 9, 8), (6, 2, 3, 3), stride=2, padding=1, groups=2),
        Conv2dGeometry.of(
            (2, 4, 9, 8), (6, 2, 3, 3), stride=(2, 2), padding=((1, 1), (1, 1)), dilation=[1, 1], groups=2
        ),
    ]
    assert spelled[0] == spelled[1]
    assert len(set(spelled)) == 1
    assert spelled[0] != Conv2dGeometry.of(
        (2, 4, 9, 8), (6, 2, 3, 3), stride=2, padding=1, groups=2, padding_mode="reflect"
    )
    assert len({Pool2dGeometry.of((1, 2, 8, 8), 2), Pool2dGeometry.of((1, 2, 8, 8), (2, 2), 2)}) == 1


def test_geometries_cannot_be_changed():
    geometry = Pool2dGeometry.of((1, 1, 4, 4), 2)
    for descriptor, field in ((geometry, "N"), (geometry.rows, "size")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(descriptor, field, 7)
    assert not hasattr(geometry, "__dict__")


def test_batched_and_unbatched_shapes():
    assert batched_shape("conv2d", (2, 3, 5, 7)) == (2, 3, 5, 7)
    assert batched_shape("conv2d", (3, 5, 7)) == (1, 3, 5, 7)
    with pytest.raises(ShapeError, match=r"3D \(unbatched\) or 4D \(batched\) input to conv2d, got shape \(8, 8\)"):
        batched_shape("conv2d", (8, 8))


CASES = [case for suite in cases.SUITES.values() for case in suite]
CONV_CASES = [case for case in CASES if isinstance(case, cases.ConvCase)]
POOL_CASES = [case for case in CASES if isinstance(case, cases.PoolCase)]


@pytest.mark.parametrize("case", [*CONV_CASES, *POOL_CASES], ids=lambda case: f"{case.suite}: {case.name}")
def test_every_listed_case_is_valid(case):
    geometry = Conv2dGeometry if isinstance(case, cases.ConvCase) else Pool2dGeometry
    shapes = (case.x_shape, case.weight_shape) if geometry is Conv2dGeometry else (case.x_shape,)
    assert geometry.of(*shapes, **case.parameters).x_shape == case.x_shape


@pytest.mark.parametrize("suite", cases.SUITES)
def test_cases_have_names_of_their_own_and_know_their_suite(suite):
    listed = cases.SUITES[suite]
    assert len({case.name for case in listed}) == len(listed)
    assert {case.suite for case in listed} == {suite}


@pytest.mark.parametrize(
    ("suite", "layers", "multiplications"),
    [
        ("alexnet", 5, 665.8e6),
        ("vgg16", 13, 15.35e9),
        ("resnet50", 53, 4.087e9),
        ("mobilenet", 27, 567.7e6),
        ("googlenet", 57, 1.58e9),
    ],
)
def test_networks_have_their_published_cost(suite, layers, multiplications):
    listed = cases.SUITES[suite]
    cost = sum(Conv2dGeometry.of(c.x_shape, c.weight_shape, **c.parameters).flops // 2 * c.count for c in listed)
    assert sum(case.count for case in listed) == layers
    assert cost == pytest.approx(multiplications, rel=2e-3)
