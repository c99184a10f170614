"""The 1,797 handwritten digits that come with the package: no download, no optional package."""

import numpy as np

from fastconv.datasets.images import check_split, scaled


def load_digits(split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Images float32 (N, 1, 8, 8) in 0..1 and labels int64 (N,) of the bundled digits.

    `split` is "train" (1,437 images), "test" (360 images, 36 of each digit, always the same ones) or
    "all" (1,797, in the order of the source). Source, authors and licence are in `digits.md` beside the data.

    Raises ValueError for any other split.

    >>> images, labels = load_digits("test")
    >>> images.shape, images.dtype, labels.shape
    ((360, 1, 8, 8), dtype('float32'), (360,))
    """
    from importlib import resources

    check_split(split, ("train", "test", "all"))
    with (
        resources.files("fastconv.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images, labels, test_indices = arrays["images"], arrays["labels"], arrays["test_indices"]
    if split != "all":
        chosen = np.zeros(len(labels), bool)
        chosen[test_indices] = True
        chosen = chosen if split == "test" else ~chosen
        images, labels = images[chosen], labels[chosen]
    return scaled(images[:, None], 16), labels.astype(np.int64)
