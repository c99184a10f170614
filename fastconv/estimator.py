"""A classifier with scikit-learn's interface: fit, predict, predict_proba, score, and all that builds on them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv import functional, models, optim, parameters, rng, training
from fastconv.datasets.transforms import Augmentation
from fastconv.errors import BackendUnavailableError, missing_extra
from fastconv.nn import AdaptiveAvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, init

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.preprocessing import LabelEncoder
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise missing_extra("scikit-learn", "sklearn", "fastconv.estimator") from None

OPTIMIZERS: dict[str, Callable] = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}
# The fitted attribute that pickles and copies hold as arrays.
_NETWORK = "model_"


class ConvNetClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network that learns classes from images, or from any rows of numbers taken as images.

    ``X`` is (N, C, H, W), or (N, C·H·W) with ``image_shape=(C, H, W)``, by default (1, 1, features). Every channel is
    brought to mean 0 and variance 1 of the training data; labels may be anything that scikit-learn takes for classes.

    ``network`` builds the untrained network: a name of ``fastconv.models.names()``, which is made for images of that
    network's size, a function of (num_classes, image_shape), or None for ``small_network``. ``optimizer`` is "adam",
    "adamw" or "sgd" (with momentum 0.9), with the rate ``lr``; ``augment`` as in ``training.fit``. Equal numbers in
    ``random_state`` give equal networks. Fitted attributes: ``classes_``, ``model_``, ``history_``, ``n_features_in_``.
    A pickle that names a GPU opens without one: the network stays on the host then, with a RuntimeWarning.

    Raises ValueError or TypeError in ``fit`` for wrong parameters, and what scikit-learn raises for wrong data.

    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.eye(4).repeat(8, axis=0)
    >>> labels = np.repeat(["ham", "eggs", "spam", "tea"], 8)
    >>> make_pipeline(ConvNetClassifier(image_shape=(1, 2, 2), random_state=0)).fit(X, labels).score(X, labels)
    1.0
    """

    model_: Module

    def __init__(
        self,
        network: str | Callable[[int, tuple[int, int, int]], Module] | None = None,
        *,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 3e-3,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        augment: Augmentation | None = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: bool = False,
    ):
        self.network = network
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.augment = augment
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, X, y) -> ConvNetClassifier:
        """Draw the network anew and train it; returns the estimator."""
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True, ensure_min_samples=1)
        check_classification_targets(y)
        encoder = LabelEncoder().fit(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least two classes, got one class: {self.classes_[0]}")
        self.image_shape_ = self._shape_of_images(X)
        images = X.reshape(len(X), *self.image_shape_)
        self.mean_ = images.mean(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
        deviation = images.std(axis=(0, 2, 3), dtype=np.float64).astype(np.float32)
        self.scale_ = np.where(deviation > 0, deviation, np.float32(1))
        process = rng.get_state()
        try:
            self.history_ = self._trained(self._prepared(images), encoder.transform(y))
        finally:
            rng.set_state(process)
        return self

    def predict_proba(self, X) -> np.ndarray:
        """The probability of every class, (N, classes), in the order of ``classes_``."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, allow_nd=True, reset=False)
        if X.ndim != 2 and X.shape[1:] != self.image_shape_:
            raise ValueError(f"X must hold images of shape {self.image_shape_}, got shape {X.shape}")
        images = self._prepared(X.reshape(len(X), *self.image_shape_))
        return functional.softmax(training.predict(self.model_, images), 1)

    def predict(self, X) -> np.ndarray:
        """The most probable class of every image."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        return tags

    def __getstate__(self) -> dict[str, Any]:
        kept = dict(super().__getstate__())
        if _NETWORK in kept:
            kept[_NETWORK] = {name: tensor.cpu().numpy() for name, tensor in self.model_.state_dict().items()}
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if _NETWORK in self.__dict__:
            values: Any = self.model_
            self.model_ = self._rebuilt()
            copies = {name: np.array(value) for name, value in values.items()}
            self.model_.load_state_dict(copies, assign=True)
            try:
                self.model_.to(self.device)
            except BackendUnavailableError as error:
                warnings.warn(f"the network stays on the host: {error}", RuntimeWarning, stacklevel=2)

    def _trained(self, images: np.ndarray, labels: np.ndarray) -> training.History:
        seed = int(check_random_state(self.random_state).randint(2**31))
        rng.manual_seed(seed)
        self.model_ = self._built().to(self.device)
        return training.fit(
            self.model_,
            (images, labels),
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self._made_optimizer(),
            seed=seed,
            augment=self.augment,
            progress=self.verbose,
        )

    def _shape_of_images(self, X: np.ndarray) -> tuple[int, int, int]:
        features = X.shape[1:]
        wanted = self.image_shape
        if X.ndim == 2 and wanted is None:
            wanted = (1, 1, X.shape[1])
        elif X.ndim == 4 and wanted is None:
            wanted = features
        if X.ndim not in (2, 4) or wanted is None:
            raise ValueError(f"X must be (N, features) or (N, C, H, W), got shape {X.shape}")
        if not isinstance(wanted, (tuple, list)) or len(wanted) != 3:
            raise ValueError(f"image_shape must be (C, H, W), got {wanted!r}")
        C, H, W = (parameters.positive_int("image_shape", extent) for extent in wanted)
        if features not in ((C * H * W,), (C, H, W)):
            raise ValueError(f"X of shape {X.shape} does not hold images of image_shape={(C, H, W)}")
        return C, H, W

    def _built(self) -> Module:
        count = len(self.classes_)
        if self.network is None:
            return small_network(count, self.image_shape_)
        if isinstance(self.network, str):
            return models.create(self.network, num_classes=count)
        return self.network(count, self.image_shape_)

    def _rebuilt(self) -> Module:
        """The network before it is given its weights; no random number of the process is used up."""
        process = rng.get_state()
        try:
            # A function of the user may compute with what it draws.
            with contextlib.nullcontext() if callable(self.network) else init.skipped():
                return self._built()
        finally:
            rng.set_state(process)

    def _prepared(self, images: np.ndarray) -> np.ndarray:
        return (images - self.mean_[:, None, None]) / self.scale_[:, None, None]

    def _made_optimizer(self):
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        options = {"momentum": 0.9} if OPTIMIZERS[self.optimizer] is optim.SGD else {}
        return OPTIMIZERS[self.optimizer](
            self.model_.parameters(), lr=self.lr, weight_decay=self.weight_decay, **options
        )


def small_network(num_classes: int, image_shape: tuple[int, int, int]) -> Module:
    """Two 3 x 3 convolutions (16, 32 maps) with a pooling where the image is large enough, and two layers of neurons.

    Shapes: (N, C, H, W) -> (N, num_classes), for images of any size.

    >>> small_network(3, (1, 1, 5))(np.zeros((2, 1, 1, 5), np.float32)).shape
    (2, 3)
    """
    C, H, W = image_shape
    kept = tuple(min(extent, 8) for extent in (H, W))
    shrink = [MaxPool2d(2), AdaptiveAvgPool2d(kept)] if min(H, W) >= 16 else []
    size = kept if shrink else (H, W)
    return Sequential(
        Conv2d(C, 16, 3, padding=1),
        ReLU(),
        Conv2d(16, 32, 3, padding=1),
        ReLU(),
        *shrink,
        Flatten(),
        Linear(32 * size[0] * size[1], 64),
        ReLU(),
        Linear(64, num_classes),
    )
