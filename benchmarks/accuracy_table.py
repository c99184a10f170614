"""Prints the largest errors of runs of `fastconv bench --accuracy`: `python benchmarks/accuracy_table.py RUN.json...`.

A Markdown table, the same errors of both backends in one row.
"""

import sys

from fastconv.bench import accuracy, records
from fastconv.bench.report.style import units

HEADER = ("", "algorithm", *accuracy.KINDS[:-1], "over grown windows", "integers exact", "% of peak")


def lines(*runs: records.Run) -> list[str]:
    """The table of all layers of some runs: one line for contestants whose errors are the same."""
    groups: dict[tuple, list[accuracy.Worst]] = {}
    for found in accuracy.worst(record for run in runs for record in run.records):
        groups.setdefault((found.direction, found.accuracy, found.exact, found.cases), []).append(found)
    rule = ["---", "---", *["---:"] * (len(HEADER) - 2)]
    return [_line(HEADER), _line(rule), *(_line(_cells(members)) for members in groups.values())]


def _cells(members: list[accuracy.Worst]) -> list[str]:
    first, *_ = members
    *rounded, _ = first.accuracy
    grown = ", ".join(units(errors.grown_ulp) for errors in rounded if errors.grown_ulp is not None)
    names = ", ".join(found.contestant.removeprefix(records.OURS) for found in members)
    peaks = ", ".join(f"{100 * found.peak_fraction:.0f}" for found in members if found.peak_fraction is not None)
    exact = f"{first.exact} of {first.cases}"
    return [first.direction, names, *(units(errors.error_ulp) for errors in rounded), grown, exact, peaks]


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(lines(*map(records.load, sys.argv[1:]))))
