"""One image file, read with Pillow: upright, 8 bits, RGB; anything that is not such an image is a clear error."""

from __future__ import annotations

import os
import stat
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fastconv import parameters
from fastconv.errors import FastconvError, FormatError, UnsafeFileError, missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow reads others, too, some of them by starting programs.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
# 192 MB as RGB; Pillow itself warns from 89 million on.
MAX_PIXELS = 1 << 26
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def pillow() -> ModuleType:
    """Pillow's module ``Image``; raises an ImportError that names the extra where it is not installed."""
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("pillow", "images", "reading images") from None
    return Image


def read_image(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> Image:
    """The image in a JPEG, PNG, BMP, PPM, TIFF or WebP file, as Pillow's mode RGB, the first one of several.

    It stands upright, as EXIF says. Palettes, grey and CMYK become RGB, 16-bit grey keeps its upper 8 bits, and
    transparent pixels show the colour that they have.

    Raises FormatError for a file that is damaged, cut short or something else, UnsafeFileError for one that declares
    more than ``max_pixels``, before they are decoded, OSError from the file system.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pillow().new("L", (4, 2), 7).save(f"{folder}/grey.png")
    ...     image = read_image(f"{folder}/grey.png")
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (4, 2), (7, 7, 7))
    """
    name, limit, module = os.fsdecode(path), parameters.positive_int("max_pixels", max_pixels), pillow()
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name}: is a directory, not an image")
    if not stat.S_ISREG(mode):
        raise FormatError(f"{name}: not a regular file")
    with open(name, "rb") as file:
        try:
            return _decoded(module, file, limit)
        except FastconvError as error:
            raise type(error)(f"{name}: {error}") from None
        except (module.DecompressionBombError, module.DecompressionBombWarning) as error:
            raise UnsafeFileError(f"{name}: {error}; Pillow's limit is PIL.Image.MAX_IMAGE_PIXELS") from error
        except MemoryError:
            raise
        except Exception as error:  # whatever Pillow's decoders stumble over in a damaged file
            raise FormatError(f"{name}: not a readable image ({type(error).__name__}: {error!s:.200})") from error


def _decoded(module, file, limit: int) -> Image:
    from PIL import ImageOps, UnidentifiedImageError

    try:
        image = module.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise FormatError(f"no image of a known format ({', '.join(FORMATS)}), or damaged at its beginning") from None
    if image.width * image.height > limit:
        raise UnsafeFileError(
            f"declares {image.width}x{image.height} pixels, above the limit of {limit:,}; "
            "if you trust the file, pass a larger max_pixels="
        )
    image.load()
    return _as_rgb(module, ImageOps.exif_transpose(image))


def _as_rgb(module, image) -> Image:
    if image.mode in _WIDE_MODES:
        # Pillow would cut off at 255 what it does not scale.
        image = module.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise FormatError("floating-point images are not supported; convert it to 8 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
