"""``fastconv bench``: every backend against the others, against its peers and against the machine's limits."""

from __future__ import annotations

import itertools
import math
import sys
import time
from dataclasses import asdict, replace
from typing import Any

from fastconv.cli import device, positive, results
from fastconv.cli.lists import ALL, names, numbers, words

DIRECTIONS = ("forward", "grad_input", "grad_weight", "step")
# What is measured unless something else is asked for. A layer has the one direction, trained networks the other.
_USUAL = {"suite": ["small"], "direction": ["forward", "step"], "layout": ["nchw"], "precision": ["high"]}
# Of errors: the layers of which there are several algorithms.
_ACCURATE = {
    **{"suite": ["vgg16", "resnet50"], "case": "k3s1", "direction": ["forward", "grad_input", "grad_weight"]},
    **{"layout": ["channels_last"], "precision": ["fast"]},
}
NONE = "none"
# Seconds after which a quick run begins no further job, and after which it drops one that is not ready.
QUICK_SECONDS, QUICK_END = 35.0, 42.0


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "bench",
        help="time kernels and networks against PyTorch and onnxruntime",
        description="Check every contestant's result against float64, then time them in turns. Lists are separated by "
        "commas. Ratios above 1 mean faster than the best peer; peak and roof are shares of what the machine can do; "
        "errors are in units of u (half the distance from 1 to the next number) times the sum of magnitudes. "
        "Ctrl-C keeps what was measured.",
    )
    _add_what(parser)
    _add_who(parser)
    _add_how(parser)
    parser.set_defaults(run=run)


def _add_what(parser) -> None:
    from fastconv.bench.cases import SUITES
    from fastconv.bench.workloads import LAYOUTS
    from fastconv.dtypes import FLOAT_TYPES

    add = parser.add_argument_group("what is measured").add_argument
    suites = f"{', '.join(SUITES)} or {ALL} (default: small); training and inference run whole networks"
    add("--suite", type=names(SUITES), metavar="LIST", help=suites)
    add("--case", metavar="TEXT", help="only cases whose name contains this")
    default = ",".join(_USUAL["direction"])
    directions = f"{', '.join(DIRECTIONS)} or {ALL} (default: {default}, of which a case has one)"
    add("--direction", type=names(DIRECTIONS), metavar="LIST", help=directions)
    batch = "images per call (default: 1; of whole networks and of passes as many as listed for them)"
    add("--batch", type=numbers, metavar="LIST", help=batch)
    layouts = f"{', '.join(LAYOUTS)} or {ALL}: of the data, in and out (default: nchw)"
    add("--layout", type=names(LAYOUTS), metavar="LIST", help=layouts)
    dtypes = f"{', '.join(FLOAT_TYPES)} or {ALL} (default: float32)"
    add("--dtype", type=names(FLOAT_TYPES), default=["float32"], metavar="LIST", help=dtypes)
    accuracy = (
        "errors of every algorithm against float64 in normal, rectified, wide and integer data, next to its speed "
        f"(default: {_as_options(_ACCURATE)}, no peers); --precision leaves out what is less exact"
    )
    add("--accuracy", action="store_true", help=accuracy)
    add("--list", action="store_true", help="print the cases that would be measured, and stop")


def _add_who(parser) -> None:
    add = parser.add_argument_group("who takes part").add_argument
    from fastconv import available_backends
    from fastconv.bench.ours import FUSED, KEPT
    from fastconv.precision import HIGH, LEVELS

    known = ", ".join(available_backends())
    backends = f"{known}; NAME:{KEPT} keeps packed weights, NAME:{FUSED} folds networks (default: all compiled ones)"
    add("--backends", type=_backends, metavar="LIST", help=backends)
    add("--variant", metavar="NAME", help="force one algorithm of the backends; those without it decline")
    levels = f"{', '.join(LEVELS)} or {ALL}: what backends may run; all but {HIGH} are added to names (default: {HIGH})"
    add("--precision", type=names(LEVELS), metavar="LIST", help=levels)
    peers = (
        f"torch, onnxruntime, scipy, im2col, or one form as torch:nchw; {NONE} for none (default: the installed ones)"
    )
    add("--peers", type=words, metavar="LIST", help=peers)
    add("--threads", type=numbers, metavar="LIST", help="threads of everybody (default: all cores allowed)")


def _backends(text: str) -> list[str]:
    """Names, of which those of a GPU ask for one that is there."""
    from fastconv.backends import device as device_of

    found = words(text)
    for name in found:
        device(device_of(name.split(":")[0]))
    return found


def _add_how(parser) -> None:
    from fastconv.bench.allocator import KEEPING, SYSTEM

    add = parser.add_argument_group("how, and what is kept").add_argument
    add("--rounds", type=positive, help="samples of each contestant (default: 20, fewer where a call takes long)")
    add("--quick", action="store_true", help="few rounds; ends within a minute, with a random part of what was asked")
    allocator = f"{KEEPING}: freed memory stays with the process, so that outputs fault no pages (default: {SYSTEM})"
    add("--allocator", choices=(SYSTEM, KEEPING), default=SYSTEM, help=allocator)
    add("--json", metavar="FILE", help="write all records")
    add("--html", metavar="FILE", help="write a report to read in a browser")
    add("--plot", metavar="FILE.png", help="draw the roofline and the summary")


def run(options) -> int:
    """Measure, print and write; 1 where a result of this package is wrong, 130 after Ctrl-C."""
    from fastconv.bench import allocator, session
    from fastconv.bench.records import FAILED, WRONG

    plan = _plan(options)
    if options.list:
        print("\n".join(f"{case.suite}: {case.name}" for case in plan.cases))
        return 0
    writers = results.writers(options)
    allocator.choose(options.allocator)
    with _bar(plan, options.quick) as bar:
        found = session.run(plan, _settings(options, plan), results.Watcher(bar, plan.job_count(), options.json))
    results.show(found)
    for write in writers:
        write(found)
    if not found.complete:
        print(f"not complete: {len(found.records)} of {plan.record_count()} records", file=sys.stderr)
    stopped_by = found.machine["stopped_by"]
    if stopped_by:
        print(f"stopped by {stopped_by}", file=sys.stderr)
        return 130 if stopped_by == session.INTERRUPT else 1
    return 1 if any(record.status in (WRONG, FAILED) and record.is_ours for record in found.records) else 0


def _as_options(defaults) -> str:
    values = {name: value if isinstance(value, str) else ",".join(value) for name, value in defaults.items()}
    return " ".join(f"--{name} {value}" for name, value in values.items())


def _settle(options) -> None:
    """Fill in what was not asked for; a suite that was, is taken whole."""
    defaults = dict(_ACCURATE if options.accuracy else _USUAL)
    if options.suite is not None:
        defaults.pop("case", None)
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def _plan(options):
    begin = time.perf_counter()
    _settle(options)
    from fastconv import backends as kernels
    from fastconv.bench import lineup
    from fastconv.bench.cases import SUITES
    from fastconv.bench.engine import Plan
    from fastconv.bench.timing import QUICK, Budget

    cases = [case for suite in options.suite for case in SUITES[suite] if (options.case or "") in case.name]
    if options.accuracy:
        cases = [case for case in cases if case.kind == "conv2d"]
    if not cases and options.accuracy:
        raise ValueError(f"errors are those of convolutions; {', '.join(options.suite)} has none of that name")
    if not cases:
        raise ValueError(f"no case of {', '.join(options.suite)} has {options.case!r} in its name")
    if not any(direction in case.directions for case in cases for direction in options.direction):
        raise ValueError(f"no case of {', '.join(options.suite)} has direction {', '.join(options.direction)}")
    on_gpu = lineup.are_on_gpu(options.backends or ())
    contestants = _contestants(options, cases, on_gpu)
    # Errors are the same in every run: a few rounds are enough to see what their price is.
    usual = replace(QUICK, retakes=QUICK.rounds) if options.accuracy else Budget()
    budget = QUICK if options.quick else usual
    return Plan(
        cases=_shuffled(cases) if options.quick else cases,
        contestants=contestants,
        directions=options.direction,
        batches=options.batch,
        layouts=options.layout,
        dtypes=options.dtype,
        threads=options.threads or [kernels.get_num_threads()],
        budget=replace(budget, rounds=options.rounds) if options.rounds else budget,
        deadline=begin + QUICK_SECONDS if options.quick else math.inf,
        end=begin + QUICK_END if options.quick else math.inf,
        on_gpu=on_gpu,
        accuracy=options.accuracy,
    )


def _contestants(options, cases, on_gpu):
    """Those that take part; who was named and does not is told on stderr, in an error where nobody is left."""
    from fastconv.bench import lineup
    from fastconv.bench.ours import FUSED, KEPT
    from fastconv.bench.records import OURS

    flavours = ("", f":{KEPT}", *([] if options.variant else [f":{FUSED}"]))
    ours = options.backends or [f"{name}{flavour}" for name in lineup.compiled_backends() for flavour in flavours]
    if options.accuracy:
        return _algorithms(options, cases, on_gpu)
    peers = lineup.usable_peers(on_gpu) if options.peers is None else [n for n in options.peers if n != NONE]
    asked = [*lineup.backends(ours, options.variant, options.precision), *lineup.peers(peers, on_gpu)]
    named = [*(f"{OURS}{name}" for name in options.backends or ()), *(peers if options.peers else ())]
    absences = lineup.absences(named, asked, cases)
    found = [contestant for contestant in asked if any(map(contestant.takes_part, cases))]
    if not found:
        why = "; ".join(absences) or "no compiled backend is usable (fastconv doctor says why), and no peer"
        raise ValueError(f"nobody takes part: {why}")
    for line in absences:
        print(line, file=sys.stderr)
    return found


def _algorithms(options, cases, on_gpu):
    """Each algorithm of the backends by its name, and the peers that were named."""
    from fastconv.bench import lineup
    from fastconv.precision import LEVELS

    names = options.backends or lineup.compiled_backends()
    jobs = list(itertools.product(options.direction, options.layout, options.dtype))
    loosest = max(options.precision, key=LEVELS.index)
    asked = lineup.algorithms(names, jobs, options.variant, loosest)
    asked += lineup.peers([name for name in options.peers or () if name != NONE], on_gpu)
    found = [contestant for contestant in asked if any(map(contestant.takes_part, cases))]
    if not found:
        raise ValueError("nobody takes part: no algorithm of the backends takes one of the layers so")
    return found


def _shuffled(cases):
    """A quick run may not come to an end: what it leaves out is left to chance, the same in every run."""
    import random

    return random.Random(0).sample(cases, len(cases))


def _settings(options, plan) -> dict[str, Any]:
    asked = ("suite", "case", "direction", "batch", "layout", "dtype", "variant", "precision", "accuracy", "quick")
    return {
        "allocator": options.allocator,
        **{name: getattr(options, name) for name in asked},
        "threads": list(plan.threads),
        "contestants": [contestant.name for contestant in plan.contestants],
        **asdict(plan.budget),
    }


def _bar(plan, is_quick):
    """A quick run ends by the clock: how many jobs it will have done nobody knows."""
    from fastconv.training import progress

    total = None if is_quick else plan.job_count()
    return progress.bar(progress.is_shown(None), "bench", total, 0, stays=False, unit="job")
