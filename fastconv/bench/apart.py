"""A contestant in a process of its own: with an allocator of its own, or with a peak of memory that no other raised."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import weakref
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from fastconv._kernels.contract import Declined
from fastconv.bench import allocator, resident
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.workloads import NetworkWorkload

# Momentum is there after the first step, and what the second put aside can be used again in the third.
_STEPS = 3
_PATIENCE = 10  # seconds until a process that should end is made to
# What it can be asked for.
_CALL, _RESULT, _VARIANT = "call", "result", "variant"


def prepared(contestant: Contestant, workload: Any, threads: int) -> Prepared | Declined:
    """What a contestant makes of a workload; in another process where its allocator is not this one's.

    Every call then goes there and back, which takes some tens of microseconds. Results are checked here.
    """
    if contestant.allocator == allocator.SYSTEM:
        return contestant.prepare(workload)
    remote = _Remote(_serve, *_parts(contestant), threads, replace(workload, exact={}))
    answer = remote.receive()
    if isinstance(answer, Declined):
        return answer
    return Prepared(
        lambda: remote.ask(_CALL), result=lambda _: remote.ask(_RESULT), variant=lambda: remote.ask(_VARIANT)
    )


def peak_bytes(contestant: Contestant, workload: NetworkWorkload, threads: int) -> int | None:
    """How far memory rises above what there is before the first call; None where it cannot be read.

    Libraries are loaded and code is compiled before, for another network; what is kept from call to call counts.
    """
    networks = workload.rehearsal(), replace(workload, exact={})
    try:
        return _Remote(_measure, *_parts(contestant), threads, *networks).receive()
    except (EOFError, RuntimeError):
        return None


def _parts(contestant):
    """What of it can be sent."""
    return contestant.prepare, contestant.environment, contestant.allocator


class _Remote:
    """A process that runs ``function(connection, *arguments)``; it ends with this object."""

    def __init__(self, function: Callable, *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.connection, far = context.Pipe()
        process = context.Process(target=_run, args=(far, function, arguments), daemon=True)
        process.start()
        far.close()
        weakref.finalize(self, _end, self.connection, process)

    def ask(self, what: str) -> Any:
        """The answer to a question."""
        self.connection.send(what)
        return self.receive()

    def receive(self) -> Any:
        """What comes; raises RuntimeError with what was raised there, EOFError where the process is gone."""
        error, answer = self.connection.recv()
        if error:
            raise RuntimeError(f"in its process: {error}")
        return answer


def _end(connection: Connection, process) -> None:
    connection.close()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()


def _run(connection: Connection, function: Callable, arguments: tuple) -> None:
    """In the other process: Ctrl-C is for the first one, which closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        function(connection, *arguments)
    except EOFError:
        return
    except Exception as error:
        connection.send((f"{type(error).__name__}: {error}", None))


def _serve(connection, prepare, environment, memory, threads, workload) -> None:
    try:
        allocator.choose(memory)
    except ValueError as error:  # a C library that cannot be told
        connection.send((None, Declined(str(error))))
        return
    with environment(threads):
        found = prepare(workload)
        if isinstance(found, Declined):
            connection.send((None, found))
            return
        connection.send((None, None))
        returned = None
        while True:
            asked, answer = connection.recv(), None
            if asked == _CALL:
                returned = found.call()
            else:
                answer = found.result(returned) if asked == _RESULT else found.variant()
            connection.send((None, answer))


def _measure(connection, prepare, environment, memory, threads, rehearsal, workload) -> None:
    allocator.choose(memory)
    with environment(threads):
        prepare(rehearsal).call()
        found = prepare(workload)
        gc.collect()
        try:
            resident.reset_peak()
            before = resident.now()
        except OSError:
            connection.send((None, None))
            return
        for _ in range(_STEPS):
            found.call()
        connection.send((None, resident.peak() - before))
