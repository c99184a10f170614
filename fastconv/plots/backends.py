"""How fast backends are, beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fastconv.bench.ratios import geometric_mean
from fastconv.bench.records import OURS, TIMED, Record, Run
from fastconv.plots import canvas

# More groups than these are hard to read: cases become one for each suite and direction, or for each direction.
_MOST = 12
_GROUPINGS: tuple[tuple[str, ...], ...] = (
    ("suite", "case", "direction", "batch", "layout", "dtype", "threads"),
    ("suite", "direction"),
    ("direction",),
)
_PEER_COLOURS = ("#8a949e", "#b5bcc3", canvas.FAINT)


def backends(times, axes=None, *, title: str | None = None):
    """Draw a bar for each backend, or peer, in each group: how many times faster it is than the slowest one there.

    ``times`` is what ``fastconv.bench.records.load`` reads of a file of ``fastconv bench --json``, or seconds by group
    and name. Of a run with many cases, those of a suite and direction are one group, or those of a direction: geometric
    means over the cases that all of its backends have timed. The scale is logarithmic. Returns the matplotlib axes.
    Raises ValueError where there is nothing to compare.

    >>> axes = backends({"conv1": {"numba": 0.5, "reference": 2.0}, "pool": {"numba": 0.1, "reference": 0.1}})
    >>> [text.get_text() for text in axes.texts]
    ['4.00×', '1× (reference)', '1× (numba)', '1× (reference)']
    """
    groups = _of_run(times) if isinstance(times, Run) else times
    if not any(len(named) > 1 for named in groups.values()):
        raise ValueError("nothing to compare: no two backends have timed the same")
    names = list(dict.fromkeys(name for named in groups.values() for name in named))
    colours = _colours(names)
    rows = list(_rows(groups, names))
    axes = canvas.axes_or_new(axes, figsize=(8, 1.4 + 0.2 * (rows[-1][0] + 1)))
    for line, _, name, speed in rows:
        axes.barh(line, speed - 1, left=1, height=0.85, color=colours[name])
        text = f"{speed:.2f}×" if speed < 10 else f"{speed:.0f}×"
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(text if speed > 1 else f"1× ({name})", (speed, line), **place)
    axes.set_xscale("log")
    axes.set_xlim(1, 1.05 * max(speed for *_, speed in rows) ** 1.15)
    places: dict[str, list[float]] = {group: [line for line, other, *_ in rows if other == group] for group in groups}
    axes.set_yticks([(lines[0] + lines[-1]) / 2 for lines in places.values()], places)
    axes.set_ylim(rows[-1][0] + 0.7, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times faster than the slowest")
    axes.set_title(title or "backends")
    axes.spines[["top", "right"]].set_visible(False)
    canvas.label_plainly(axes.xaxis)
    patch = canvas.matplotlib("patches").Patch
    handles = [patch(color=colours[name], label=name) for name in names]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return axes


def _rows(groups: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Iterator[tuple[float, str, str, float]]:
    """Line, group, name and speed of each bar; groups are a line apart."""
    line = 0.0
    for group, seconds in groups.items():
        slowest = max(seconds.values(), default=0.0)
        for name in names:
            if name in seconds:
                yield line, group, name, slowest / seconds[name]
                line += 1
        line += 0.7


def _colours(names: Sequence[str]) -> dict[str, str]:
    """This package's in colours, as are names without a package; peers in greys."""
    peers = [name for name in names if not name.startswith(OURS)]
    peers = peers if len(peers) < len(names) else []
    ours = [name for name in names if name not in peers]
    return {
        name: palette[number % len(palette)]
        for members, palette in ((ours, canvas.PALETTE), (peers, _PEER_COLOURS))
        for number, name in enumerate(members)
    }


def _of_run(run: Run) -> dict[str, dict[str, float]]:
    """Seconds by group and name."""
    timed = [record for record in run.records if record.status == TIMED and record.time_median]
    members: dict[tuple, list[Record]] = {}
    for parts in _GROUPINGS:
        members = {}
        for record in timed:
            members.setdefault(tuple(str(getattr(record, part)) for part in parts), []).append(record)
        if len(members) <= _MOST:
            break
    # What is the same everywhere is not said.
    varying = [number for number, values in enumerate(zip(*members, strict=True)) if len(set(values)) > 1]
    labelled = {", ".join(key[number] for number in varying) or key[0]: found for key, found in members.items()}
    return {label: seconds for label, found in labelled.items() if (seconds := _means(found))}


def _means(records: Sequence[Record]) -> dict[str, float]:
    """Geometric means over the jobs that everybody here has timed; nothing where there are none."""
    seconds: dict[str, dict[tuple, float]] = {}
    for record in records:
        seconds.setdefault(record.contestant, {})[record.job] = record.time_median or 0.0
    common = set.intersection(*map(set, seconds.values()))
    return {name: geometric_mean(times[job] for job in common) for name, times in seconds.items()} if common else {}
