"""``fastconv doctor``: what this installation can do here, and what stands in its way."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

VARIABLES = (
    "FASTCONV_BACKEND",
    "FASTCONV_NUM_THREADS",
    "FASTCONV_ISA",
    "FASTCONV_HOME",
    "FASTCONV_CACHE_DIR",
    "FASTCONV_DEBUG",
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
_OPENMP_LIBRARIES = ("libgomp", "libiomp", "libomp")
_IMPORT_TIMER = "import time; t = time.perf_counter(); import fastconv; print(time.perf_counter() - t)"


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "doctor",
        help="report cores, instruction set and backends, and check them",
        description="Report cores, instruction set, backends, threads and folders, and check every backend. "
        "Exit code 0: a compiled backend works and no usable backend computes wrongly; 1 otherwise.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument("--speed", action="store_true", help="also time a layer on every compiled backend (seconds)")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Print the report; 0 where a compiled backend works and none is wrong."""
    report = examine()
    if options.speed:
        report["speed"] = _speed()
    print(json.dumps(report, indent=1) if options.json else _text(report))
    return 0 if report["healthy"] else 1


def examine() -> dict:
    """Everything that the doctor looks at, as plain values."""
    import fastconv
    from fastconv import backends, memory
    from fastconv._kernels import pool
    from fastconv._kernels.pool import limits
    from fastconv.bench import machine

    checked = {name: _examine_backend(name, status) for name, status in fastconv.available_backends().items()}
    compiled = [checked[name] for name in backends.AUTO_ORDER[:-1]]
    left = memory.available_bytes()
    return {
        "versions": {"fastconv": fastconv.__version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": {
            "cpu": machine.cpu_name(),
            "cores": os.cpu_count(),
            "cores allowed": len(limits.AFFINITY),
            "cgroup quota (cores)": limits.cgroup_cpus(),
            "memory left (bytes)": left,
            **_kernel_machine(),
        },
        "threads": {
            "used": _threads(),
            "native pool": "ready" if pool.is_native() else f"missing: {_pool_reason()}",
            "OpenMP copies loaded": _openmp_copies(),
            **{name: os.environ[name] for name in VARIABLES if name in os.environ},
        },
        "backends": checked,
        "folders": {"data and weights": _home(), **_caches()},
        "import time (s)": _import_time(),
        "healthy": any(entry["works"] for entry in compiled)
        and all(entry["works"] for entry in checked.values() if entry["usable"]),
    }


def _examine_backend(name: str, status) -> dict:
    entry: dict = {"usable": bool(status), "reason": status.reason, "works": False}
    if status:
        try:
            entry["works"] = _computes_rightly(name)
        except Exception as error:  # whatever a broken installation raises belongs in the report
            entry["reason"] = f"{type(error).__name__}: {error}"
    return entry


def _computes_rightly(name: str) -> bool:
    """Integer data must agree with the reference to the last bit, forward and backward."""
    generator = np.random.default_rng(0)
    x, weight = (generator.integers(-4, 5, s).astype(np.float32) for s in ((2, 5, 9, 9), (7, 5, 3, 3)))
    results = [_small_network(backend, x, weight) for backend in (name, "reference")]
    return all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def _small_network(backend, x, weight):
    import fastconv as fc
    import fastconv.functional as F
    from fastconv.backends import device

    with fc.use_backend(backend):
        tensors = [fc.tensor(array).to(device(backend)).requires_grad_() for array in (x, weight)]
        out = F.max_pool2d(F.conv2d(tensors[0], tensors[1], padding=1), 2)
        out.sum().backward()
    grads = [tensor.grad for tensor in tensors if tensor.grad is not None]
    return [tensor.cpu().numpy() for tensor in (out, *grads)]


def _kernel_machine() -> dict:
    from fastconv.bench import limits, machine
    from fastconv.dtypes import FLOAT_TYPES

    name = machine.instruction_set()
    if name is None:
        return {"instruction set": "unknown: the compiled extension is missing"}
    peaks = {dtype: limits.fma_peak(dtype, seconds=0.3) for dtype in FLOAT_TYPES}
    title = "FMA peak (GFLOP/s, {}, all threads)"
    return {"instruction set": name} | {
        title.format(dtype): round(peak / 1e9, 1) for dtype, peak in peaks.items() if peak
    }


def _speed() -> dict:
    """Percent of the multiply-add peak on one large layer, by backend and direction."""
    from fastconv import get_num_threads
    from fastconv.bench import limits, lineup, machine
    from fastconv.bench.cases import RESNET_LAYER
    from fastconv.bench.engine import Engine, Plan
    from fastconv.bench.timing import QUICK

    if machine.loops() is None:
        return {"unknown": "the compiled extension that measures the peak is missing"}
    plan = Plan(
        [RESNET_LAYER],
        lineup.backends(lineup.compiled_backends()),
        directions=RESNET_LAYER.directions,
        batches=[16],
        layouts=["channels_last"],
        threads=[get_num_threads()],
        budget=QUICK,
    )
    found: dict[str, list[str]] = {}
    for record in (record for job in Engine(plan, peak=limits.fma_peak).run() for record in job):
        said = record.reason if record.peak_fraction is None else f"{record.peak_fraction:.0%}"
        found.setdefault(record.contestant, []).append(f"{record.direction} {said}")
    title = f"{RESNET_LAYER.suite} {RESNET_LAYER.name}, N=16, channels_last, % of FMA peak"
    return {f"{name}, {title}": ", ".join(words) for name, words in found.items()}


def _threads() -> int | str:
    from fastconv import get_num_threads

    try:
        return get_num_threads()
    except ValueError as error:
        return f"MALFORMED: {error}"


def _pool_reason() -> str:
    from fastconv import _kernels
    from fastconv._kernels import pool

    return _kernels.build_failure("fastconv._kernels.pool._native") or str(pool.native_reason())


def _openmp_copies() -> list[str]:
    """More than one in a process costs speed and can hang it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {line.split()[-1] for line in lines if "/" in line}
    return sorted(Path(file).name for file in files if Path(file).name.startswith(_OPENMP_LIBRARIES))


def _home() -> str:
    from fastconv.files import cache

    return str(cache.home())


def _caches() -> dict:
    """Where backends keep what they compile, and what stands in the way."""
    from fastconv import _kernels, available_backends

    said = {}
    for name in (name for name, status in available_backends().items() if status):
        examine = getattr(_kernels.load(name), "cache_status", None)
        if examine is not None:
            cache = examine()
            problem = f"NOT USABLE ({cache.problem}), " if cache.problem else ""
            said[f"compiled by {name}"] = f"{cache.folder}: {problem}{cache.entries} files, {cache.size:,} bytes"
    return said


def _import_time() -> float:
    """The best of three fresh processes, NumPy included."""
    times = [
        float(subprocess.run([sys.executable, "-c", _IMPORT_TIMER], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    return round(min(times), 3)


def _text(report: dict) -> str:
    lines = []
    for title, content in report.items():
        if not isinstance(content, dict):
            lines.append(f"{title}: {content}")
            continue
        lines.append(f"{title}:")
        for name, value in content.items():
            lines.append(f"  {name}: {_backend_line(value) if title == 'backends' else value}")
    return "\n".join(lines)


def _backend_line(entry: dict) -> str:
    if not entry["usable"]:
        return f"not usable: {entry['reason']}"
    return "works" if entry["works"] else f"WRONG RESULTS OR FAILURE: {entry['reason'] or 'differs from the reference'}"
