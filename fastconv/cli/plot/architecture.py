"""``fastconv plot architecture``."""

from __future__ import annotations

from fastconv.cli.plot import sources
from fastconv.cli.summary import shape


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "architecture", "a network as the volumes that its layers make", draw)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default="digits_net", help="of fastconv.models (default: digits_net)"
    )
    parser.add_argument(
        "--input", type=shape, metavar="C,H,W", help="an image (default: what the network was made for)"
    )


def draw(options):
    """The axes."""
    from fastconv import models, plots
    from fastconv.nn import init

    expected = models.preprocessing(options.name)
    with init.skipped():
        model = models.create(options.name)
    image = options.input or (len(expected.mean), expected.crop, expected.crop)
    return plots.architecture(model, image, title=options.name)
