"""``fastconv plot backends``."""

from __future__ import annotations

from dataclasses import replace

from fastconv.cli.plot import sources

BATCH = 64
# For each layer and direction: the picture is there within seconds.
SECONDS = 0.3


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "backends", "how fast backends and peers are beside each other", draw)
    parser.add_argument(
        "records",
        metavar="RECORDS.json",
        nargs="?",
        help="as fastconv bench --json writes them (default: the layers of the digits' network are timed now)",
    )
    parser.add_argument("--suite", metavar="NAME", help="only records of this suite")
    parser.add_argument("--case", metavar="TEXT", help="only those with this in the name of the case")
    parser.add_argument("--direction", metavar="NAME", help="only those of this direction")


def draw(options):
    """The axes."""
    from fastconv import plots
    from fastconv.bench import records

    asked = [name for name in ("suite", "case", "direction") if getattr(options, name) is not None]
    if options.records is None:
        if asked:
            raise ValueError(f"--{asked[0]} goes with RECORDS.json")
        return plots.backends(_measured(), title=f"layers of digits_net, {BATCH} images")
    run = records.load(options.records)
    chosen = tuple(record for record in run.records if _is_chosen(record, options))
    if not chosen:
        raise ValueError(f"{options.records} has no record of {', '.join(f'{n} {getattr(options, n)}' for n in asked)}")
    return plots.backends(replace(run, records=chosen), title=run.machine.get("cpu"))


def _is_chosen(record, options) -> bool:
    return (
        options.suite in (None, record.suite)
        and options.direction in (None, record.direction)
        and (options.case or "") in record.case
    )


def _measured() -> dict[str, dict[str, float]]:
    """Seconds by layer and direction, and by backend."""
    from fastconv import backends, datasets, models
    from fastconv.bench.layers import layer_times
    from fastconv.nn import ReLU

    names = [name for name, status in backends.available_backends().items() if status]
    images, _ = datasets.load_digits("test")
    model = models.digits_net().eval()
    rows = layer_times(model, images[:BATCH], names, seconds=SECONDS)
    rectifiers = {name for name, layer in model.named_children() if isinstance(layer, ReLU)}
    return {f"{row.layer}, {row.direction}": row.seconds for row in rows if row.layer not in rectifiers}
