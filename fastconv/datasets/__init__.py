"""Image datasets: small ones as NumPy arrays, images float32 (N, C, H, W) in 0..1, labels int64; folders of images."""

from fastconv.datasets import transforms
from fastconv.datasets.cifar10 import load_cifar10
from fastconv.datasets.digits import load_digits
from fastconv.datasets.image_file import read_image
from fastconv.datasets.image_folder import ImageFolder
from fastconv.datasets.lazy_images import LazyImages
from fastconv.datasets.mnist import load_mnist
from fastconv.files.remote import DataUnavailableError

__all__ = [
    "DataUnavailableError",
    "ImageFolder",
    "LazyImages",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "read_image",
    "transforms",
]
