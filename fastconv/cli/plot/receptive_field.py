"""``fastconv plot receptive-field``."""

from __future__ import annotations

from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    what = "what of an image one unit of a network sees"
    parser = sources.add_picture(pictures, "receptive-field", what, draw)
    sources.add_network(parser)
    sources.add_image(parser)
    parser.add_argument(
        "--layer", metavar="NAME", help="its layer (default: the last one that does not see everything)"
    )
    parser.add_argument(
        "--unit", type=sources.unit, metavar="ROW,COLUMN", help="its place, from 0 on (default: the middle)"
    )
    parser.add_argument(
        "--effective", action="store_true", help="colour the pixels by how much the unit changes with them"
    )


def draw(options):
    """The axes."""
    from fastconv import plots
    from fastconv.receptive_fields import receptive_fields

    model, name, _ = sources.network(options)
    image = sources.image(options, name)
    layer = options.layer or _default(receptive_fields(model, image.shape), image.shape[1:])
    try:
        return plots.receptive_field(model, layer, image, options.unit, effective=options.effective)
    except IndexError as error:
        raise ValueError(str(error)) from None


def _default(found, extents) -> str:
    """The last layer whose unit in the middle does not see the whole image, if there is one."""
    partial = [name for name, fields in found.items() if _size(fields) < tuple(extents)]
    return (partial or list(found))[-1]


def _size(fields) -> tuple[int, int]:
    top, left, bottom, right = fields.box(*(count // 2 for count in fields.shape))
    return bottom - top, right - left
