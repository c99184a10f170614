"""Every GPU kernel compiled for two compute capabilities, on any machine: types, registers, memory; and launched there.

What is launched does not run: numbers and addresses go as far as to the driver.
"""

import json

import pytest
from support.process import run_python, script

from fastconv.dtypes import FLOAT_TYPES

PARTS = ("conv2d_sum 128x128", "conv2d_sum 64x", "conv2d_sum 32x", "conv2d_weight_sum", "pool2d")
DEPTHWISE = tuple(f"conv2d_depthwise {edge}x" for edge in (3, 5, 7))
OTHERS = ("conv2d_grouped", "conv2d_pack", "conv2d_fold", "conv2d_join", "conv2d_add", "conv2d_bias_sum")
OTHERS += ("elementwise", "local_response_norm", "locally_connected2d", "batch_norm", "classes", "machine")
# The loops of half types are those of float32, but for how numbers are read and written: of each way, one.
HALVES = {
    "float16": (
        *("conv2d_sum 64x128 pixels", "conv2d_depthwise 3x3 by 2", "conv2d_join", "conv2d_bias_sum 1"),
        *("max_pool2d uint8", "max_pool2d_grad uint8", "elementwise relu_grad_input", "conv2d_grouped weight_sum 4"),
    ),
    "bfloat16": (
        *("conv2d_sum 128x128 channels channels", "conv2d_sum 32x16 into float32 elements", "conv2d_pack"),
        *("conv2d_weight_sum 128x128 tiled", "conv2d_add", "conv2d_fold", "max_pool2d uint16", "elementwise acc"),
        *("conv2d_grouped by 8 elements", "conv2d_grouped pack"),
    ),
}
# Kernels with these names exchange values in shared memory.
EXCHANGING = ("_sum", "classes")
# Of a thread, and of a block that needs no leave for more.
MOST_REGISTERS = 255
MOST_SHARED_BYTES = 48 << 10


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("part", PARTS + DEPTHWISE + OTHERS)
def test_kernels_compile_and_keep_their_sums_in_registers(part, dtype):
    lines = [json.loads(line) for line in run_python("-m", "support.cuda_code", dtype, part).splitlines()]
    assert lines or dtype == "float64"
    check(lines)


@pytest.mark.parametrize("dtype", HALVES)
def test_kernels_of_half_types_compile(dtype):
    lines = [json.loads(line) for line in run_python("-m", "support.cuda_code", dtype, *HALVES[dtype]).splitlines()]
    assert len(lines) >= 2 * len(HALVES[dtype])
    check(lines)


def check(lines):
    """Sums are in registers, and what threads exchange fits into the memory that they share."""
    for found in lines:
        assert 0 < found["registers"] <= MOST_REGISTERS, found
        assert (found["stack"], found["spills"]) == (0, 0), found
        assert found["shared"] <= MOST_SHARED_BYTES, found
        assert any(name in found["name"] for name in EXCHANGING) == (found["shared"] > 0), found


def test_every_kernel_is_in_some_part():
    code = "from fastconv._kernels import numba_cuda; print(*numba_cuda.kernels({!r}), sep='\\n')"
    for dtype in FLOAT_TYPES:
        names = script(code.format(dtype)).splitlines()
        assert names
        assert not [name for name in names if not any(part in name for part in PARTS + DEPTHWISE + OTHERS)]


@pytest.mark.parametrize("dtype", [*FLOAT_TYPES, "bfloat16"])
def test_every_launch_is_one_that_a_driver_takes(dtype):
    count, *names = run_python("-m", "support.cuda_launches", dtype).split()
    assert int(count) > 10_000
    assert {"conv2d_sum", "conv2d_weight_sum", "conv2d_join", "conv2d_depthwise", "elementwise"} <= set(names)
