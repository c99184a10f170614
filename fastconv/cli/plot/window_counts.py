"""``fastconv plot window-counts``."""

from __future__ import annotations

from fastconv.cli import positive
from fastconv.cli.lists import counts
from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "window-counts", "how many windows read each pixel of a plane", draw)
    parser.add_argument("--size", type=positive, default=7, metavar="N", help="rows and columns (default: 7)")
    parser.add_argument("--filter-size", type=positive, default=3, metavar="F", help="of the windows (default: 3)")
    parser.add_argument("--stride", type=positive, default=1, metavar="S", help="(default: 1)")
    parser.add_argument("--paddings", type=counts, default=[0, 1], metavar="LIST", help="one map each (default: 0,1)")


def draw(options):
    """The axes."""
    from fastconv import plots

    return plots.window_counts(options.size, options.filter_size, stride=options.stride, paddings=options.paddings)
