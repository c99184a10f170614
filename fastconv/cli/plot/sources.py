"""What pictures are drawn of: a network, an image, and where the picture goes; all can be left out."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastconv.cli import check_picture, digit, tell_of_preparation

if TYPE_CHECKING:
    from fastconv.training.network_files import NetworkFile

# Passes over the digits of the network that is trained where none is given: seconds.
EPOCHS = 5


def add_picture(pictures, name: str, what: str, draw, description: str = "") -> argparse.ArgumentParser:
    """The parser of one picture; ``draw(options)`` returns the axes."""
    parser = pictures.add_parser(name, help=what, description=f"Draw {what}. {description}".strip())
    parser.add_argument("--out", metavar="FILE", default=f"{name}.png", help=f"the picture (default: {name}.png)")
    parser.set_defaults(run=lambda options: _drawn(options, draw))
    return parser


def add_network(parser) -> None:
    """Which network."""
    parser.add_argument("--model", metavar="NAME", help="a network of fastconv.models (default: what the file says)")
    parser.add_argument("--weights", metavar="FILE", help="its weights, or their name on the hub")


def add_image(parser) -> None:
    """Which image."""
    parser.add_argument("--image", metavar="FILE", help="an image (default: a bundled digit)")
    parser.add_argument("--digit", type=digit, default=3, metavar="N", help="which bundled digit (default: 3)")


def network(options) -> NetworkFile:
    """The network that was asked for, or one that is trained on the digits now."""
    from fastconv import models
    from fastconv.training import network_files

    if options.weights:
        tell_of_preparation(options.weights)
        return network_files.load_network(options.weights, options.model)
    if options.model:
        print(f"{options.model} has freshly drawn weights; --weights FILE has it draw learned ones", file=sys.stderr)
        return network_files.NetworkFile(models.create(options.model), options.model, None)
    return network_files.NetworkFile(trained().model, "digits_net", None)


def trained():
    """Model, history and result of the digits' network."""
    from fastconv.training import recipes

    print(f"training on {recipes.describe('digits')} for {EPOCHS} epochs", file=sys.stderr)
    return recipes.train("digits", epochs=EPOCHS)


def image(options, name: str):
    """The image (C, H, W) that was asked for, as the network of a name takes it."""
    from fastconv import models

    expected = models.preprocessing(name)
    if options.image:
        from fastconv.datasets import read_image, transforms

        return transforms.preprocess(**asdict(expected))(read_image(options.image))
    return _bundled(options.digit, expected)


def _bundled(wanted: int, expected):
    """The first bundled digit of a kind, enlarged to the size that is expected."""
    import numpy as np

    from fastconv.datasets import load_digits

    images, labels = load_digits("test")
    picture = images[labels == wanted][0, 0]
    places = np.arange(expected.crop) * len(picture) // expected.crop
    large = picture[places][:, places]
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (expected.mean, expected.std))
    return (large - mean) / std


def _drawn(options, draw) -> int:
    from fastconv.plots import canvas

    check_picture(options.out)
    canvas.matplotlib("pyplot").switch_backend("agg")
    canvas.save(draw(options), options.out)
    print(f"drawn in {options.out}")
    return 0


def unit(text: str) -> tuple[int, int]:
    """An argument row,column, both from 0 on."""
    words = text.split(",")
    if len(words) != 2 or not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"must be ROW,COLUMN, counted from 0, got {text!r}")
    return int(words[0]), int(words[1])
