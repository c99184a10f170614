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
        help="what this installation can do here",
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

    checked = {name: _examine_backend(name, status) for name, status in fastconv.available_backends().items()}
    compiled = [checked[name] for name in backends.AUTO_ORDER[:-1]]
    left = memory.available_bytes()
    return {
        "versions": {"fastconv": fastconv.__version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": {
            "cpu": _cpu_name(),
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
        "folders": {"data and weights": _home()},
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

    with fc.use_backend(backend):
        tensors = fc.tensor(x, requires_grad=True), fc.tensor(weight, requires_grad=True)
        out = F.max_pool2d(F.conv2d(*tensors, padding=1), 2)
        out.sum().backward()
    return out.numpy(), *(tensor.grad.numpy() for tensor in tensors if tensor.grad is not None)


def _kernel_machine() -> dict:
    try:
        from fastconv._kernels.cython_cpu import machine
    except ImportError:
        return {"instruction set": "unknown: the compiled extension is missing"}
    return {
        "instruction set": machine.instruction_set(),
        "FMA peak (GFLOP/s, float32, all threads)": round(machine.fma_peak("float32") / 1e9, 1),
        "FMA peak (GFLOP/s, float64, all threads)": round(machine.fma_peak("float64") / 1e9, 1),
    }


def _speed() -> dict:
    """Percent of the multiply-add peak on one large layer, by backend and direction."""
    try:
        from fastconv._kernels.cython_cpu import machine
    except ImportError:
        return {"unknown": "the compiled extension that measures the peak is missing"}
    from fastconv import available_backends
    from fastconv.backends import AUTO_ORDER
    from fastconv.bench.peak import RESNET_LAYER, peak_fractions

    names = [name for name in AUTO_ORDER[:-1] if available_backends()[name]]
    fractions = peak_fractions(RESNET_LAYER, names, peak=machine.fma_peak())
    return {
        f"{name}, {RESNET_LAYER.name}, N={RESNET_LAYER.x_shape[0]}, % of FMA peak": ", ".join(
            f"{op.removeprefix('conv2d_')} {fraction:.0%}" for op, fraction in directions.items()
        )
        for name, directions in fractions.items()
    }


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


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _openmp_copies() -> list[str]:
    """More than one in a process costs speed and can hang it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    files = {line.split()[-1] for line in lines if "/" in line}
    return sorted(Path(file).name for file in files if Path(file).name.startswith(_OPENMP_LIBRARIES))


def _home() -> str:
    from fastconv.datasets import cache

    return str(cache.home())


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
