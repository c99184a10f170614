"""What is done to images before a network sees them.

Preprocessing, the same for every image: functions of one Pillow image, that end with a float32 array (C, H, W).
Augmentation, drawn anew for every batch in training: functions of (images, generator), for ``fit(..., augment=)``.
"""

from fastconv.datasets.transforms.augmentation import (
    Augmentation,
    random_brightness,
    random_crop,
    random_flip,
    random_occlusion,
    random_scale,
    random_shift,
)
from fastconv.datasets.transforms.chain import compose
from fastconv.datasets.transforms.preprocessing import center_crop, normalize, preprocess, resize, to_array

__all__ = [
    "Augmentation",
    "center_crop",
    "compose",
    "normalize",
    "preprocess",
    "random_brightness",
    "random_crop",
    "random_flip",
    "random_occlusion",
    "random_scale",
    "random_shift",
    "resize",
    "to_array",
]
