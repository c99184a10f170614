"""What comes before the first result: imports, the first call, compilation; each in a fresh process."""

import pytest

from benchmarks import fresh
from benchmarks.reported import show, show_reported
from fastconv import available_backends
from fastconv._kernels.contract import OPERATIONS
from fastconv.dtypes import FLOAT_TYPES

ROUNDS = 5
STATUS = available_backends()
USABLE = [name for name, status in STATUS.items() if status]


@show_reported
@pytest.mark.parametrize("package", ["numpy", "fastconv"])
def test_import(benchmark, package):
    benchmark.group = "import"
    fresh.run("import_time", package)  # the first of all may read from the disk and write bytecode
    reports = [fresh.run("import_time", package) for _ in range(ROUNDS)]
    show(benchmark, [report["seconds"] for report in reports])
    benchmark.extra_info["modules"] = reports[-1]["modules"]


@show_reported
@pytest.mark.parametrize("backend", USABLE)
def test_first_conv2d(benchmark, backend, threads):
    benchmark.group = "first conv2d of a process"
    reports = [fresh.run("first_call", backend, FASTCONV_NUM_THREADS=str(threads)) for _ in range(ROUNDS)]
    show(benchmark, [report["seconds"] for report in reports])
    benchmark.extra_info["seconds_of_a_later_call"] = reports[-1]["later"]


@show_reported
@pytest.mark.skipif(not STATUS["numba"], reason=f"numba: {STATUS['numba'].reason}")
@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("op", OPERATIONS)
def test_compilation(benchmark, op, dtype, threads, tmp_path):
    benchmark.group = f"compilation {dtype}"
    settings = {"FASTCONV_NUM_THREADS": str(threads), "FASTCONV_CACHE_DIR": str(tmp_path)}
    report = fresh.run("compile_time", op, dtype, **settings)
    show(benchmark, [report["seconds"]])
    benchmark.extra_info["variant"] = report["variant"]
