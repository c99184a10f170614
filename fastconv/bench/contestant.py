"""What takes part in a benchmark: all that the engine knows of a backend or a peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv import arrays
from fastconv._kernels.contract import Declined
from fastconv.autograd import unwrap
from fastconv.bench.allocator import SYSTEM
from fastconv.bench.cases import Case, NetworkCase
from fastconv.bench.workloads import AnyWorkload


def on_host(found: Any) -> Any:
    """A result, or a mapping of them, as NumPy's arrays: copied where they lie on a GPU."""
    if isinstance(found, dict):
        return {name: on_host(item) for name, item in found.items()}
    if isinstance(found, np.ndarray):
        return found
    return np.asarray(arrays.moved(arrays.as_array(unwrap(found), "result", anywhere=True), arrays.HOST))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workload made ready: ``call`` does the work once and is timed.

    ``result`` turns what the call returned into an array, or computes what is to be checked, outside the timing;
    ``variant`` says which implementation ran, and is asked after the first call. What rounds more coarsely than its
    dtype may be wrong by ``coarseness`` times as much. The error bound of what ``grows`` counts the inputs of one pixel
    more on each side of a window.
    """

    call: Callable[[], object]
    result: Callable[[object], Any] = on_host
    variant: Callable[[], str] = str
    coarseness: float = 1.0
    grows: bool = False


@dataclass(frozen=True, slots=True)
class Contestant:
    """A name, how it makes a workload ready (or declines it), and the context in which it works with n threads.

    ``rest`` is for how many seconds its threads may keep spinning after a call: nobody is timed in that time. Where it
    does not take part in a case, it leaves no record there. An ``allocator`` other than the process's means a process
    of its own, to which functions are sent by name: see ``apart``.
    """

    name: str
    prepare: Callable[[Any], Prepared | Declined]
    environment: Callable[[int], AbstractContextManager]
    is_peer: bool
    rest: float = 0.0
    takes_part: Callable[[Case], bool] = lambda case: True
    allocator: str = SYSTEM


def is_network(case: Case) -> bool:
    """Whether a case is a whole network."""
    return isinstance(case, NetworkCase)


def is_inference(case: Case) -> bool:
    """Whether a case is a whole network that is run, not trained."""
    return is_network(case) and "forward" in case.directions


def is_layer(case: Case) -> bool:
    """Whether a case is less than that."""
    return not is_network(case)


# Who takes part in some cases only: in which, in words.
PARTS: dict[Callable, str] = {
    is_network: "whole networks",
    is_inference: "whole networks forward",
    is_layer: "single operations and layers",
}


def offered(table, workload: AnyWorkload, *arguments) -> Prepared | Declined:
    """Prepare by the function that a table from operations to functions names, or decline what it lacks."""
    prepare = table.get(workload.op)
    return Declined(f"offers no {workload.op}") if prepare is None else prepare(workload, *arguments)
