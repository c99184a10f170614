"""Folders of small images in which every class has its own colour and texture."""

import numpy as np

COLOURS = {"blue": (40, 60, 200), "green": (30, 180, 60), "red": (210, 50, 40)}


def picture(rng, colour, size=(40, 36)):
    """An RGB image (width, height) of a colour with some noise and a dark bar anywhere."""
    from PIL import Image

    width, height = size
    pixels = np.asarray(colour) + rng.integers(-30, 30, (height, width, 3))
    left = rng.integers(0, width - 8)
    pixels[:, left : left + 8] //= 3
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_folder(folder, rng, count=6, colours=COLOURS, suffix="png", **options):
    """``count`` images of each class in a sub-folder of its name; returns the folder."""
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture(rng, colour, **options).save(folder / name / f"{number:02d}.{suffix}")
    return folder
