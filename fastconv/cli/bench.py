"""``fastconv bench``: every backend against the others, against its peers and against the machine's limits."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastconv.cli import check_folder, check_suffix, positive
from fastconv.cli.lists import ALL, names, numbers, words
from fastconv.cli.tables import table
from fastconv.errors import missing_extra

DIRECTIONS = ("forward", "grad_input", "grad_weight")
NONE = "none"
# Seconds after which a quick run begins no further job, and after which it drops one that is not ready.
QUICK_SECONDS, QUICK_END = 35.0, 42.0


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "bench",
        help="time the kernels against PyTorch, onnxruntime and the machine's limits",
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
    suites = f"{', '.join(SUITES)} or {ALL} (default: small)"
    add("--suite", type=names(SUITES), default=["small"], metavar="LIST", help=suites)
    add("--case", metavar="TEXT", help="only cases whose name contains this")
    directions = f"{', '.join(DIRECTIONS)} or {ALL} (default: forward)"
    add("--direction", type=names(DIRECTIONS), default=["forward"], metavar="LIST", help=directions)
    add("--batch", type=numbers, default=[1], metavar="LIST", help="images per call (default: 1)")
    layouts = f"{', '.join(LAYOUTS)} or {ALL}: of the data, in and out (default: nchw)"
    add("--layout", type=names(LAYOUTS), default=["nchw"], metavar="LIST", help=layouts)
    dtypes = f"{', '.join(FLOAT_TYPES)} or {ALL} (default: float32)"
    add("--dtype", type=names(FLOAT_TYPES), default=["float32"], metavar="LIST", help=dtypes)
    add("--list", action="store_true", help="print the cases that would be measured, and stop")


def _add_who(parser) -> None:
    add = parser.add_argument_group("who takes part").add_argument
    backends = "backends, as cython, numba, reference; NAME:kept keeps packed weights (default: all compiled ones)"
    add("--backends", type=words, metavar="LIST", help=backends)
    add("--variant", metavar="NAME", help="force one algorithm of the backends; those without it decline")
    peers = (
        f"torch, onnxruntime, scipy, im2col, or one form as torch:nchw; {NONE} for none (default: the installed ones)"
    )
    add("--peers", type=words, metavar="LIST", help=peers)
    add("--threads", type=numbers, metavar="LIST", help="threads of everybody (default: all cores allowed)")


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
    from fastconv.bench.records import WRONG

    plan = _plan(options)
    if options.list:
        print("\n".join(f"{case.suite}: {case.name}" for case in plan.cases))
        return 0
    writers = _writers(options)
    allocator.choose(options.allocator)
    with _bar(plan) as bar:
        found = session.run(plan, _settings(options, plan), partial(_advance, bar))
    for write in writers:
        write(found)
    _print(found)
    if not found.complete:
        print(f"not complete: {len(found.records)} of {plan.record_count()} records", file=sys.stderr)
    if not found.complete and not options.quick:
        return 130
    return 1 if any(record.status == WRONG and record.is_ours for record in found.records) else 0


def _plan(options):
    begin = time.perf_counter()
    from fastconv import backends as kernels
    from fastconv.bench import lineup
    from fastconv.bench.cases import SUITES
    from fastconv.bench.engine import Plan
    from fastconv.bench.timing import QUICK, Budget

    cases = [case for suite in options.suite for case in SUITES[suite] if (options.case or "") in case.name]
    if not cases:
        raise ValueError(f"no case of {', '.join(options.suite)} has {options.case!r} in its name")
    if not any(direction in case.directions for case in cases for direction in options.direction):
        raise ValueError(f"no case of {', '.join(options.suite)} has direction {', '.join(options.direction)}")
    ours = options.backends or [name for b in lineup.compiled_backends() for name in (b, f"{b}:kept")]
    peers = lineup.installed_peers() if options.peers is None else [n for n in options.peers if n != NONE]
    contestants = [*lineup.backends(ours, options.variant), *lineup.peers(peers)]
    budget = QUICK if options.quick else Budget()
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
    )


def _shuffled(cases):
    """A quick run may not come to an end: what it leaves out is left to chance, the same in every run."""
    import random

    return random.Random(0).sample(cases, len(cases))


def _settings(options, plan) -> dict[str, Any]:
    asked = ("suite", "case", "direction", "batch", "layout", "dtype", "variant", "quick", "allocator")
    budget = plan.budget
    return {
        **{name: getattr(options, name) for name in asked},
        "threads": list(plan.threads),
        "contestants": [contestant.name for contestant in plan.contestants],
        **{name: getattr(budget, name) for name in ("rounds", "seconds", "least", "warm_up", "pause", "sample")},
    }


def _writers(options) -> list[Callable]:
    """What to do with the run; whatever could not be written is found out now."""
    from fastconv.bench import records
    from fastconv.bench.report import charts, page

    found: list[Callable] = []
    for path, suffixes, packages, save in (
        (options.json, (".json",), (), records.save),
        (options.html, (".html", ".htm"), ("matplotlib", "jinja2"), page.save_page),
        (options.plot, (".png",), ("matplotlib",), charts.save_plot),
    ):
        if path:
            check_suffix(path, *suffixes)
            check_folder(path)
            for package in packages:
                if importlib.util.find_spec(package) is None:
                    raise missing_extra(package, "bench", f"writing {path}")
            found.append(partial(save, path=path))
    return found


def _bar(plan):
    from fastconv.training import progress

    return progress.bar(progress.is_shown(None), "bench", plan.job_count(), 0, stays=False, unit="job")


def _advance(bar, job) -> None:
    bar.set_postfix_str(f"{job[0].case} {job[0].direction}")
    bar.update()


def _print(found) -> None:
    from fastconv.bench.report import text

    titles_and_tables = text.jobs(found.records)
    if not titles_and_tables:
        return
    header, _ = titles_and_tables[0][1]
    rows = [row for _, (_, rows) in titles_and_tables for row in rows]
    lines = iter(table(header, rows, left=(0, len(header) - 1)).splitlines())
    print(next(lines), next(lines), sep="\n")
    for title, (_, rows) in titles_and_tables:
        print(f"\n{title}")
        for _ in rows:
            print(next(lines))
    print("", *text.declined(found.records), sep="\n")
    print("\nmeans over the cases of a suite; network: all layers, each as often as it occurs\n")
    print(table(*text.summary(found.records), left=(0, 1, 3, 4, 6)))
