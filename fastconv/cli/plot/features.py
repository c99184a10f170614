"""``fastconv plot features``."""

from __future__ import annotations

from fastconv.cli import positive
from fastconv.cli.lists import words
from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "features", "what the layers of a network make of an image", draw)
    sources.add_network(parser)
    sources.add_image(parser)
    parser.add_argument("--layers", type=words, metavar="LIST", help="layers by name (default: at most eight of all)")
    parser.add_argument("--maps", type=positive, default=12, metavar="N", help="maps of each, at most (default: 12)")


def draw(options):
    """The axes."""
    from fastconv import plots

    model, name, _ = sources.network(options)
    return plots.feature_maps(model, sources.image(options, name), layers=options.layers, maps=options.maps)
