"""``fastconv plot``: pictures, one per file."""

from __future__ import annotations

import importlib

PICTURES = (
    "filters",
    "features",
    "curves",
    "confusion",
    "architecture",
    "receptive_field",
    "backends",
    "connections",
    "windows",
    "window_counts",
    "gradients",
)


def register(commands) -> None:
    """Add the sub-command and its pictures."""
    parser = commands.add_parser(
        "plot",
        help="draw filters, feature maps, curves, errors, architectures, how windows lie, gradients, backends",
        description="Draw a picture. Where no network is given, a small one is trained on the bundled digits within "
        "seconds; where no image is given, it is one of them.",
    )
    parser.set_defaults(run=lambda options: _help(parser))
    pictures = parser.add_subparsers(title="pictures", metavar="PICTURE")
    for name in PICTURES:
        importlib.import_module(f"fastconv.cli.plot.{name}").register(pictures)


def _help(parser) -> int:
    parser.print_help()
    return 2
