"""``fastconv summary``: the layers of a network, their sizes and what they cost."""

from __future__ import annotations

import argparse
import json
import sys

from fastconv.cli import check_folder, positive
from fastconv.cli.lists import words


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "summary",
        help="list the layers of a network",
        description="List the layers of a network: filter size F, stride S, padding P and number K of filters, output "
        "volume, parameters (F*F*D*K + K for D maps), multiply-adds and bytes of activations. Nothing is computed.",
    )
    parser.add_argument("name", metavar="NAME", help="a network of fastconv.models, such as resnet50")
    parser.add_argument(
        "--input", type=shape, metavar="C,H,W", help="an image (default: what the network was made for)"
    )
    parser.add_argument("--batch", type=positive, default=1, help="images (default: 1)")
    parser.add_argument("--num-classes", type=positive, metavar="K", help="classes (default: the network's)")
    parser.add_argument("--weights", metavar="FILE", help="find out whether a file of weights fits")
    parser.add_argument("--json", metavar="FILE", help="write all of it there, too")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Print the table."""
    from fastconv import models
    from fastconv.nn import init
    from fastconv.summaries import summary

    if options.json:
        check_folder(options.json)
    expected = models.preprocessing(options.name)
    image = options.input or (len(expected.mean), expected.crop, expected.crop)
    given = {} if options.num_classes is None else {"num_classes": options.num_classes}
    if options.weights:
        model = models.create(options.name, weights=options.weights, **given)
    else:
        with init.skipped():
            model = models.create(options.name, **given)
    found = summary(model, (options.batch, *image))
    show(found)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found.as_dict(), file, indent=1)
    return 0


def shape(text: str) -> tuple[int, ...]:
    """Three positive integers, separated by commas."""
    extents = tuple(positive(word) for word in words(text))
    if len(extents) != 3:
        raise argparse.ArgumentTypeError(f"must be C,H,W such as 3,224,224, got {text!r}")
    return extents


def show(found) -> None:
    """In colours where somebody looks at a terminal and rich is installed; plain everywhere else."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(found)
        return
    if not sys.stdout.isatty():
        print(found)
        return
    head, rows = found.cells()
    drawn = Table(header_style="bold", row_styles=("", "dim"))
    for number, title in enumerate(head):
        drawn.add_column(title, justify="left" if number in (0, 1, len(head) - 1) else "right")
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    console.print(drawn)
    console.print(found.closing(), highlight=False)
