"""The C kernels with the compiler's own checks: no access beyond an allocation, none misaligned, no undefined step."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.process import TESTS, run_python

ROOT = TESTS.parent
LEVELS = ("4", "3", "2", "0")
# Checks as calls and few optimisations: that compiles several times as fast.
CFLAGS = (
    *("-Og", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *("--param", "asan-instrumentation-with-call-threshold=0"),
)
OPTIONS = {"PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
pytestmark = pytest.mark.oracle


def libasan():
    """Where the run-time part of the checks is, or None."""
    if shutil.which("gcc") is None or not sys.platform.startswith("linux"):
        return None
    named = ["gcc", "-print-file-name=libasan.so"]
    found = Path(subprocess.run(named, capture_output=True, text=True, check=True).stdout.strip())
    return found if found.is_absolute() else None


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The environment of processes that use a copy of the package with checks in its kernels."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    if libasan() is None or not (ROOT / "setup.py").exists():
        pytest.skip("needs a checkout and gcc with AddressSanitizer")
    copy = tmp_path_factory.mktemp("checked")
    shutil.copytree(ROOT / "fastconv", copy / "fastconv", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, copy)
    built = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=copy,
        env=os.environ | {"CC": "gcc", "CFLAGS": " ".join(CFLAGS), "FASTCONV_REQUIRE_EXT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return OPTIONS | {"LD_PRELOAD": str(libasan()), "PYTHONPATH": os.pathsep.join([str(copy), str(TESTS)])}


def test_no_kernel_does_what_c_forbids(checked):
    def check(level):
        return run_python("-m", "support.exact_check", "cython", "--bare", FASTCONV_ISA=level, **checked)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for printed in pool.map(check, LEVELS):
            assert "checks: " in printed
            assert "checks: 0" not in printed


@pytest.mark.parametrize("case", ["channels above 64", "few outputs", "whole vectors", "pool, overlapping"])
@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("--lacking", r"ERROR: AddressSanitizer: .*\nWRITE .*\n(?: +#0 .*interceptor_memcpy .*\n)? +#[01] .* {source}"),
        ("--skew", r"{source}\S+ runtime error: .* misaligned"),
    ],
)
def test_the_checks_see_a_fault(checked, case, fault, report):
    with pytest.raises(AssertionError, match=report.format(source="fastconv/_kernels/cython_cpu/c/")):
        run_python("-m", "support.exact_check", "cython", "--bare", fault, "1", case, **checked)
