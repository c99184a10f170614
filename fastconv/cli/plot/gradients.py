"""``fastconv plot gradients``."""

from __future__ import annotations

from fastconv.cli import positive
from fastconv.cli.plot import sources

MAPS, IMAGES = 16, 64


def register(pictures) -> None:
    """Add the picture."""
    what = "the gradients that reach the layers of deep networks"
    parser = sources.add_picture(
        pictures, "gradients", what, draw, "The networks differ in what follows each convolution alone."
    )
    parser.add_argument("--depth", type=positive, default=20, metavar="N", help="convolutions (default: 20)")


def draw(options):
    """The axes."""
    from fastconv import datasets, nn, plots

    images, labels = datasets.load_digits("test")
    stacks = {kind.__name__: _stack(kind, options.depth) for kind in (nn.ReLU, nn.Tanh, nn.Sigmoid)}
    axes = plots.gradients(stacks, images[:IMAGES], labels[:IMAGES])
    axes.set_title(f"{options.depth} convolutions on the digits, before any training")
    return axes


def _stack(kind, depth: int):
    """Convolutions with the same weights, drawn so that rectified sums keep their size."""
    from fastconv import manual_seed, nn

    manual_seed(0)
    layers: dict[str, nn.Module] = {}
    for number in range(1, depth + 1):
        layers[f"conv{number}"] = nn.Conv2d(1 if number == 1 else MAPS, MAPS, 3, padding=1)
        nn.init.kaiming_normal_(layers[f"conv{number}"].weight, nonlinearity="relu")
        layers[f"{kind.__name__}{number}"] = kind()
    return nn.Sequential({**layers, "flatten": nn.Flatten(), "fc": nn.Linear(MAPS * 64, 10)})
