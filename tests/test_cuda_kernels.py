"""GPU kernels against the reference: in Numba's simulator, and where there is a GPU on it, too.

The simulator shows what kernels index, the GPU what the compiler has made of them.
"""

import itertools

import pytest
from support.cuda_arrays import HAS_GPU
from support.cuda_cases import VARIANTS
from support.kernel_calls import CONV_OPERATIONS, POOL_OPERATIONS
from support.process import run_python

# NUMBA_ENABLE_CUDASIM by where kernels run.
PLACES = {"simulator": "1"} | ({"gpu": "0"} if HAS_GPU else {})
CHECKS = (
    *CONV_OPERATIONS,
    *(f"variant {name}" for name in VARIANTS),
    *("pools", "unshared", "split_sums", "long_sums", "every_tile", "short_runs"),
    *("vectors", "infinite_weights", "special_maxima", "rounded_once", "limits", "users", "networks"),
)
# All that the kernels of the CPU compute; the simulator would take hours.
CASES = tuple(f"cases {op}" for op in (*CONV_OPERATIONS, *POOL_OPERATIONS))
# Several in one process: most take less time than it takes to begin.
PASSES = (
    ("operations", "elementwise", "responses", "dropout", "steps", "averages", "optimizers"),
    ("classes", "norms", "statistics"),
    ("users",),
    ("network",),
)
HALVES = (
    ("convolutions", "rounding"),
    ("padding_modes", "pools", "passes"),
    ("runs", "infinite_weights", "users", "networks"),
)


@pytest.mark.parametrize(
    ("checks", "place"),
    [*itertools.product(HALVES, PLACES), *((("cases",), place) for place in PLACES if place == "gpu")],
)
def test_halves_are_those_of_the_reference_rounded_once(checks, place):
    printed = run_python("-W", "ignore", "-m", "support.cuda_halves", *checks, NUMBA_ENABLE_CUDASIM=PLACES[place])
    assert printed.splitlines() == [f"checked: {check}" for check in checks]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("checks", PASSES)
def test_passes_agree_with_the_reference(checks, place):
    printed = run_python("-W", "ignore", "-m", "support.cuda_passes", *checks, NUMBA_ENABLE_CUDASIM=PLACES[place])
    assert printed.splitlines() == [f"checked: {check}" for check in checks]


@pytest.mark.parametrize(
    ("check", "place"),
    [*itertools.product(CHECKS, PLACES), *((check, place) for check in CASES for place in PLACES if place == "gpu")],
)
def test_kernels_give_the_bits_of_the_reference(check, place):
    printed = run_python("-m", "support.cuda_check", check, NUMBA_ENABLE_CUDASIM=PLACES[place])
    assert printed.split("\n")[0] == f"checked: {check}"
