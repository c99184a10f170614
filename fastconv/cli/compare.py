"""``fastconv compare``: two runs, or two contestants of one run, case by case."""

from __future__ import annotations

import argparse
import os
import sys

from fastconv.tables import table

# What a ratio says -> how it is printed; a slower second side must catch the eye.
_VERDICTS = {"faster": "faster", "slower": "SLOWER", "even": "noise", "unknown": "unknown"}


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "compare",
        help="compare two benchmark runs, or two contestants of one",
        description="Ratios above 1 mean that the second is faster. Two files: every contestant is compared with "
        "itself; --contestants compares two different ones, in one file or across two. What the second did not time "
        "comes first, then the slowest; cases outside their 95 % interval of noise are marked.",
    )
    parser.add_argument("first", type=_file, metavar="A.json", help="what fastconv bench --json wrote")
    parser.add_argument("second", type=_file, metavar="B.json", nargs="?", help="another run (default: the same file)")
    names = "the contestant of A and that of B, as fastconv:numba fastconv:cython"
    parser.add_argument("--contestants", nargs=2, metavar=("NAME", "NAME"), help=names)
    limit = (
        "exit code 1 where the whole interval of a case or of a geometric mean lies below this ratio, and where the "
        "second is wrong, failed or missing; of two runs only the contestants of this package count"
    )
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
        compared = comparison.contestants(first, second, tuple(options.contestants))
    else:
        compared = comparison.runs(first, second)
    _print_lacks(compared.lacks)
    if not compared.pairs:
        raise ValueError("the runs have no timed case and contestant in common")
    _print_differences(comparison.differences(first, second))
    print(_cases(compared.pairs))
    groups = compared.groups()
    print(f"\nratios above 1: the second is faster; {_network(groups)}\n")
    print(_groups(groups))
    if options.fail_below is None:
        return 0
    found = compared.falls_below(options.fail_below)
    for line in found:
        print(f"below {options.fail_below}: {line}", file=sys.stderr)
    return 1 if found else 0


def _print_lacks(lacks) -> None:
    """This package's contestants first, and last what was only declined."""
    if not lacks:
        return
    from fastconv.bench.records import DECLINED

    header = ("contestant", "status", "case", "direction", "N", "layout", "dtype", "threads", "reason")
    ordered = sorted(lacks, key=lambda lack: (lack.status == DECLINED, not lack.first.is_ours))
    rows = [
        (
            *(lack.contestant, lack.status if lack.status == DECLINED else lack.status.upper()),
            *(f"{lack.first.suite}: {lack.first.case}", lack.first.direction, str(lack.first.batch)),
            *(lack.first.layout, lack.first.dtype, str(lack.first.threads), lack.reason),
        )
        for lack in ordered
    ]
    print("NOT TIMED by the second, though by the first:", table(header, rows, left=(0, 1, 2, 3, 5, 6, 8)), sep="\n")
    print()


def _print_differences(differences) -> None:
    if differences.conditions:
        print("NOT THE SAME CONDITIONS, ratios mean little:", *differences.conditions, sep="\n  ", end="\n\n")
    if differences.notes:
        print(*differences.notes, sep="\n", end="\n\n")


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
        "variant",
        "first",
        "second",
        "relative to the peer",
        "ratio",
        "95 %",
        "",
    )
    rows = [
        (
            *(f"{pair.first.suite}: {pair.first.case}", pair.first.direction, str(pair.first.batch)),
            *(pair.first.layout, pair.first.dtype, str(pair.first.threads), _names(pair)),
            *(_variants(pair), time(pair.first.time_median), time(pair.second.time_median)),
            *(_number(pair.relative), _number(pair.ratio.value), _interval(pair.ratio), _VERDICTS[pair.ratio.verdict]),
        )
        for pair in sorted(pairs, key=lambda pair: pair.ratio.value)
    ]
    return table(header, rows, left=(0, 1, 3, 4, 6, 7, 13))


def _network(groups) -> str:
    if all(len(group.pairs) == group.all_cases for group in groups):
        return "network: all layers, each as often as it occurs"
    return "network: NOT all layers, only those of the cases that both timed (n of all), each as often as it occurs"


def _groups(groups) -> str:
    from fastconv.bench.report.text import time
    from fastconv.bench.summary import share

    header = ("suite", "direction", "N", "layout", "dtype", "threads", "contestants", "cases")
    figures = ("relative to the peer", "geometric mean", "95 %", "network, first", "second", "ratio")
    rows = []
    for group in sorted(groups, key=lambda group: group.mean.value):
        record, mean, (first, second) = group.first, group.mean, group.network_seconds
        rows.append(
            (
                *(record.suite, record.direction, str(record.batch), record.layout, record.dtype, str(record.threads)),
                *(_names(group), share(len(group.pairs), group.all_cases)),
                *(_number(group.relative), _number(mean.value), _interval(mean)),
                *(time(first), time(second), f"{first / second:.3f}"),
            )
        )
    return table((*header, *figures), rows, left=(0, 1, 3, 4, 6))


def _names(pair) -> str:
    first, second = pair.first.contestant, pair.second.contestant
    return first if first == second else f"{first} / {second}"


def _variants(pair) -> str:
    first, second = pair.first.variant, pair.second.variant
    return first if first == second else f"{first or 'none'} / {second or 'none'}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _interval(ratio) -> str:
    return "" if ratio.low is None else f"{ratio.low:.3f}-{ratio.high:.3f}"


def _file(text: str) -> str:
    if not os.path.isfile(text):
        reason = "is a folder" if os.path.isdir(text) else "does not exist"
        raise argparse.ArgumentTypeError(f"{text!r} {reason}; it must be a file that fastconv bench --json wrote")
    return text


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value
