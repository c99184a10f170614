"""The memory of outputs: aligned, kept when nobody holds it, bounded, and never written while anybody can see it."""

import gc
import threading

import numpy as np
import pytest
from support.data import named_rng
from support.process import run_python

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays
from fastconv._kernels.buffers import LEAST_BYTES

pytest.importorskip("fastconv._kernels.buffers._native")

LARGE = (LEAST_BYTES,)
BYTES = np.dtype(np.uint8)
buffers = fc.backends.output_buffers


@pytest.fixture(autouse=True)
def _emptied():
    """Each test begins with nothing kept, and leaves the limit as it was."""
    gc.collect()
    limit = buffers.limit
    buffers.clear()
    yield
    buffers.limit = limit
    buffers.clear()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("nbytes", [LEAST_BYTES, LEAST_BYTES + 1, 3 * LEAST_BYTES + 5, (1 << 21) - 1, 5_000_001])
def test_large_arrays_begin_at_a_cache_line_and_are_writable(nbytes):
    array = arrays.empty((nbytes,), BYTES)
    assert address(array) % 64 == 0
    array[...] = 7
    assert int(array.sum(dtype=np.int64)) == 7 * nbytes


def test_memory_is_used_again_when_the_last_view_is_gone():
    array = arrays.empty((2, 8, 32, 32), np.dtype(np.float32))
    place, view = address(array), array[1, 3]
    del array
    assert buffers.nbytes == 0
    assert address(arrays.empty((2, 8, 32, 32), np.dtype(np.float32))) != place
    del view
    assert address(arrays.empty((2, 8, 32, 32), np.dtype(np.float32))) == place


def test_an_output_that_is_held_is_never_written_again():
    rng = named_rng("held")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 8, 32, 32), (8, 8, 3, 3)))
    first = F.conv2d(x, w, padding=1)
    expected = first.copy()
    for _ in range(5):
        F.conv2d(-x, w, padding=1)
    np.testing.assert_array_equal(first, expected)


def test_what_is_kept_is_counted_bounded_and_given_back():
    held = [arrays.empty(LARGE, BYTES) for _ in range(4)]
    assert buffers.nbytes == 0
    held.clear()
    assert buffers.nbytes == 4 * LEAST_BYTES
    buffers.limit = 2 * LEAST_BYTES
    assert (buffers.limit, buffers.nbytes) == (2 * LEAST_BYTES, 2 * LEAST_BYTES)
    several = [arrays.empty(LARGE, BYTES) for _ in range(3)]
    del several
    assert buffers.nbytes == 2 * LEAST_BYTES
    buffers.clear()
    assert buffers.nbytes == 0
    buffers.limit = 0
    arrays.empty(LARGE, BYTES)
    assert buffers.nbytes == 0


def test_a_limit_that_is_no_number_of_bytes_is_refused():
    for value, error in ((-1, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)):
        with pytest.raises(error, match="limit must be"):
            buffers.limit = value


def test_threads_never_share_an_array():
    wrong = []

    def work(mark):
        for size in named_rng("threads", mark).integers(LEAST_BYTES, 4 * LEAST_BYTES, 400).tolist():
            array = arrays.empty((size,), BYTES)
            array[...] = mark
            if not (array == mark).all():
                wrong.append((mark, size))

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_child_allocates_and_frees():
    printed = run_python(
        "-c",
        "import os, numpy as np; from fastconv import arrays; arrays.empty((1 << 20,), np.dtype('u1'))\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    for _ in range(9): arrays.empty((1 << 20,), np.dtype('u1'))[...] = 1\n"
        "    os._exit(0)\n"
        "print('status', os.waitpid(pid, 0)[1])",
    )
    assert "status 0" in printed


def test_sizes_that_are_wanted_push_out_larger_ones():
    buffers.limit = 8 * LEAST_BYTES
    arrays.empty((8 * LEAST_BYTES,), BYTES)
    assert buffers.nbytes == 8 * LEAST_BYTES
    place = address(arrays.empty(LARGE, BYTES))
    assert buffers.nbytes == LEAST_BYTES
    assert address(arrays.empty(LARGE, BYTES)) == place


def test_a_view_of_another_kind_keeps_the_memory():
    array = arrays.empty(LARGE, BYTES)
    array[...] = 3
    views = [memoryview(array), np.from_dlpack(array), np.frombuffer(array, np.uint16)]
    del array
    others = [arrays.empty(LARGE, BYTES) for _ in range(4)]
    for other in others:
        other[...] = 9
    assert buffers.nbytes == 0
    assert views[0][5] == 3
    assert (views[1] == 3).all()
    assert (views[2] == 3 + (3 << 8)).all()
    views.clear()
    assert buffers.nbytes == LEAST_BYTES


def test_a_limit_beyond_all_memory_is_one():
    buffers.limit = 10**30
    assert buffers.limit > 10**15
