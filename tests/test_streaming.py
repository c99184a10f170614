"""Targets that go past the caches: when, and with the same bits and nothing else written."""

import itertools

import pytest
from support.backends import compiled_backends
from support.cases import WHOLE_LINES
from support.data import DTYPES, FORMATS, Aligned, Fenced
from support.kernel_calls import assert_exact, geometry_of
from support.process import run_python
from support.streaming import everything_streamed

from fastconv import arrays
from fastconv._kernels import plan
from fastconv._kernels.contract import RELU, RELU6
from fastconv.bench.cases import AWKWARD_CONVS
from fastconv.geometry import Conv2dGeometry

UNITS = {lanes: plan.VectorUnit(lanes, 4 if lanes == 16 else 2, 12, 4) for lanes in (4, 8, 16)}
SUMS = ("conv2d_forward", "conv2d_grad_input")
NAMES = [case.name for case in WHOLE_LINES]
every_sum = pytest.mark.parametrize("op", SUMS)
every_case = pytest.mark.parametrize("case", WHOLE_LINES, ids=NAMES)


@pytest.fixture
def _everything_streamed():
    with everything_streamed():
        yield


def streams(g, wanted, unit=UNITS[16], transposed=False):
    return plan.sum_plan(g, transposed, (wanted,) * 2, unit, 2, False, plan.joined_groups(g, unit)).streams


@compiled_backends
@every_sum
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("_everything_streamed")
@every_case
def test_whole_lines_are_exact(backend, op, dtype, case):
    assert_exact(backend, op, case, dtype, Aligned)
    assert_exact(backend, op, case, dtype, Fenced)


@compiled_backends
@pytest.mark.usefixtures("_everything_streamed")
@every_case
@pytest.mark.parametrize("activation", [RELU, RELU6])
def test_an_activation_is_applied_before_lines_are_written(backend, case, activation):
    assert_exact(backend, "conv2d_forward", case, "float32", Aligned, activation)


@compiled_backends
@every_sum
@pytest.mark.usefixtures("_everything_streamed")
def test_awkward_cases_are_exact(backend, op):
    for case in AWKWARD_CONVS:
        assert_exact(backend, op, case, "float32", Aligned)
        if case.name.startswith("first layer"):
            assert_exact(backend, op, case, "float64", Aligned)


@pytest.mark.parametrize("level", ["0", "2", "3"])
def test_other_instruction_sets_are_exact(level):
    pytest.importorskip("fastconv._kernels.cython_cpu.machine")
    printed = run_python("-m", "support.exact_check", "cython", "--streaming", *NAMES, FASTCONV_ISA=level)
    assert "checks: 0" not in printed


@pytest.mark.usefixtures("_everything_streamed")
@pytest.mark.parametrize("transposed", [False, True])
@every_case
def test_whole_lines_are_seen(case, transposed):
    found = {wanted: streams(geometry_of(case), wanted, transposed=transposed) for wanted in FORMATS}
    assert found[arrays.CHANNELS_LAST] == (not case.name.startswith("lines of planes"))
    assert found[arrays.CONTIGUOUS] == case.name.startswith("lines of both")


@pytest.mark.parametrize("wanted", FORMATS)
def test_only_what_no_cache_keeps_is_streamed(wanted):
    two, three, wide = (
        Conv2dGeometry.of((N, C, 224, 224), (64, C, 3, 3), padding=1) for N, C in ((2, 3), (3, 3), (3, 64))
    )
    assert not streams(two, wanted)
    assert streams(three, wanted)
    assert not streams(three, wanted, transposed=True)
    assert streams(wide, wanted, transposed=True)


@pytest.mark.usefixtures("_everything_streamed")
def test_blocks_of_channels_are_whole_lines_in_every_instruction_set():
    found = set()
    for (lanes, unit), K in itertools.product(UNITS.items(), (16, 24, 48, 72)):
        g = Conv2dGeometry.of((1, 3, 8, 16), (K, 3, 1, 1))
        found |= {(lanes, K)} if streams(g, arrays.CHANNELS_LAST, unit) else set()
    assert found == {(8, 16), (8, 48), (16, 16), (16, 48)}
