"""The thread pool: every item once, whoever calls, whatever forks; and how the number of threads is found."""

import ctypes
import os
import platform
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from fastconv._kernels import pool
from fastconv._kernels.pool.limits import AFFINITY, cgroup_cpus, default_num_threads

RANGE_FN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_ssize_t)
PATIENCE = 60  # seconds until a hang counts as one

native = pytest.mark.skipif(not pool.is_native(), reason=f"no compiled pool: {pool.native_reason()}")
workers = pytest.mark.skipif(not pool.is_native() or os.name != "posix", reason="the pool is serial here")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@pytest.fixture(autouse=True)
def _restore_threads():
    before = pool.get_num_threads()
    yield
    pool.set_num_threads(before)


def drive(body, n, grain, *threads):
    """Run ``body(lo, hi, slot)`` over the pool; what it raises comes out here."""
    errors = []

    def call(_, lo, hi, slot):
        try:
            body(lo, hi, slot)
        except BaseException as error:
            errors.append(error)

    callback = RANGE_FN(call)
    pool.run(ctypes.cast(callback, ctypes.c_void_p).value, 0, n, grain, *threads)
    if errors:
        raise errors[0]


def chunks_of(n, grain):
    """The calls that a region makes, in the order of the items."""
    calls = []
    drive(lambda lo, hi, slot: calls.append((lo, hi, slot)), n, grain)
    return sorted(calls)


def assert_covers(calls, n, grain, threads):
    """The calls tile [0, n) in chunks that keep the promises of the header."""
    assert [lo for lo, _, _ in calls] == [0, *(hi for _, hi, _ in calls)][: len(calls)]
    assert (calls[-1][1] if calls else 0) == n
    for lo, hi, slot in calls:
        assert lo % grain == 0
        assert hi - lo >= min(grain, n) or hi == n
        assert 0 <= slot < threads


HELPERS = f"""
import ctypes, importlib.util, os, sys, threading, time
spec = importlib.util.spec_from_file_location("helpers", {__file__!r})
helpers = sys.modules["helpers"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(helpers)
from helpers import assert_covers, assert_two_threads_meet, chunks_of, drive, pool
"""


def script(code, prelude=HELPERS, **environment):
    """Run Python code in a fresh process, after ``prelude``, and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", prelude + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def assert_two_threads_meet():
    """One region of two items in which each waits for the other: it ends only if a worker takes part."""
    barrier = threading.Barrier(2, timeout=PATIENCE)
    slots = []

    def body(_lo, _hi, slot):
        slots.append(slot)
        barrier.wait()

    pool.set_num_threads(2)
    drive(body, 2, 1)
    assert sorted(slots) == [0, 1]


# What a region does


@native
@pytest.mark.parametrize("threads", [1, 2, 3, 8, 300])
@pytest.mark.parametrize("grain", [1, 3, 64, 1000])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 100, 1001, 20_000])
def test_every_item_once(n, grain, threads):
    pool.set_num_threads(threads)
    assert_covers(chunks_of(n, grain), n, grain, threads)


@native
@pytest.mark.parametrize(
    ("n", "grain"),
    [(2**62, 2**60), (2**63 - 1, 2**61 + 1), (2**63 - 1, 2**63 - 1), (5 * 10**9, 10**9), (2**40, 2**31), (2**62, 1)],
)
def test_sizes_beyond_32_bits(n, grain):
    if sys.maxsize < n:
        pytest.skip("a 32-bit system")
    pool.set_num_threads(3)
    assert_covers(chunks_of(n, grain), n, grain, 3)


@native
@pytest.mark.parametrize(("n", "grain"), [(0, 1), (-1, 1), (-(2**63), 5)])
def test_nothing_to_do(n, grain):
    pool.set_num_threads(4)
    assert chunks_of(n, grain) == []


@native
@pytest.mark.parametrize("grain", [0, -1, -(2**63)])
def test_a_grain_below_one_counts_as_one(grain):
    pool.set_num_threads(2)
    assert_covers(chunks_of(10, grain), 10, 1, 2)


@native
@pytest.mark.parametrize(("n", "grain", "threads"), [(10, 10, 4), (10, 11, 4), (1000, 1, 1)])
def test_small_or_single_work_is_one_call(n, grain, threads):
    pool.set_num_threads(threads)
    assert chunks_of(n, grain) == [(0, n, 0)]


@native
def test_slots_in_use_at_the_same_time_differ():
    pool.set_num_threads(8)
    in_use = set()
    clashes = []

    def body(_lo, _hi, slot):
        if slot in in_use:
            clashes.append(slot)
        in_use.add(slot)
        time.sleep(0.0005)
        in_use.discard(slot)

    for _ in range(20):
        drive(body, 40, 1)
    assert clashes == []


@workers
@pytest.mark.parametrize("idle", [0, 0.02])
def test_workers_take_part(idle):
    for _ in range(10):
        assert_two_threads_meet()
        time.sleep(idle)


@workers
def test_each_thread_begins_with_its_own_share():
    pool.set_num_threads(2)
    barrier, first = threading.Barrier(2, timeout=PATIENCE), {}

    def body(lo, _hi, slot):
        if slot not in first:
            first[slot] = lo
            barrier.wait()

    for _ in range(5):
        first.clear()
        drive(body, 10, 1)
        assert first == {0: 0, 1: 5}


@native
def test_compiled_function_from_numba():
    numba = pytest.importorskip("numba")
    np = pytest.importorskip("numpy")

    signature = numba.void(numba.types.CPointer(numba.int64), numba.intp, numba.intp, numba.intp)

    @numba.cfunc(signature)
    def count(hits, lo, hi, _slot):
        items = numba.carray(hits, hi)
        for i in range(lo, hi):
            items[i] += 1

    for threads in (1, 2, 5):
        pool.set_num_threads(threads)
        for n, grain in ((1, 1), (1000, 1), (100_003, 7), (100_000, 1)):
            hits = np.zeros(n + 1, np.int64)
            pool.run(count.address, hits.ctypes.data, n, grain)
            assert (hits[:n] == 1).all()
            assert hits[n] == 0


@native
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_region_keeps_the_number_of_threads_that_it_was_given(threads):
    slots = []

    def body(_lo, _hi, slot):
        slots.append(slot)
        time.sleep(1e-3)

    pool.set_num_threads(8)
    drive(body, 100, 1, threads)
    assert 0 <= min(slots) <= max(slots) < threads


@native
def test_null_function_is_refused():
    with pytest.raises(ValueError, match="address"):
        pool.run(0, 0, 10, 1)
    with pytest.raises(ValueError, match="address"):
        pool.launcher(0, bytes(8), (), 10, 1)


def launch(words, slots, values, *, length):
    """The context that a launched function sees, the first ``length`` words of it."""
    seen = []
    callback = RANGE_FN(lambda context, *_: seen.append(ctypes.cast(context, ctypes.POINTER(ctypes.c_int64))[:length]))
    pool.launcher(ctypes.cast(callback, ctypes.c_void_p).value, words, slots, 1, 1).on(values, 1)
    return seen[0]


@native
def test_launch_puts_addresses_and_numbers_into_a_copy_of_the_words():
    words = struct.pack("5q", *range(10, 15))
    array = np.ones((2, 3, 4), np.float32)[:, ::-1].transpose(2, 0, 1)
    array.flags.writeable = False
    block, packed = array.ctypes.data, bytearray(5)
    seen = launch(words, (3, 0, 2), (array, -(2**63), packed), length=5)
    address = ctypes.addressof((ctypes.c_char * 5).from_buffer(packed))
    assert seen == [-(2**63), 11, address, block, 14]
    assert words == struct.pack("5q", *range(10, 15))
    assert launch(struct.pack("128q", *range(128)), (127,), (5,), length=128) == [*range(127), 5]


@native
def test_a_launch_repeats_itself_on_the_threads_that_are_set():
    seen = []
    callback = RANGE_FN(lambda context, *chunk: seen.append((ctypes.c_int64.from_address(context).value, *chunk)))
    launched = pool.launcher(ctypes.cast(callback, ctypes.c_void_p).value, bytes(8), (0,), 10, 5)
    pool.set_num_threads(1)
    assert [launched(7), launched(8)] == [0, 0]
    assert seen == [(7, 0, 10, 0), (8, 0, 10, 0)]
    del seen[:]
    pool.set_num_threads(2)
    launched(9)
    assert sorted(chunk[:3] for chunk in seen) == [(9, 0, 5), (9, 5, 10)]


@native
@pytest.mark.parametrize(
    ("words", "slots", "values", "error"),
    [
        (bytes(8 * 129), (), (), ValueError),
        (bytes(16), (2,), (0,), ValueError),
        (bytes(16), (-1,), (0,), ValueError),
        (bytes(16), (0, 1), (0,), ValueError),
        (bytes(16), (0,) * 129, (0,) * 129, ValueError),
        (bytes(16), (0,), (2**63,), OverflowError),
        (bytes(16), (0,), (1.5,), TypeError),
        (bytearray(16), (0,), (0,), TypeError),
    ],
)
def test_launch_refuses_what_does_not_fit(words, slots, values, error):
    called = []
    callback = RANGE_FN(lambda *_: called.append(1))
    with pytest.raises(error):
        pool.launcher(ctypes.cast(callback, ctypes.c_void_p).value, words, slots, 1, 1).on(values, 1)
    assert not called


@workers
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"),
    reason="needs the rounding-mode constants of this platform",
)
def test_workers_round_as_the_caller_does():
    libm = ctypes.CDLL("libm.so.6")
    upward = 0x800 if platform.machine() == "x86_64" else 0x400000
    one, tiny = 1.0, 1e-30
    sums = {}
    barrier = threading.Barrier(2)

    def body(_lo, _hi, slot):
        barrier.wait()
        sums[slot] = one + tiny

    pool.set_num_threads(2)
    assert libm.fesetround(upward) == 0
    try:
        drive(body, 2, 1)
    finally:
        libm.fesetround(0)
    assert sums[0] == sums[1] > 1.0
    drive(body, 2, 1)
    assert sums[0] == sums[1] == 1.0


# Who else calls


@native
def test_nested_call_is_serial():
    pool.set_num_threads(4)
    inner = []

    def body(lo, _hi, _slot):
        inner.append((lo, threading.get_ident(), calls := [], callers := []))
        drive(lambda *call: (calls.append(call), callers.append(threading.get_ident())), 50, 1)

    drive(body, 12, 1)
    assert sorted(lo for lo, *_ in inner) == list(range(12))
    for _, ident, calls, callers in inner:
        assert calls == [(0, 50, 0)]
        assert callers == [ident]


@workers
def test_call_while_the_pool_is_busy_is_serial_and_does_not_wait():
    pool.set_num_threads(2)
    inside, leave = threading.Event(), threading.Event()

    def body(_lo, _hi, _slot):
        inside.set()
        assert leave.wait(PATIENCE)

    thread = threading.Thread(target=drive, args=(body, 2, 1))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        assert chunks_of(100, 1) == [(0, 100, 0)]
    finally:
        leave.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert_two_threads_meet()


@native
def test_several_threads_call_at_once():
    pool.set_num_threads(3)
    failures = []

    def caller(seed):
        try:
            for i in range(60):
                n, grain = (seed * 37 + i * 11) % 300, 1 + (seed + i) % 5
                assert_covers(chunks_of(n, grain), n, grain, 3)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


@workers
def test_count_set_while_a_region_runs():
    pool.set_num_threads(2)
    both, leave = threading.Barrier(3, timeout=PATIENCE), threading.Event()
    calls = []

    def body(lo, hi, slot):
        calls.append((lo, hi, slot))
        if len(calls) <= 2:
            both.wait()
            assert leave.wait(PATIENCE)

    thread = threading.Thread(target=drive, args=(body, 30, 1))
    thread.start()
    both.wait()
    for count in (1, 7, 3):
        pool.set_num_threads(count)
    leave.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert_covers(sorted(calls), 30, 1, 2)
    assert pool.get_num_threads() == 3


# What Cython modules import


def capsule(name, result, *arguments):
    module = sys.modules["fastconv._kernels.pool._native"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    held = module.__pyx_capi__[name]
    return ctypes.CFUNCTYPE(result, *arguments)(api.PyCapsule_GetPointer(held, api.PyCapsule_GetName(held)))


@native
def test_c_interface():
    size = ctypes.c_ssize_t
    max_slots = capsule("max_slots", size)()
    num_threads = capsule("num_threads", size)
    parallel_for = capsule("parallel_for", None, RANGE_FN, ctypes.c_void_p, size, size)
    parallel_for_threads = capsule("parallel_for_threads", None, RANGE_FN, ctypes.c_void_p, size, size, size)
    pool.set_num_threads(10**30)
    assert pool.get_num_threads() == num_threads() == max_slots == 256
    calls = []
    record = RANGE_FN(lambda _, lo, hi, slot: calls.append((lo, hi, slot)))
    parallel_for_threads(record, None, 40, 1, 2)
    assert_covers(sorted(calls), 40, 1, 2)
    calls.clear()
    pool.set_num_threads(3)
    parallel_for(record, None, 41, 2)
    assert_covers(sorted(calls), 41, 2, 3)
    for count in (1, 0, -5):
        calls.clear()
        parallel_for_threads(record, None, 40, 1, count)
        assert calls == [(0, 40, 0)]


# Processes: fork, exit, too little memory, CPU masks


FORK = """
def in_child(work):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@workers
@needs_fork
def test_forked_child_has_fresh_workers():
    code = """
    assert_two_threads_meet()
    for _ in range(5):
        in_child(assert_two_threads_meet)
    in_child(lambda: in_child(assert_two_threads_meet))
    assert_two_threads_meet()
    print("done")
    """
    assert script(FORK + textwrap.dedent(code)) == "done"


@workers
@needs_fork
def test_fork_while_another_thread_is_inside():
    code = """
    pool.set_num_threads(2)
    inside, leave = threading.Barrier(3), threading.Event()

    def body(lo, hi, slot):
        inside.wait()
        assert leave.wait(60)

    thread = threading.Thread(target=drive, args=(body, 2, 1))
    thread.start()
    inside.wait()
    for _ in range(5):
        in_child(assert_two_threads_meet)
    leave.set()
    thread.join()
    assert_two_threads_meet()
    print("done")
    """
    assert script(FORK + textwrap.dedent(code)) == "done"


@workers
@needs_fork
def test_forks_while_other_threads_call():
    """The callers run compiled code: a fork while foreign threads enter Python can hang CPython 3.11 itself."""
    code = """
    stop = threading.Event()
    compiled = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value

    def caller():
        while not stop.is_set():
            pool.run(compiled, 0, 50, 1)

    threads = [threading.Thread(target=caller) for _ in range(2)]
    pool.set_num_threads(2)
    for thread in threads:
        thread.start()
    for _ in range(30):
        in_child(assert_two_threads_meet)
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
    """
    assert script(FORK + textwrap.dedent(code)) == "done"


@workers
@pytest.mark.parametrize("pause", [0, 0.01], ids=["spinning", "asleep"])
def test_exit_does_not_hang(pause):
    assert script(f"assert_two_threads_meet(); time.sleep({pause}); print('done')") == "done"


@workers
def test_exit_while_a_region_is_open():
    code = """
    import ctypes
    both = threading.Barrier(3)

    def body(lo, hi, slot):
        both.wait()
        ctypes.CDLL(None).sleep(900)

    pool.set_num_threads(2)
    threading.Thread(target=drive, args=(body, 2, 1), daemon=True).start()
    both.wait()
    assert chunks_of(10, 1) == [(0, 10, 0)]
    print("done")
    """
    assert script(code) == "done"


@workers
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
def test_threads_that_cannot_be_created_only_cost_speed():
    code = """
    import resource
    pool.set_num_threads(8)
    calls = chunks_of(1, 1)
    threads = os.listdir("/proc/self/task")
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, resource.RLIM_INFINITY))
    calls = chunks_of(20, 1)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert os.listdir("/proc/self/task") == threads
    assert_covers(calls, 20, 1, 8)
    assert {slot for _, _, slot in calls} == {0}
    print("done")
    """
    assert script(code) == "done"


@workers
def test_signals_go_to_threads_of_the_program():
    code = """
    import signal
    masks = {}
    barrier = threading.Barrier(2)

    def body(lo, hi, slot):
        barrier.wait()
        masks[slot] = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pool.set_num_threads(2)
    drive(body, 2, 1)
    assert masks[0] == before == signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM} <= masks[1]
    assert not masks[1] & {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT}
    print("done")
    """
    assert script(code) == "done"


@workers
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU masks on this system")
def test_workers_of_a_bound_caller_run_elsewhere():
    code = """
    allowed = os.sched_getaffinity(0)
    assert_two_threads_meet()
    own = min(allowed)
    os.sched_setaffinity(0, {own})
    masks = {}
    barrier = threading.Barrier(2)

    def body(lo, hi, slot):
        barrier.wait()
        masks[slot] = os.sched_getaffinity(0)

    for _ in range(3):
        time.sleep(0.02)
        drive(body, 2, 1)
    assert masks[0] == {own}
    assert masks[1] == (allowed - {own} or allowed)
    print("done")
    """
    assert script(code) == "done"


# How many threads


@pytest.mark.parametrize("value", [True, False, 1.0, "2", None, 2.5, [1]])
def test_count_of_wrong_type(value):
    before = pool.get_num_threads()
    with pytest.raises(TypeError, match="must be an int"):
        pool.set_num_threads(value)
    assert pool.get_num_threads() == before


@pytest.mark.parametrize("value", [0, -1, -(10**30)])
def test_count_below_one(value):
    before = pool.get_num_threads()
    with pytest.raises(ValueError, match="at least 1"):
        pool.set_num_threads(value)
    assert pool.get_num_threads() == before


def test_count_is_kept():
    pool.set_num_threads(5)
    assert pool.get_num_threads() == 5


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 8),
        ({"FASTCONV_NUM_THREADS": "3"}, 3),
        ({"FASTCONV_NUM_THREADS": " 12 ", "OMP_NUM_THREADS": "2"}, 12),
        ({"FASTCONV_NUM_THREADS": ""}, 8),
        ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "5"}, 2),
        ({"OMP_NUM_THREADS": "5", "NUMBA_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": "100"}, 8),
        ({"OMP_NUM_THREADS": "many", "NUMBA_NUM_THREADS": "-3"}, 8),
        ({"OMP_NUM_THREADS": "0", "NUMBA_NUM_THREADS": ""}, 8),
    ],
)
def test_default_from_the_environment(tmp_path, environ, expected):
    assert default_num_threads(environ, str(tmp_path), 8) == expected


@pytest.mark.parametrize("text", ["abc", "0", "-1", "1.5", "2 3", "4,2", "1e3", "٣", "9" * 5000])
def test_malformed_own_variable(tmp_path, text):
    with pytest.raises(ValueError, match="FASTCONV_NUM_THREADS must be a positive integer"):
        default_num_threads({"FASTCONV_NUM_THREADS": text}, str(tmp_path), 8)


def test_malformed_own_variable_is_reported_at_first_use():
    code = """
    from fastconv._kernels import pool
    pool.is_native()
    for use in (pool.get_num_threads, pool.default_num_threads, lambda: pool.is_native() and pool.run(1, 0, 5, 1)):
        try:
            use()
        except ValueError as error:
            assert "FASTCONV_NUM_THREADS" in str(error)
        else:
            assert not pool.is_native()
    pool.set_num_threads(2)
    print(pool.get_num_threads())
    """
    assert script(code, "", FASTCONV_NUM_THREADS="lots") == "2"


def test_default_counts_the_affinity_of_the_import():
    assert default_num_threads({}, "/nonexistent") == len(AFFINITY)
    code = """
    import os
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from fastconv._kernels import pool
        assert pool.default_num_threads() == pool.get_num_threads() == 1
    print("done")
    """
    environment = {"FASTCONV_NUM_THREADS": "", "OMP_NUM_THREADS": "", "NUMBA_NUM_THREADS": ""}
    assert script(code, "", **environment) == "done"


def tree(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


FS, SELF = "sys/fs/cgroup/", "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({SELF: "0::/\n"}, None),
        ({SELF: "0::/\n", FS + "cpu.max": "150000 100000\n"}, 2),
        ({FS + "cpu.max": "200000 100000\n"}, 2),
        ({SELF: "0::/\n", FS + "cpu.max": "1000 100000\n"}, 1),
        ({SELF: "0::/\n", FS + "cpu.max": "max 100000\n"}, None),
        ({SELF: "0::/a/b\n", FS + "a/b/cpu.max": "300000 100000\n"}, 3),
        ({SELF: "0::/a/b\n", FS + "a/b/cpu.max": "max 100000\n", FS + "a/cpu.max": "100000 100000\n"}, 1),
        ({SELF: "0::/a\n", FS + "b/cpu.max": "100000 100000\n"}, None),
        ({SELF: "0::/host/path\n", FS + "cpu.max": "250000 100000\n"}, 3),
        ({SELF: "0::/../../x\n", FS + "x/cpu.max": "400000 100000\n", "sys/x/cpu.max": "1 1\n"}, 4),
        ({SELF: "0::/a:b\n", FS + "a:b/cpu.max": "100000 50000\n"}, 2),
    ],
)
def test_cgroup_version_2(tmp_path, files, expected):
    assert cgroup_cpus(tree(tmp_path, files)) == expected


QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"
V1 = "5:memory:/m\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/s\n0::/\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({SELF: V1, FS + "cpu/docker/x/" + QUOTA: "250000\n", FS + "cpu/docker/x/" + PERIOD: "100000\n"}, 3),
        ({SELF: V1, FS + "cpu,cpuacct/docker/" + QUOTA: "50000\n", FS + "cpu,cpuacct/docker/" + PERIOD: "100000\n"}, 1),
        ({SELF: V1, FS + "cpu/docker/x/" + QUOTA: "-1\n", FS + "cpu/docker/x/" + PERIOD: "100000\n"}, None),
        ({SELF: V1, FS + "cpu/" + QUOTA: "400000\n", FS + "cpu/" + PERIOD: "100000\n"}, 4),
        ({SELF: V1, FS + "memory/m/" + QUOTA: "100000\n", FS + "memory/m/" + PERIOD: "100000\n"}, None),
        ({SELF: V1, FS + "cpu/" + QUOTA: "400000\n"}, None),
    ],
)
def test_cgroup_version_1(tmp_path, files, expected):
    assert cgroup_cpus(tree(tmp_path, files)) == expected


@pytest.mark.parametrize("text", ["", "abc", "abc 100000", "100000 0", "100000 x", "-5 100000", "1 2 3", "\0\xff"])
def test_malformed_cgroup_files_count_as_no_limit(tmp_path, text):
    assert cgroup_cpus(tree(tmp_path, {SELF: "nonsense\n::\n0::/\n", FS + "cpu.max": text})) is None


def test_quota_limits_the_default(tmp_path):
    root = tree(tmp_path, {SELF: "0::/\n", FS + "cpu.max": "150000 100000\n"})
    assert default_num_threads({}, root, 8) == 2
    assert default_num_threads({"OMP_NUM_THREADS": "1"}, root, 8) == 1
    assert default_num_threads({"FASTCONV_NUM_THREADS": "6"}, root, 8) == 6


# With and without the extension


def test_native_and_reason_agree():
    assert pool.is_native() == (pool.native_reason() is None)


def test_without_the_extension():
    code = """
    import sys
    sys.modules["fastconv._kernels.pool._native"] = None
    from fastconv._kernels import pool
    assert not pool.is_native()
    assert "_native" in pool.native_reason()
    assert pool.get_num_threads() == pool.default_num_threads()
    pool.set_num_threads(7)
    assert pool.get_num_threads() == 7
    try:
        pool.run(1, 0, 10, 1)
    except ImportError as error:
        assert pool.native_reason() in str(error)
    else:
        raise AssertionError("run without the extension")
    try:
        pool.launcher(1, bytes(8), (), 10, 1)
    except ImportError as error:
        assert pool.native_reason() in str(error)
    else:
        raise AssertionError("launcher without the extension")
    print("done")
    """
    assert script(code, "") == "done"


def test_import_is_light():
    code = """
    import sys
    import fastconv._kernels.pool
    print([name for name in ("numba", "fastconv._kernels.pool._native") if name in sys.modules])
    """
    assert script(code, "") == "[]"
