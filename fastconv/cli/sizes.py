"""``fastconv sizes``: the volumes of a stack of layers, by formula and in numbers."""

from __future__ import annotations

import argparse


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "sizes",
        help="compute the volumes of a stack of layers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print the volume behind each layer with the formula of its size, (W - F + 2P)/S + 1, its\n"
        "parameters with shared weights and without, and its multiply-adds; explain a stride that does not divide.",
        epilog="""layers:
  conv:K,F,S,P  K filters of F x F, stride S (default 1), padding P (default 0, or 'same')
  pool:F,S,P    the largest of F x F values, stride S (default F); avgpool:F,S,P their mean, avgpool that of the plane
  fc:K          K neurons that see everything
  relu, lrn, softmax, dropout, flatten

example: fastconv sizes 227x227x3 conv:96,11,4,0 relu pool:3,2 conv:256,5,1,2""",
    )
    parser.add_argument("volume", metavar="HxWxD", help="the input, such as 227x227x3")
    parser.add_argument("layers", metavar="LAYER", nargs="+")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Print the table."""
    from fastconv.layer_sizes import sizes

    print(sizes(options.volume, *options.layers))
    return 0
