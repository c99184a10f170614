"""``fastconv plot filters``."""

from __future__ import annotations

from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "filters", "the filters of a convolution as a grid", draw)
    sources.add_network(parser)
    parser.add_argument("--layer", metavar="NAME", help="a convolution (default: the first)")


def draw(options):
    """The axes."""
    from fastconv import plots

    model, name, _ = sources.network(options)
    weights = {key.removesuffix(".weight"): value for key, value in model.state_dict().items() if value.ndim == 4}
    layer = next(iter(weights), None) if options.layer is None else options.layer
    if layer not in weights:
        raise ValueError(f"no convolution {layer!r} in {name}; there are {', '.join(weights) or 'none'}")
    weight = weights[layer].cpu().numpy()
    K, C, height, width = weight.shape
    return plots.filters(weight, title=f"{K} filters {height}×{width}×{C} of {layer}, {name}")
