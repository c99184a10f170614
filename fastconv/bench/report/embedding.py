"""A chart as part of a page: nothing outside itself is named, its ids are its own, and what hovers says who it is."""

from __future__ import annotations

import html
import re

from fastconv.bench.records import Record, Run
from fastconv.bench.report import charts
from fastconv.bench.report.style import significant

# An SVG of matplotlib carries a prolog, metadata, a style sheet for the whole document and ids of no further use.
_DROPPED = re.compile(r"^.*?(?=<svg )|<!--.*?-->|<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", re.DOTALL)
_SHORTENED = (
    (re.compile(r" font-family: [^;\"]*;"), ""),
    (re.compile(r' transform="rotate\(-0 [^)]*\)"'), ""),
    (re.compile(r" xmlns(?::xlink)?=\"[^\"]*\""), ""),
    (re.compile(r" +\n|\n +|\n"), "\n"),
)
_ID = re.compile(r' id="([^"]*)"')
_OURS = re.compile(r"(?:bar|label|point)-\d+$")


def embedded(run: Run, figure, name: str) -> str:
    """The markup of a figure whose bars and points are those of the run's records."""
    text = _DROPPED.sub("", charts.svg(figure, name))
    for pattern, replacement in _SHORTENED:
        text = pattern.sub(replacement, text)
    used = set(re.findall(r"#([\w.-]+)", text))
    text = _ID.sub(lambda match: match[0] if match[1] in used or _OURS.match(match[1]) else "", text)
    text = re.sub(r'(id="(?:bar|point)-(\d+)">)', lambda match: match[1] + _hover(run.records[int(match[2])]), text)
    label = html.escape(f"Chart: {name}")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _hover(record: Record) -> str:
    parts = [record.contestant, record.case, record.direction, record.variant]
    if record.gflops is not None:
        parts.append(f"{significant(record.gflops)} GFLOP/s")
    return f"<title>{html.escape(' · '.join(filter(None, parts)))}</title>"
