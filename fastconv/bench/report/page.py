"""One HTML page that shows a run and loads nothing: tables, charts and the machine. Needs matplotlib and jinja2."""

from __future__ import annotations

import importlib
import importlib.resources
from pathlib import Path

from fastconv.bench.records import TIMED, Run
from fastconv.bench.report import charts, facts, tables
from fastconv.bench.report.embedding import embedded
from fastconv.bench.report.measures import is_loss
from fastconv.errors import missing_extra
from fastconv.weights.atomic import atomic_write


def save_page(run: Run, path) -> Path:
    """Write the page of a run; an old file gives way only to a whole new one."""
    text = render(run)
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return Path(path)


def render(run: Run) -> str:
    """The page of a run as text."""
    environment = _jinja2().Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["fact"] = facts.fact
    environment.filters["caption"] = facts.caption
    environment.tests["matrix"] = facts.is_matrix
    source = importlib.resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    figures = {suite: charts.suite_figure(run, suite) for suite in charts.suites(run)}
    return environment.from_string(source).render(
        run=run,
        tally=_tally(run),
        losses=tables.losses(run),
        summary=tables.summary(run),
        worst=tables.worst(run),
        errors=tables.errors(run),
        refusals=tables.refusals(run),
        records=tables.records(run),
        charts={suite: embedded(run, figure, f"suite {suite}") for suite, figure in figures.items()},
        roofline=embedded(run, charts.roofline_figure(run), "roofline"),
    )


def _tally(run: Run) -> dict[str, int]:
    compared = [record for record in run.records if record.is_ours and record.ratio_low is not None]
    return {
        "timed": sum(record.status == TIMED for record in run.records),
        "compared": len(compared),
        "ahead": sum(record.ratio_low is not None and record.ratio_low > 1 for record in compared),
        "behind": sum(is_loss(record) for record in compared),
    }


def _jinja2():
    try:
        return importlib.import_module("jinja2")
    except ImportError:
        raise missing_extra("jinja2", "bench", "the report") from None
