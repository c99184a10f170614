"""``fastconv demo --transfer``: how much frozen convolutions help to learn digits from few examples."""

from __future__ import annotations

import json
import sys
import time

from fastconv.cli import check_folder, check_suffix
from fastconv.cli.train import print_epoch
from fastconv.tables import table

HEADER = ("examples per class", "frozen convolutions, %", "from scratch, %", "difference")


def run(options) -> int:
    """Teach, compare, print the table, write the numbers."""
    from fastconv import backends
    from fastconv.training import few_examples

    if options.json:
        check_suffix(options.json, ".json")
        check_folder(options.json)
    begin = time.perf_counter()
    epochs = options.epochs or few_examples.EPOCHS
    with backends.use_backend(options.backend or backends.get_backend()):
        print("a small network learns the digits 0 to 4 in all eight positions of a square")
        outcomes = few_examples.compare(seed=options.seed, epochs=epochs, device=options.device, callback=print_epoch)
    print(
        f"\nthe digits 5 to 9 from few examples: a new head on its convolutions, or the same network from scratch,\n"
        f"{few_examples.STEPS} steps each; accuracy on 180 other images, mean ± deviation of {few_examples.SEEDS} draws"
        "\n"
    )
    _show(_rows(outcomes))
    print(f"\nin {time.perf_counter() - begin:.1f} s (seed {options.seed})")
    if options.json:
        _write(options.json, options.seed, epochs, outcomes)
    return 0


def _rows(outcomes) -> list[tuple[str, ...]]:
    """One row for each number of examples."""
    rows = []
    for frozen, scratch in zip(outcomes[::2], outcomes[1::2], strict=True):
        cells = (f"{100 * outcome.mean:.1f} ± {100 * outcome.deviation:.1f}" for outcome in (frozen, scratch))
        rows.append((str(frozen.examples), *cells, f"{100 * (frozen.mean - scratch.mean):+.1f}"))
    return rows


def _show(rows) -> None:
    """In colours where somebody looks at a terminal and rich is installed; plain everywhere else."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(table(HEADER, rows, left=()))
        return
    if not sys.stdout.isatty():
        print(table(HEADER, rows, left=()))
        return
    drawn = Table(header_style="bold")
    for title in HEADER:
        drawn.add_column(title, justify="right")
    for row in rows:
        drawn.add_row(*row)
    Console().print(drawn)


def _write(path: str, seed: int, epochs: int, outcomes) -> None:
    rows = [
        {
            "examples": outcome.examples,
            "method": outcome.method,
            "mean": outcome.mean,
            "deviation": outcome.deviation,
            "accuracies": outcome.accuracies,
        }
        for outcome in outcomes
    ]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"seed": seed, "epochs": epochs, "rows": rows}, file, indent=1)
    print(f"written to {path}")
