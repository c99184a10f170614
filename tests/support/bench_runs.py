"""Made-up benchmark runs for the tests of what is drawn and written from them."""

import numpy as np

from fastconv.bench.accuracy import KINDS
from fastconv.bench.records import OURS, TIMED, Errors, Record, Run

CONTESTANTS = ("fastconv:cython", "fastconv:numba", "torch:nchw", "onnxruntime")
DIRECTIONS = ("forward", "grad_input", "grad_weight")
PEAK = 118.0
MEMORY = 20.1
ROUNDS = 20


def record(**changes):
    """One timed convolution; times follow from ``time_median`` unless they are given."""
    values = {
        "case": "64,56->64 k3s1",
        "suite": "resnet50",
        "count": 1,
        "direction": "forward",
        "batch": 1,
        "layout": "nchw",
        "dtype": "float32",
        "threads": 1,
        "contestant": CONTESTANTS[0],
        "status": TIMED,
        "variant": "direct",
        "flops": 231_211_008,
        "bytes": 1_753_088,
        "time_median": 2.1e-3,
        "peak_gflops": PEAK,
    } | changes
    if values["status"] == TIMED:
        values = _measured(values)
    else:
        values |= {"time_median": None, "peak_gflops": None}
    return Record(**values)


def errors_of(scale=1.0, *, grown=None, is_exact=True):
    """Errors in every kind of data; those over grown windows are the share ``grown`` of the others."""
    return tuple(
        Errors(kind, size, None if grown is None else grown * size, is_exact and kind == KINDS[-1], 70_000.0 * size)
        for size, kind in zip((scale, 1.5 * scale, 4 * scale, 0.0 if is_exact else scale), KINDS, strict=True)
    )


def run(*records, machine=None, complete=True, **settings):
    """A run of these records on a made-up machine."""
    return Run(MACHINE if machine is None else machine, {"rounds": ROUNDS, "pause": 0.02} | settings, records, complete)


def full_run(suites=None, *, contestants=CONTESTANTS, directions=DIRECTIONS, threads=(1,), seed=0):
    """Every contestant in every direction of every case: ``suites`` maps a suite to its number of cases."""
    random = np.random.default_rng(seed)
    records = []
    for suite, cases in (suites or {"resnet50": 4}).items():
        for number in range(cases):
            flops, bytes_ = int(10 ** random.uniform(6, 9)), int(10 ** random.uniform(5, 6.5))
            job = {"suite": suite, "case": f"{16 + number},56->64 k3s1", "flops": flops, "bytes": bytes_}
            for count in threads:
                for direction in directions:
                    where = {"direction": direction, "threads": count, "count": 1 + number % 3}
                    records += _job(random, job | where, contestants)
    return run(*records)


MACHINE = {
    "cpu": "AMD EPYC",
    "instruction_set": "x86-64-v4 (AVX-512)",
    "cores": 2,
    "cores_allowed": 2,
    "caches": {"L1": 32768, "L2": 1048576, "L3": 33554432},
    "memory_left_bytes": 25_000_000_000,
    "system": "Linux-6.1-x86_64",
    "versions": {"fastconv": "0.1.0", "python": "3.11.7", "numpy": "2.4", "torch": "2.13.0"},
    "commit": None,
    "blas_threads": "as asked for",
    "transparent_huge_pages": "madvise",
    "stopped_by": None,
    "gpu": None,
    "load_before": [0.1, 0.2, 0.1],
    "load_after": [0.9, 0.4, 0.2],
    "limits": [
        {
            "threads": threads,
            "peak_gflops": {"float32": PEAK * threads, "float64": PEAK * threads / 2},
            "bandwidths": {
                "memory": {"bytes": 134217728, "read": MEMORY, "write": 10.2, "copy": 15.0, "streaming": 17.0},
                "L2": {"bytes": 524288, "read": 95.5, "write": 40.0, "copy": 61.0, "streaming": 70.0},
            },
        }
        for threads in (1, 2)
    ],
}


def _measured(values):
    seconds = values["time_median"]
    gflops = values["flops"] / seconds / 1e9
    peak, memory = values["peak_gflops"], values["bytes"] / seconds / 1e9
    return {
        "time_min": 0.97 * seconds,
        "time_first": 1.5 * seconds,
        "rounds": ROUNDS,
        "gflops": gflops,
        "peak_fraction": gflops / peak if peak else None,
        "roofline_fraction": max(gflops / peak, memory / MEMORY) if peak else None,
        "gbytes_per_s": memory,
        "max_error": 1e-6,
        "error_ulp": 3.0,
        "samples": tuple((seconds * np.linspace(0.97, 1.03, ROUNDS)).tolist()),
    } | values


def _job(random, job, contestants):
    limit = min(PEAK, MEMORY * job["flops"] / job["bytes"]) * 1e9
    times = {name: job["flops"] / limit / random.uniform(0.4, 0.98) for name in contestants}
    peers = {name: time for name, time in times.items() if not name.startswith(OURS)}
    best = min(peers, key=peers.get, default=None)
    for name, time in times.items():
        ratio = {}
        if best and name not in peers:
            value = peers[best] / time
            ratio = {
                "best_peer": best,
                "ratio_to_best_peer": value,
                "ratio_low": 0.97 * value,
                "ratio_high": 1.03 * value,
            }
        yield record(contestant=name, time_median=time, **job, **ratio)
