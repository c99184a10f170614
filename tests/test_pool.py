"""The thread pool: every item once, whoever calls, whatever forks; and how the number of threads is found."""

import ctypes
import os
import platform
import subprocess
import sys
import textwrap
import threading
import time

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


def drive(body, n, grain):
    """Run ``body(lo, hi, slot)`` over the pool; what it raises comes out here."""
    errors = []

    def call(_, lo, hi, slot):
        try:
            body(lo, hi, slot)
        except BaseException as error:
            errors.append(error)

    callback = RANGE_FN(call)
    pool.run(ctypes.cast(callback, ctypes.c_void_p).value, 0, n, grain)
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


def script(code, **environment):
    """Run Python code in a fresh process, with ``drive`` and ``chunks_of`` at hand, and return what it prints."""
    path = os.pathsep.join(["", *sys.path])
    head = textwrap.dedent(
        f"""
        import importlib.util, os, sys, threading
        spec = importlib.util.spec_from_file_location("helpers", {__file__!r})
        helpers = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(helpers)
        from helpers import *
        """
        if "helpers" in code
        else "import os, sys, threading"
    )
    result = subprocess.run(
        [sys.executable, "-c", head + "\n" + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
