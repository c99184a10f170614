"""From the names that users type to contestants; everything that is wrong with a name is said before any measuring."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterable, Sequence

from fastconv import available_backends
from fastconv.backends import AUTO_ORDER, device
from fastconv.bench import ours
from fastconv.bench.cases import SUITES, Case
from fastconv.bench.contestant import PARTS, Contestant
from fastconv.bench.peers import GPU_PEERS, PEERS, PeerEntry
from fastconv.bench.records import OURS
from fastconv.device_arrays import GPU
from fastconv.errors import BackendUnavailableError, missing_extra
from fastconv.precision import HIGH


def are_on_gpu(names: Iterable[str]) -> bool:
    """Whether ``backend:flavour`` names are those of a GPU; raises ValueError where some are and some are not."""
    found = {device(name.split(":")[0]) for name in names}
    if len(found) > 1:
        raise ValueError("backends of a GPU and of the CPU are measured apart: name those of one of them")
    return GPU in found


def usable_peers(on_gpu: bool = False) -> list[str]:
    """The peers whose packages are here and can be imported; a warning says what is broken."""
    found, known = [], _peers(on_gpu)
    for name in known:
        if not _missing(known[name]):
            try:
                _contestants(name, known[name])
            except BackendUnavailableError as error:
                warnings.warn(str(error), stacklevel=2)
            else:
                found.append(name)
    return found


def compiled_backends() -> list[str]:
    """The usable backends, the slow reference apart."""
    status = available_backends()
    return [name for name in AUTO_ORDER[:-1] if status[name]]


def backends(names: Iterable[str], variant: str | None = None, precisions: Sequence[str] = (HIGH,)) -> list[Contestant]:
    """The contestants of ``backend`` or ``backend:flavour`` names, at each precision.

    Raises BackendUnavailableError for a backend that is unknown or not usable, ValueError for a flavour or a variant
    that none of them has, and for a variant of whole networks.
    """
    found: list[Contestant] = []
    known: set[str] = set()
    for name in names:
        backend = name.split(":")[0]
        status = available_backends().get(backend)
        if status is None:
            raise BackendUnavailableError(f"no backend {backend!r}; there are: {', '.join(available_backends())}")
        if not status:
            raise BackendUnavailableError(f"backend {backend!r} cannot be used: {status.reason}")
        if variant is not None and name == f"{backend}:{ours.FUSED}":
            raise ValueError(f"variant {variant!r} is an algorithm of one operation; {name!r} runs whole networks")
        for precision in precisions:
            full_name = f"{OURS}{name}{ours.suffix_of(precision)}"
            found += _flavoured(full_name, ours.contestants(backend, variant, precision))
        known |= ours.variants(backend)
    if variant is not None and variant not in known:
        raise ValueError(f"no chosen backend has a variant {variant!r}; there are: {', '.join(sorted(known))}")
    return _each_once(found)


def algorithms(
    names: Iterable[str], jobs: Sequence[tuple[str, str, str]], variant: str | None, precision: str
) -> list[Contestant]:
    """The contestants of backends, one for each algorithm of convolutions; ``variant`` names the only one.

    A job is (direction, layout, dtype). Raises as ``backends`` does, and ValueError for a flavour.
    """
    found: list[Contestant] = []
    for name in names:
        backends([name], variant)
        if ":" in name:
            raise ValueError(f"errors are those of each algorithm of a backend: name it {name.split(':')[0]!r} alone")
        members = ours.algorithms(name, jobs, precision)
        found += [contestant for contestant in members if variant in (None, contestant.name.split(":")[-1])]
    return _each_once(found)


def peers(names: Iterable[str], on_gpu: bool = False) -> list[Contestant]:
    """The contestants of ``peer`` or ``peer:flavour`` names.

    Raises ValueError for an unknown name, BackendUnavailableError for a package that is missing or broken.
    """
    found: list[Contestant] = []
    known = _peers(on_gpu)
    for name in names:
        peer = name.split(":")[0]
        if peer not in known:
            raise ValueError(f"no peer {peer!r}; there are: {', '.join(known)}")
        if missing := _missing(known[peer]):
            raise missing_extra(missing, "bench", f"peer {peer!r}")
        found += _flavoured(name, _contestants(peer, known[peer]))
    return _each_once(found)


def absences(names: Iterable[str], contestants: Sequence[Contestant], cases: Sequence[Case]) -> list[str]:
    """A line for each full name of contestants of which none takes part in any of the cases: where they would."""
    found = []
    for name in names:
        chosen = _flavoured(name, contestants)
        if not any(contestant.takes_part(case) for contestant in chosen for case in cases):
            takes_part = chosen[0].takes_part
            suites = [suite for suite, members in SUITES.items() if any(map(takes_part, members))]
            found.append(f"{name} takes part in {PARTS[takes_part]} only: --suite {','.join(suites)}")
    return found


def _flavoured(name: str, contestants: Sequence[Contestant]) -> list[Contestant]:
    """The one that has this name in full, else all whose name begins with it."""
    chosen = [contestant for contestant in contestants if contestant.name == name]
    chosen = chosen or [contestant for contestant in contestants if contestant.name.startswith(f"{name}:")]
    if not chosen:
        known = ", ".join(contestant.name for contestant in contestants)
        raise ValueError(f"no contestant {name!r}; there are: {known}")
    return chosen


def _each_once(contestants: Iterable[Contestant]) -> list[Contestant]:
    return list({contestant.name: contestant for contestant in contestants}.values())


def _peers(on_gpu: bool) -> dict[str, PeerEntry]:
    return GPU_PEERS if on_gpu else PEERS


def _contestants(peer: str, entry: PeerEntry) -> Sequence[Contestant]:
    try:
        return importlib.import_module(entry.module).CONTESTANTS
    except Exception as error:  # a broken installation may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise BackendUnavailableError(f"peer {peer!r} is installed but cannot be used: {reason}") from error


def _missing(entry: PeerEntry) -> str | None:
    return next((package for package in entry.packages if importlib.util.find_spec(package) is None), None)
