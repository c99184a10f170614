"""Prints the peak memory of one call of a contestant, as JSON; what is measured comes as JSON, too."""

import gc
import json
import sys
import time

from fastconv._kernels.contract import Declined
from fastconv.bench import lineup, resident, workloads
from fastconv.bench.cases import SUITES
from fastconv.bench.check import examine
from fastconv.bench.records import OURS


def main(asked):
    (contestant,) = _contestants(asked["contestant"])
    with contestant.environment(asked["threads"]):
        reason = _warm_up(contestant, asked) or _reset_peak()
        if reason:
            return {"skip": reason}
        return _measure(contestant, _workload(asked, asked["batch"]))


def _contestants(name):
    return lineup.backends([name.removeprefix(OURS)]) if name.startswith(OURS) else lineup.peers([name])


def _workload(asked, batch):
    case = next(case for case in SUITES[asked["suite"]] if case.name == asked["case"])
    return workloads.make(case.with_batch(batch), asked["direction"], asked["dtype"]).in_layout(asked["layout"])


def _warm_up(contestant, asked):
    """Load and compile everything, with one image; why the contestant declines."""
    prepared = contestant.prepare(_workload(asked, 1))
    if isinstance(prepared, Declined):
        return f"declines: {prepared.reason}"
    prepared.call()
    return ""


def _measure(contestant, workload):
    gc.collect()
    before = resident.now()
    prepared = contestant.prepare(workload)
    held = resident.now() - before
    _reset_peak()
    before = resident.now()
    begin = time.perf_counter()
    returned = prepared.call()
    seconds = time.perf_counter() - begin
    return {
        "peak_bytes": resident.peak() - before,
        "seconds": seconds,
        "held_bytes": held,
        "input_bytes": workload.read,
        "output_bytes": workload.written,
        "wrong": examine(prepared.result(returned), workload).reason,
    }


def _reset_peak():
    """Let the peak begin anew from what there is; why that is not possible."""
    try:
        resident.reset_peak()
    except OSError as error:
        return f"the peak cannot be reset: {error}"
    return ""


print(json.dumps(main(json.loads(sys.argv[1]))))
