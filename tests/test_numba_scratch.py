"""Numba's kernels stay within the scratch memory that their plans ask for."""

import itertools

import numpy as np
import pytest
from support.cases import WINOGRAD
from support.data import FORMATS
from support.kernel_calls import CONV_OPERATIONS, activations, geometry_of, problem_of, reference_outputs, run_fenced

import fastconv as fc
from fastconv._kernels import load
from fastconv.bench.cases import AWKWARD_CONVS

pytest.importorskip("numba")
from fastconv._kernels.numba_cpu import ranges

GUARD = 1 << 12
MARK = 0xA5


class Watched:
    """Hands out blocks that end where what was asked for ends, and looks behind them when they come back."""

    def __init__(self):
        self.looked = 0

    def take(self, size):
        block = ranges._Block(size + GUARD)
        block.size = size
        self.behind(block)[:] = MARK
        return block

    def give(self, block):
        assert (self.behind(block) == MARK).all()
        self.looked += 1

    @staticmethod
    def behind(block):
        begin = block.address + block.size - block._memory.ctypes.data
        return block._memory[begin : begin + GUARD]


@pytest.fixture
def watched(monkeypatch):
    """One thread: behind its slot there is none."""
    threads = fc.get_num_threads()
    fc.set_num_threads(1)
    monkeypatch.setattr(ranges, "_kept", Watched())
    yield ranges._kept
    fc.set_num_threads(threads)


@pytest.mark.parametrize("op", CONV_OPERATIONS)
@pytest.mark.parametrize("case", [*AWKWARD_CONVS, *WINOGRAD], ids=lambda case: case.name)
def test_nothing_is_written_behind_the_scratch_of_a_kernel(case, op, watched):
    inputs, _ = reference_outputs(case, "float32", op)
    ran = 0
    for formats, variant in itertools.product(
        itertools.product(FORMATS, repeat=len(activations(op))), load("numba").VARIANTS[op]
    ):
        problem = problem_of(op, geometry_of(case), "float32", formats, ("bias",) * case.bias, variant.name)
        ran += run_fenced("numba", op, problem, inputs) is not None
    assert ran
    assert watched.looked or op == "conv2d_grad_bias"


def test_a_write_behind_the_scratch_is_seen(watched):
    block = watched.take(100)
    np.testing.assert_array_equal(watched.behind(block), MARK)
    watched.behind(block)[0] = 0
    with pytest.raises(AssertionError):
        watched.give(block)
