"""``fastconv plot connections``."""

from __future__ import annotations

from fastconv.cli import positive
from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    what = "fully connected, locally connected and convolutional units beside each other"
    parser = sources.add_picture(pictures, "connections", what, draw)
    parser.add_argument("--inputs", type=positive, default=8, metavar="N", help="below each (default: 8)")
    parser.add_argument("--filter-size", type=positive, default=3, metavar="F", help="of the windows (default: 3)")


def draw(options):
    """The axes."""
    from fastconv import plots

    return plots.connections(options.inputs, options.filter_size)
