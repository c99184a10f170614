"""Contestants on a GPU: data is copied there once, and calls take turns among copies that its cache cannot hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fastconv import arrays, device_arrays
from fastconv._kernels.contract import Declined
from fastconv.bench import gpu_limits
from fastconv.bench.contestant import Prepared, on_host
from fastconv.bench.workloads import NetworkWorkload

# What the copies together are of the cache at least, and how many of them there are at most.
_CACHES, _MOST = 4, 64

Prepare = Callable[[Any], Prepared | Declined]


def rotating(prepare: Prepare, workload: Any) -> Prepared | Declined:
    """What ``prepare`` makes of each copy, one after the other; a network is larger than a cache by itself."""
    first = prepare(workload)
    if isinstance(first, Declined) or isinstance(workload, NetworkWorkload):
        return first
    others = (prepare(workload) for _ in range(copies(workload.held) - 1))
    calls = itertools.cycle([first.call, *(other.call for other in others if isinstance(other, Prepared))])
    return replace(first, call=lambda: next(calls)())


def copies(nbytes: int) -> int:
    """How many copies of so many bytes are used."""
    return min(_MOST, -(-_CACHES * gpu_limits.cache_bytes() // max(nbytes, 1)) + 1)


def on_gpu(prepare: Prepare, workload: Any) -> Prepared | Declined:
    """``rotating``, of the same work with its inputs on the current GPU."""
    found = rotating(lambda given: prepare(_uploaded(given)), workload)
    if isinstance(found, Declined):
        return found
    return replace(found, result=lambda returned: on_host(found.result(returned)))


def _uploaded(workload):
    inputs = {name: arrays.moved(array, device_arrays.GPU) for name, array in workload.inputs.items()}
    return replace(workload, inputs=inputs)
