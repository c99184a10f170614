"""``fastconv plot confusion``."""

from __future__ import annotations

from dataclasses import asdict

from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    what = "which classes a network takes for which"
    parser = sources.add_picture(pictures, "confusion", what, draw, "Images are the digits that training does not see.")
    sources.add_network(parser)
    parser.add_argument("--data", metavar="FOLDER", help="a folder of images per class (default: the bundled digits)")


def draw(options):
    """The axes."""
    from fastconv import plots
    from fastconv.training import predict

    model, name, classes = sources.network(options)
    images, labels, names = _folder(options.data, name, classes) if options.data else _digits(name, classes)
    return plots.confusion_matrix(labels, predict(model, images).argmax(axis=1), classes=names)


def _digits(name: str, classes: list[str] | None):
    from fastconv import models
    from fastconv.datasets import load_digits

    images, labels = load_digits("test")
    expected = models.preprocessing(name)
    if (len(expected.mean), expected.crop, expected.crop) != images.shape[1:]:
        raise ValueError(f"{name} does not take the bundled digits of 8x8 pixels; give its images with --data FOLDER")
    return images, labels, classes


def _folder(path: str, name: str, classes: list[str] | None):
    from fastconv import models
    from fastconv.datasets import ImageFolder, transforms

    data = ImageFolder(path, transforms.preprocess(**asdict(models.preprocessing(name))), classes=classes)
    return data.images, data.labels, data.classes
