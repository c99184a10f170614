"""Writes the speed table of the README from a published run: ``python benchmarks/readme_table.py RUN.json README.md``.

The text between the two marks is replaced; nothing there is typed by hand.
"""

import argparse
from pathlib import Path

from fastconv.bench import records, summary

BEGIN, END = "<!-- speed table of {} -->", "<!-- end of the speed table -->"
# Backend -> the flavours whose ratio is shown: packing its weights at each call, and keeping them packed.
BACKENDS = ("cython", "numba")
KEPT = "kept"


def block(run: records.Run, name: str) -> str:
    """The marks and what is between them."""
    return "\n".join([BEGIN.format(name), "", *_conditions(run), "", *_table(run), "", END])


def replaced(readme: str, run: records.Run, name: str) -> str:
    """The README with a new table; raises ValueError where it has no place for one."""
    begin, end = readme.find(BEGIN.split("{}")[0]), readme.find(END)
    if not 0 <= begin < end:
        raise ValueError(f"no speed table to replace: {BEGIN!r} and {END!r} must stand in the README")
    return readme[:begin] + block(run, name) + readme[end + len(END) :]


def published_name(readme: str) -> str:
    """The file that the README's table was written from."""
    before, after = BEGIN.split("{}")
    return readme.split(before, 1)[1].split(after, 1)[0]


def _conditions(run):
    machine, timed = run.machine, [record for record in run.records if record.status == records.TIMED]
    threads = {record.threads for record in timed}
    peaks = [
        f"{limits['peak_gflops']['float32']:.0f} GFLOP/s with {limits['threads']} threads"
        for limits in machine["limits"]
        if limits["threads"] in threads
    ]
    peers = sorted({record.contestant.split(":")[0] for record in timed if not record.is_ours})
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in peers if name in machine["versions"])
    return [
        f"{machine['cpu']}, {machine['instruction_set']}; multiply-add peak {', '.join(peaks)}, float32; {versions}; "
        f"fastconv at commit {str(machine['commit'])[:10]}.",
        "Columns: how many times faster than the *best* of all peers, as the geometric mean over the distinct layers,",
        "with the slowest layer in brackets; and the share of the multiply-add peak that the network's layers together",
        "reach. Below 1 is a loss; the largest losses of the first column come first; an empty cell: no such thing.",
        _upshot(run),
    ]


def _upshot(run):
    """In how many rows each contestant of ours is ahead."""
    ratios: dict[str, list[float]] = {}
    for mean in summary.means(run.records):
        if mean.contestant.startswith(records.OURS) and mean.ratio is not None:
            ratios.setdefault(mean.contestant.removeprefix(records.OURS), []).append(mean.ratio)
    words = (f"{name} in {sum(r > 1 for r in found)} of {len(found)}" for name, found in ratios.items())
    return f"Rows in which the mean is ahead of the best peer: {', '.join(words)}."


def _table(run):
    means = summary.means(run.records)
    rows: dict[tuple, dict[str, summary.Mean]] = {}
    for mean in means:
        key = (mean.suite, mean.direction, mean.batch, mean.layout, mean.threads)
        rows.setdefault(key, {})[mean.contestant] = mean
    names = [f"{records.OURS}{backend}{suffix}" for backend in BACKENDS for suffix in ("", f":{KEPT}")]
    ordered = sorted(rows.items(), key=lambda row: _ratio(row[1].get(names[0])))
    header = ["suite", "direction", "N", "layout", "layers", *(name.removeprefix(records.OURS) for name in names)]
    header += [f"{backend}, % of peak" for backend in BACKENDS]
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
    for (suite, direction, batch, layout, _), found in ordered:
        ours = [found.get(name) for name in names]
        cases = max(mean.cases for mean in found.values())
        lines.append([suite, direction, str(batch), layout, str(cases), *map(_ratios, ours), *map(_peak, ours[::2])])
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _ratio(mean):
    return float("inf") if mean is None or mean.ratio is None else mean.ratio


def _ratios(mean):
    return "" if mean is None or mean.ratio is None else f"{mean.ratio:.2f} ({mean.lowest_ratio:.2f})"


def _peak(mean):
    return "" if mean is None or mean.peak_fraction is None else f"{mean.peak_fraction:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN.json", help="what fastconv bench --json wrote")
    parser.add_argument("readme", metavar="README.md", help="the file whose table is replaced")
    options = parser.parse_args()
    path = Path(options.readme)
    text = replaced(path.read_text(encoding="utf-8"), records.load(options.run), options.run)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
