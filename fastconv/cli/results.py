"""What becomes of a benchmark run: shown while it goes on, saved now and then, printed and written at the end."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from functools import partial

from fastconv.cli import check_folder, check_suffix
from fastconv.errors import missing_extra
from fastconv.tables import table

# Seconds between two lines where no bar is shown, and between two rewritings of the JSON file.
INTERVAL = 30.0


class Watcher:
    """Hears of every job: moves the bar, or says now and then how far it is, and saves what there is."""

    def __init__(self, bar, jobs: int, path: str | None):
        self.bar, self.jobs, self.path = bar, jobs, path
        self.done, self.due = 0, time.monotonic() + INTERVAL

    def __call__(self, run) -> None:
        """Take note of what there is after one more job."""
        self.done += 1
        last = run.records[-1]
        self.bar.set_postfix_str(f"done: {last.case}, {last.direction}")
        self.bar.update()
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + INTERVAL
        if not sys.stderr.isatty():
            print(f"{self.done} of {self.jobs} jobs done", file=sys.stderr, flush=True)
        if self.path:
            from fastconv.bench import records

            records.save(run, self.path)


def writers(options) -> list[Callable]:
    """What to do with the finished run; whatever could not be written is found out now."""
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


def show(run) -> None:
    """Print every job, losses first, who declined, the means, and at the very end what is wrong."""
    from fastconv.bench.records import FAILED, WRONG
    from fastconv.bench.report import text

    accuracy = text.accuracy(run.records)
    _show_jobs(accuracy or text.jobs(run.records), left=(0,) if accuracy else (0, -1))
    print("", *text.declined(run.records), sep="\n")
    header, rows = text.summary(run.records)
    if accuracy:
        _show_worst(*text.worst(run.records))
    elif rows:
        print("\nmeans over the cases of a suite; network: all layers, each as often as it occurs\n")
        print(table(header, rows, left=(0, 1, 3, 4, 6)))
    for record in run.records:
        if record.status in (WRONG, FAILED):
            print(f"{record.status.upper()}: {record.contestant}, {record.suite}: {record.case}, {record.direction}")


def _show_worst(header, rows) -> None:
    print(
        "\nthe largest over all layers: |result - float64| in units of u times the sum of magnitudes; +1: the largest"
    )
    print("sum of a result and its neighbours, whose windows are its window grown by one pixel; peak: geometric mean\n")
    print(table(header, rows, left=(0, 2, 3, 5)))


def _show_jobs(titles_and_tables, left) -> None:
    """One table over all jobs, so that columns stand below one another, with a title before each job."""
    if not titles_and_tables:
        return
    header, _ = titles_and_tables[0][1]
    rows = [row for _, (_, rows) in titles_and_tables for row in rows]
    lines = iter(table(header, rows, left=[place % len(header) for place in left]).splitlines())
    print(next(lines), next(lines), sep="\n")
    for title, (_, rows) in titles_and_tables:
        print(f"\n{title}")
        for _ in rows:
            print(next(lines))
