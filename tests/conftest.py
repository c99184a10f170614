"""Seeds, oracles and Hypothesis' settings for the whole suite.

FASTCONV_TEST_SEED repeats a run's random data; FASTCONV_REQUIRE_ORACLES=1 makes every skipped oracle a failure.
FASTCONV_CACHE_DIR keeps compiled kernels from one run to the next; without it every run compiles its own, once.
"""

import os
import tempfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from support.browser import chromium

import fastconv as fc
from fastconv import backends

SEED = int(os.environ.get("FASTCONV_TEST_SEED") or np.random.SeedSequence().entropy % 2**32)
# Before anything is compiled, and for all processes that the tests start; pytest-xdist's workers share both.
os.environ["FASTCONV_TEST_SEED"] = str(SEED)
_CACHE = tempfile.TemporaryDirectory(prefix="fastconv-tests-")
os.environ.setdefault("FASTCONV_CACHE_DIR", _CACHE.name)
REQUIRE_ORACLES = os.environ.get("FASTCONV_REQUIRE_ORACLES") == "1"

settings.register_profile(
    "fastconv", deadline=None, max_examples=60, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fastconv")


def pytest_report_header():
    return f"random data: FASTCONV_TEST_SEED={SEED}"


def pytest_collection_modifyitems(items):
    # The files that compile for minutes: no process is to be left alone with one of them at the end.
    items.sort(key=lambda item: item.path.name not in ("test_sanitizers.py", "test_cuda_compile.py"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        report.sections.append(("random data", f"FASTCONV_TEST_SEED={SEED}"))
    if REQUIRE_ORACLES and report.skipped and item.get_closest_marker("oracle"):
        report.outcome = "failed"
        report.longrepr = f"FASTCONV_REQUIRE_ORACLES=1, but this oracle was skipped: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _parameters_and_dropout_too_can_be_repeated(request):
    # Not the numbers of ``rng``: parameters would go with the data.
    fc.manual_seed(zlib.crc32(f"{SEED} {request.node.nodeid}".encode()))


@pytest.fixture
def rng(request):
    """Random numbers of this run and this test."""
    return np.random.default_rng([SEED, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def browser(tmp_path):
    with chromium(tmp_path / "profile") as driving:
        yield driving


@pytest.fixture
def _restore_settings():
    """Whatever a test sets for the whole process is taken back."""
    threads, name = fc.get_num_threads(), backends._process_wide
    yield
    fc.set_num_threads(threads)
    backends._process_wide = name
