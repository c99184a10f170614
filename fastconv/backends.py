"""Which kernels run: the one place where a backend is chosen, asked and called.

Precedence: argument > ``use_backend`` > ``set_backend`` > the variable FASTCONV_BACKEND > auto.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from fastconv import _kernels
from fastconv._kernels import contract, pool
from fastconv._kernels.buffers import Buffers
from fastconv._kernels.contract import Declined, Kernel, Problem
from fastconv.device_arrays import GPU, HOST
from fastconv.errors import BackendUnavailableError, DeviceError, UnsupportedError
from fastconv.packed_weights import UNPACKED, PackedWeights
from fastconv.precision import get_precision
from fastconv.scopes import Scope

AUTO = "auto"
AUTO_ORDER = ("cython", "numba", "reference")
# Of arrays on a GPU.
DEVICE_ORDER = ("cuda",)
ENVIRONMENT = "FASTCONV_BACKEND"
_ENCODED: Any = getattr(os.environ, "encodekey", str)(ENVIRONMENT)

_scoped: ContextVar[str | None] = ContextVar("fastconv_backend", default=None)
_listener: ContextVar[Listener | None] = ContextVar("fastconv_listener", default=None)
_process_wide: str | None = None

get_num_threads = pool.get_num_threads
set_num_threads = pool.set_num_threads
# Of the whole process: ``packed_weights.nbytes``, ``packed_weights.limit = nbytes``, ``packed_weights.clear()``.
packed_weights = PackedWeights()
# The memory of outputs that nobody holds any more, for the next ones, with the same three names.
output_buffers = Buffers()


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Truth value: usable or not; ``reason`` says why not and what to do."""

    name: str
    reason: str | None

    def __bool__(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True, eq=False)
class KernelSet:
    """The kernels of one backend, of one precision; forward records it, so that backward uses the same one."""

    name: str
    module: ModuleType
    why: str
    precision: str

    def run(self, task: Task, *operands, version=None, owner=None) -> None:
        """Prepare (cached) and call; raises UnsupportedError where the backend declines, MemoryError for workspace.

        ``version`` counts the writes to the weight among the operands, for ``packed_weights``; ``owner`` is the array
        that the weight is a view of, where it is one made for this call alone.
        """
        listener = _listener.get()
        if listener is not None and listener.replaced(task, operands):
            return
        kernel = task.kernels.get(self)
        if kernel is None:
            kernel = self._prepared(task)
        given, at, weight, run = [*operands], task.weight_at, None, kernel.run
        if kernel.pack is not None:
            try:
                given[at], weight = packed_weights.packed(kernel, given[at], version, owner)
            except MemoryError:
                raise _no_memory(task, kernel) from None
            if weight == UNPACKED and kernel.run_unpacked:
                run = kernel.run_unpacked
        if listener is not None:
            listener.launched(self, task, kernel, weight, run, given)
        if run(*given) == contract.OUT_OF_MEMORY:
            raise _no_memory(task, kernel)

    def _prepared(self, task: Task) -> Kernel:
        kernel = _prepare(self.module, task.op, replace(task.problem, precision=self.precision))
        if isinstance(kernel, Declined):
            raise UnsupportedError(f"backend {self.name!r} declines {task.op}: {kernel.reason}")
        task.kernels[self] = kernel
        return kernel


class Task:
    """One operation on one problem, with the kernels that backends have prepared for it.

    Who repeats a call holds its Task, so that nothing is looked up by the values of a whole problem.
    """

    __slots__ = ("kernels", "op", "problem", "weight_at")

    def __init__(self, op: str, problem: Problem):
        self.op = op
        self.problem = problem
        self.kernels: dict[KernelSet, Kernel] = {}
        names = contract.OPERATIONS[op].inputs
        self.weight_at = names.index("weight") if "weight" in names else -1

    def outputs(self, operands: Sequence) -> Sequence:
        """Those operands that a call fills."""
        operation = contract.OPERATIONS[self.op]
        absent = set(operation.optional) - self.problem.optional
        return operands[-len([name for name in operation.outputs if name not in absent]) :]


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One kernel call, as ``recording`` sees it; what became of the weight, None where it is used as it is.

    ``choice`` says by what rule the variant runs, and why those before it do not, where there is such a rule.
    """

    op: str
    problem: Problem
    backend: str
    variant: str
    why: str
    workspace_bytes: int
    weight: str | None
    precision: str
    choice: tuple[str, ...]


def _no_memory(task: Task, kernel: Kernel) -> MemoryError:
    geometry = task.problem.geometry
    shape = getattr(geometry, "x_shape", None) or geometry.shape
    wanted = f"{kernel.workspace_bytes:,} bytes of workspace"
    return MemoryError(f"{task.op} of an input of shape {shape}: no memory for {wanted}")


class use_backend(Scope):  # noqa: N801 - a context manager, used like a function
    """Run everything inside the ``with`` block on one backend; other threads are not affected.

    Raises BackendUnavailableError where it is not usable.

    >>> with use_backend("reference"):
    ...     get_backend()
    'reference'
    """

    def __init__(self, name: str):
        super().__init__(_scoped, _checked(name, "use_backend"))


class Listener:
    """Who is told of everything that fills an array, before it does; subclasses say what they do with it."""

    def replaced(self, task: Task, operands: Sequence) -> bool:
        """Whether no kernel is to run, as the outputs among the operands have been filled here."""
        return False

    def launched(self, kernels: KernelSet, task: Task, kernel: Kernel, weight: str | None, run, operands: list) -> None:
        """``run(*operands)`` comes next; ``weight`` says what became of the weight."""

    def filled(self, call: Callable[..., Any], sources: tuple[np.ndarray, ...], target: np.ndarray) -> None:
        """``call(*sources, target)`` has filled ``target``, which is in memory of its own."""


class listening(Scope):  # noqa: N801 - a context manager, used like a function
    """Tells one Listener, and nobody else, of what happens inside the ``with`` block."""

    def __init__(self, listener: Listener):
        super().__init__(_listener, listener)


def is_listened() -> bool:
    """Whether somebody is told of every call here."""
    return _listener.get() is not None


def filled(call: Callable[..., Any], sources: tuple[np.ndarray, ...], target: np.ndarray) -> None:
    """Says that an operation of no kernel fills an array in memory of its own, by ``call(*sources, target)``.

    The same operation gives the same ``call`` every time, which returns nothing.
    """
    listener = _listener.get()
    if listener is not None and target.size:
        listener.filled(call, sources, target)


class recording(Listener):  # noqa: N801 - a context manager, used like a function
    """Collects a LaunchRecord for every kernel call inside the ``with`` block."""

    def __enter__(self) -> list[LaunchRecord]:
        self._records: list[LaunchRecord] = []
        self._scope = listening(self).__enter__()
        return self._records

    def __exit__(self, *exc_info) -> None:
        self._scope.__exit__(*exc_info)

    def launched(self, kernels, task, kernel, weight, run, operands):
        """Note it."""
        who = (kernels.name, kernel.variant, kernels.why)
        how = (kernel.workspace_bytes, weight, kernels.precision, kernel.choice)
        self._records.append(LaunchRecord(task.op, task.problem, *who, *how))


def set_backend(name: str) -> None:
    """Choose the backend for the whole process; ``"auto"``, too, comes before FASTCONV_BACKEND."""
    global _process_wide
    _process_wide = _checked(name, "set_backend")


def get_backend() -> str:
    """The name that is in force here: a backend or ``"auto"``."""
    return _requested(None)[0]


def available_backends() -> dict[str, BackendStatus]:
    """Every backend of this build and whether it is usable; loads nothing heavy."""
    return {name: BackendStatus(name, _kernels.reason(name)) for name in _kernels.BACKENDS}


def device(name: str) -> str:
    """Where the arrays of a backend must lie: the host, or the current GPU."""
    return GPU if name in DEVICE_ORDER else HOST


def select(name: str | None = None, device: str = HOST) -> KernelSet:
    """The kernel set to use now, on arrays of a device.

    Raises BackendUnavailableError, or DeviceError where the backend that was named computes elsewhere; never falls back
    from it.
    """
    requested, source = _requested(name)
    precision = get_precision()
    if device != HOST:
        return _selected_on_device(requested, source, device, precision)
    chosen = _selected if isinstance(requested, str) else _chosen
    return chosen(requested, source, precision)


def _requested(argument: str | None) -> tuple[str, str]:
    if argument is not None:
        return argument, "argument"
    scoped = _scoped.get()
    if scoped is not None:
        return scoped, "use_backend"
    if _process_wide is not None:
        return _process_wide, "set_backend"
    return _from_environment() or AUTO, ENVIRONMENT


def _from_environment() -> str | None:
    """The variable. Every call asks for it; where it is not set, ``os.environ`` takes ten times as long to say so."""
    try:
        return os.environ.get(ENVIRONMENT) if os.environ._data.get(_ENCODED) else None  # type: ignore[attr-defined]
    except AttributeError:  # another mapping is in its place
        return os.environ.get(ENVIRONMENT)


@lru_cache(maxsize=256)
def _selected(name: str, source: str, precision: str) -> KernelSet:
    if name == AUTO:
        return _auto(precision)
    chosen = _chosen(name, source, precision)
    if name in DEVICE_ORDER:
        raise DeviceError(f"backend {name!r}, chosen by {source}, computes on a GPU, but the arrays are on the {HOST}")
    return chosen


def _selected_on_device(name: str, source: str, device: str, precision: str) -> KernelSet:
    if name == AUTO:
        return _loaded(DEVICE_ORDER[0], f"auto: the arrays are on device {device}", precision)
    chosen = _chosen(name, source, precision)
    if name not in DEVICE_ORDER:
        raise DeviceError(f"backend {name!r}, chosen by {source}, computes on the CPU, but the arrays are on {device}")
    return chosen


def _checked(name: str, source: str) -> str:
    if name != AUTO:
        _chosen(name, source, get_precision())
    return name


def _chosen(name: str, source: str, precision: str) -> KernelSet:
    """The kernels of a backend, whose name came from the source."""
    why = f"chosen by {source}"
    if not isinstance(name, str) or name not in _kernels.BACKENDS:
        known = ", ".join([AUTO, *_kernels.BACKENDS])
        raise BackendUnavailableError(f"this build of fastconv has no backend {name!r} ({why}); there are: {known}")
    return _loaded(name, why, precision)


@lru_cache(maxsize=256)
def _loaded(name: str, why: str, precision: str) -> KernelSet:
    module = _kernels.load(name)
    if module is None:
        raise BackendUnavailableError(f"backend {name!r} ({why}) cannot be used: {_kernels.reason(name)}")
    # A malformed FASTCONV_NUM_THREADS is reported here; compiled code could not raise.
    pool.get_num_threads()
    return KernelSet(name, module, why, precision)


@cache
def _auto(precision: str) -> KernelSet:
    for name in AUTO_ORDER:
        if _kernels.reason(name) is None and _kernels.load(name) is not None:
            break
    if name == AUTO_ORDER[-1]:
        reasons = "; ".join(f"{other}: {_kernels.reason(other)}" for other in AUTO_ORDER[:-1])
        warnings.warn(f"no compiled backend is usable, the slow reference runs instead ({reasons})", stacklevel=7)
    return _loaded(name, f"auto: first usable of {', '.join(AUTO_ORDER)}", precision)


@lru_cache(maxsize=512)
def _prepare(module: ModuleType, op: str, problem: Problem) -> Kernel | Declined:
    return module.prepare(op, problem)
