"""``fastconv plot windows``."""

from __future__ import annotations

from fastconv.cli.lists import floats, numbers
from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "windows", "how a filter slides over a row of values", draw)
    parser.add_argument(
        "--input", type=floats, default=[1, 2, -1, 1, -3], metavar="LIST", help="(default: 1,2,-1,1,-3)"
    )
    parser.add_argument("--filter", type=floats, default=[1, 0, -1], metavar="LIST", help="(default: 1,0,-1)")
    parser.add_argument("--strides", type=numbers, default=[1, 2], metavar="LIST", help="one panel each (default: 1,2)")
    parser.add_argument("--padding", type=int, default=1, metavar="P", help="zeros at both ends (default: 1)")


def draw(options):
    """The axes."""
    from fastconv import plots

    return plots.windows(options.input, options.filter, strides=options.strides, padding=options.padding)
