"""GPU kernels against the reference in Numba's simulator: what they index, not what the compiler makes of it."""

import pytest
from support.cuda_cases import VARIANTS
from support.process import run_python

CHECKS = (
    *("conv2d_forward", "conv2d_grad_input", "conv2d_grad_weight", "conv2d_grad_bias"),
    *(f"variant {name}" for name in VARIANTS),
    *("pools", "split_sums", "long_sums", "every_tile", "short_runs"),
    *("vectors", "infinite_weights", "special_maxima", "rounded_once", "limits", "users", "networks"),
)
# Several in one process: most take less time than it takes to begin.
PASSES = (
    ("operations", "elementwise", "dropout", "steps", "averages", "optimizers"),
    ("classes", "norms", "statistics"),
    ("users",),
    ("network",),
)


@pytest.mark.parametrize("checks", PASSES)
def test_simulated_passes_agree_with_the_reference(checks):
    printed = run_python("-W", "ignore", "-m", "support.cuda_passes", *checks, NUMBA_ENABLE_CUDASIM="1")
    assert printed.splitlines() == [f"checked: {check}" for check in checks]


@pytest.mark.parametrize("check", CHECKS)
def test_simulated_kernels_give_the_bits_of_the_reference(check):
    printed = run_python("-m", "support.cuda_check", check, NUMBA_ENABLE_CUDASIM="1")
    assert printed.split("\n")[0] == f"checked: {check}"
