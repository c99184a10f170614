"""Small image datasets as plain NumPy arrays: images float32 (N, C, H, W) in 0..1, labels int64 (N,)."""

from fastconv.datasets.cifar10 import load_cifar10
from fastconv.datasets.digits import load_digits
from fastconv.datasets.mnist import load_mnist
from fastconv.files.remote import DataUnavailableError

__all__ = ["DataUnavailableError", "load_cifar10", "load_digits", "load_mnist"]
