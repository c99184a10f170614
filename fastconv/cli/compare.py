"""``fastconv compare``: two runs, or two contestants of one run, case by case."""

from __future__ import annotations

import argparse
import sys

from fastconv.cli.tables import table


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "compare",
        help="compare two benchmark runs, or two contestants of one",
        description="Ratios above 1 mean that the second is faster. Two files: every contestant is compared with "
        "itself; --contestants compares two different ones, in one file or across two. Cases outside their 95 %% "
        "interval of noise are marked, the slowest come first.",
    )
    parser.add_argument("first", metavar="A.json", help="what fastconv bench --json wrote")
    parser.add_argument("second", metavar="B.json", nargs="?", help="another run (default: the same file)")
    names = "the contestant of A and that of B, as fastconv:numba fastconv:cython"
    parser.add_argument("--contestants", nargs=2, metavar=("NAME", "NAME"), help=names)
    limit = "exit code 1 where a case (its whole interval) or a geometric mean lies below this ratio"
    parser.add_argument("--fail-below", type=_ratio, metavar="RATIO", help=limit)
    parser.set_defaults(run=run)


def run(options) -> int:
    """Print the comparison; 1 where something lies below --fail-below."""
    from fastconv.bench import comparison, records

    if options.second is None and options.contestants is None:
        raise ValueError("one file needs --contestants NAME NAME to compare, or give a second file")
    first = records.load(options.first)
    second = first if options.second is None else records.load(options.second)
    if options.contestants:
        pairs = comparison.contestants(first, second, tuple(options.contestants))
    else:
        pairs = comparison.runs(first, second)
    if not pairs:
        raise ValueError("the runs have no timed case and contestant in common")
    _print_differences(comparison.differences(first, second))
    print(_cases(pairs))
    print("\nratios above 1: the second is faster; network: all layers, each as often as it occurs\n")
    print(_groups(comparison.groups(pairs)))
    if options.fail_below is None:
        return 0
    found = comparison.falls_below(pairs, options.fail_below)
    for line in found:
        print(f"below {options.fail_below}: {line}", file=sys.stderr)
    return 1 if found else 0


def _print_differences(lines) -> None:
    if lines:
        print("NOT THE SAME CONDITIONS, ratios mean little:", *lines, sep="\n  ", end="\n\n")


def _cases(pairs) -> str:
    from fastconv.bench.report.text import time

    header = (
        "case",
        "direction",
        "N",
        "layout",
        "dtype",
        "threads",
        "contestants",
        "first",
        "second",
        "ratio",
        "95 %",
        "",
    )
    rows = [
        (
            *(f"{pair.first.suite}: {pair.first.case}", pair.first.direction, str(pair.first.batch)),
            *(pair.first.layout, pair.first.dtype, str(pair.first.threads), _names(pair)),
            *(time(pair.first.time_median), time(pair.second.time_median), f"{pair.ratio.value:.3f}"),
            *(f"{pair.ratio.low:.3f}-{pair.ratio.high:.3f}", _verdict(pair.ratio)),
        )
        for pair in sorted(pairs, key=lambda pair: pair.ratio.value)
    ]
    return table(header, rows, left=(0, 1, 3, 4, 6, 11))


def _groups(groups) -> str:
    from fastconv.bench.report.text import time

    header = ("suite", "direction", "N", "layout", "dtype", "threads", "contestants", "cases")
    figures = ("geometric mean", "network, first", "second", "ratio")
    rows = []
    for group in sorted(groups, key=lambda group: group.geometric_mean):
        record, (first, second) = group.first, group.network_seconds
        rows.append(
            (
                *(record.suite, record.direction, str(record.batch), record.layout, record.dtype, str(record.threads)),
                *(_names(group), str(len(group.pairs)), f"{group.geometric_mean:.3f}"),
                *(time(first), time(second), f"{first / second:.3f}"),
            )
        )
    return table((*header, *figures), rows, left=(0, 1, 3, 4, 6))


def _names(pair) -> str:
    first, second = pair.first.contestant, pair.second.contestant
    return first if first == second else f"{first} / {second}"


def _verdict(ratio) -> str:
    return ("faster" if ratio.value > 1 else "SLOWER") if ratio.is_outside_noise else "noise"


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value
