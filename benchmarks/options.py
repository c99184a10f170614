"""What the options mean; wrong names end the run before anything is measured."""

from argparse import ArgumentTypeError

from fastconv import available_backends
from fastconv.bench import lineup
from fastconv.bench.cases import SUITES
from fastconv.bench.engine import Plan
from fastconv.bench.peers import PEERS
from fastconv.bench.workloads import LAYOUTS
from fastconv.cli import positive
from fastconv.cli.bench import DIRECTIONS
from fastconv.cli.lists import ALL, names, numbers, words
from fastconv.dtypes import FLOAT_TYPES
from fastconv.errors import BackendUnavailableError

FAST_PEERS = ("torch", "onnxruntime")


def add(addoption):
    """Lists are separated by commas, as those of ``fastconv bench`` are."""
    for name, known, default in (
        ("suite", SUITES, ["small"]),
        ("direction", DIRECTIONS, list(DIRECTIONS)),
        ("layout", LAYOUTS, ["nchw"]),
        ("dtype", FLOAT_TYPES, ["float32"]),
    ):
        text = f"{', '.join(known)} or {ALL} (default: {', '.join(default)})"
        addoption(f"--{name}", type=names(known), default=default, metavar="LIST", help=text)
    batch = "images per call (default: 1; of whole networks and of passes as many as listed for them)"
    addoption("--batch", type=numbers, metavar="LIST", help=batch)
    who = "backends and peers, as cython, numba:kept, torch:nchw (default: compiled backends, torch and onnxruntime)"
    addoption("--contestants", type=_contestants, metavar="LIST", help=who)
    addoption("--threads", type=positive, metavar="N", help="threads of everybody (default: all cores allowed)")


def plan(config):
    """What the options ask for, as ``fastconv bench`` would plan it; ``threads`` apart."""
    chosen = config.option
    return Plan(
        cases=[case for suite in chosen.suite for case in SUITES[suite]],
        contestants=contestants(config),
        directions=chosen.direction,
        batches=chosen.batch,
        layouts=chosen.layout,
        dtypes=chosen.dtype,
    )


def contestants(config):
    """Who takes part."""
    if config.option.contestants is not None:
        return config.option.contestants
    fast = [name for name in lineup.usable_peers() if name in FAST_PEERS]
    return [*lineup.backends(lineup.compiled_backends()), *lineup.peers(fast)]


def _contestants(text):
    known = [*available_backends(), *PEERS]
    found = []
    for name in dict.fromkeys(words(text)):
        base = name.split(":")[0]
        if base not in known:
            raise ArgumentTypeError(f"unknown: {name}; there are {', '.join(known)}")
        try:
            found += (lineup.peers if base in PEERS else lineup.backends)([name])
        except (BackendUnavailableError, ValueError) as error:
            raise ArgumentTypeError(str(error)) from None
    return list({contestant.name: contestant for contestant in found}.values())
