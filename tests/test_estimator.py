"""The classifier with scikit-learn's interface, judged by scikit-learn's own checks."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import datasets, nn, rng
from fastconv.datasets import transforms

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastconv.estimator import ConvNetClassifier, small_network


# No oracle: two of them want pandas and another interface of arrays, and skip themselves.
@parametrize_with_checks([ConvNetClassifier(epochs=20, random_state=0)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    images, labels = datasets.load_digits("train")
    return images[:300], np.array(list("abcdefghij"))[labels[:300]]


def make(**options):
    return ConvNetClassifier(**{"epochs": 10, "random_state": 3} | options)


@pytest.fixture(scope="module")
def fitted(digits):
    return make().fit(*digits)


def test_images_and_flat_rows_give_the_same_network(digits, fitted):
    images, names = digits
    flat = make(image_shape=(1, 8, 8)).fit(images.reshape(300, -1), names)
    assert fitted.classes_.tolist() == list("abcdefghij")
    assert fitted.image_shape_ == flat.image_shape_ == (1, 8, 8)
    np.testing.assert_array_equal(fitted.predict_proba(images), flat.predict_proba(images.reshape(300, -1)))
    test_images, test_labels = datasets.load_digits("test")
    assert fitted.score(test_images, np.array(list("abcdefghij"))[test_labels]) > 0.85
    np.testing.assert_allclose(fitted.predict_proba(images).sum(axis=1), 1, atol=1e-5)
    assert len(fitted.history_) == 10


def test_equal_numbers_give_equal_networks_and_leave_the_process_alone(digits, fitted):
    images, _ = digits
    fc.manual_seed(7)
    before = rng.get_state()
    again = make().fit(*digits)
    assert rng.get_state() == before
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
    other = make(random_state=np.random.RandomState(4)).fit(*digits)
    assert (other.predict_proba(images) != fitted.predict_proba(images)).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_predict_the_same(copied, digits, fitted):
    images, _ = digits
    again = copied(fitted)
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))
    assert again.model_ is not fitted.model_
    assert isinstance(fitted.model_, nn.Module)


def filled_network(count, image_shape):
    network = small_network(count, image_shape)
    with fc.no_grad():
        network[0].bias[:2] = network[0].weight[:2, 0, 0, 0]
    return network


@pytest.mark.parametrize("network", [None, filled_network])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_use_up_no_random_numbers_and_share_no_memory(copied, network, digits):
    original = make(network=network, epochs=1).fit(*digits)
    before = rng.get_state()
    again = copied(original)
    assert rng.get_state() == before
    for ours, theirs in zip(again.model_.parameters(), original.model_.parameters(), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        assert not np.shares_memory(ours.numpy(), theirs.numpy())


def test_what_was_trained_on_a_gpu_opens_without_one(digits, fitted):
    images, _ = digits
    elsewhere = copy.deepcopy(fitted).set_params(device="cuda:99")
    with pytest.warns(RuntimeWarning, match=r"stays on the host: device 'cuda:99' cannot be used"):
        again = pickle.loads(pickle.dumps(elsewhere))
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))


def test_parameters_are_scikit_learns(fitted):
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    assert not hasattr(fresh, "model_")
    with pytest.raises(NotFittedError):
        fresh.predict(np.zeros((1, 64)))
    assert fresh.set_params(lr=0.1).lr == 0.1
    assert repr(ConvNetClassifier(epochs=3)) == "ConvNetClassifier(epochs=3)"


def test_searches_and_cross_validation(digits):
    images, names = digits
    rows = images.reshape(300, -1)[:90]
    search = GridSearchCV(make(image_shape=(1, 8, 8), epochs=5), {"lr": [1e-6, 3e-3]}, cv=3, error_score="raise")
    assert search.fit(rows, names[:90]).best_params_ == {"lr": 3e-3}
    assert cross_val_score(make(image_shape=(1, 8, 8)), rows, names[:90], cv=3, error_score="raise").mean() > 0.5


def own_network(count, shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), count))


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"network": "digits_net"}, nn.Dropout),
        ({"network": own_network, "optimizer": "sgd", "lr": 0.1}, nn.Linear),
        ({"optimizer": "adamw", "weight_decay": 0.01, "augment": transforms.random_shift(1)}, nn.Conv2d),
    ],
    ids=["name", "function", "options"],
)
def test_networks_and_optimisers(options, kind, digits):
    images, names = digits
    model = make(epochs=20, **options).fit(images, names)
    assert any(isinstance(module, kind) for module in model.model_.modules())
    assert model.score(images, names) > 0.9
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({"network": "digit_net"}, (8, 1, 8, 8), "unknown network 'digit_net'"),
        ({"optimizer": "rmsprop"}, (8, 1, 8, 8), "optimizer must be one of adam, adamw, sgd"),
        ({"epochs": 0}, (8, 1, 8, 8), "epochs must be a positive int"),
        ({"batch_size": 0}, (8, 1, 8, 8), "batch_size must be a positive int"),
        ({"image_shape": (1, 8, 7)}, (8, 64), r"does not hold images of image_shape=\(1, 8, 7\)"),
        ({"image_shape": (8, 8)}, (8, 64), r"image_shape must be \(C, H, W\)"),
        ({"image_shape": (1, 8, 0)}, (8, 64), "image_shape must be a positive int"),
        ({}, (8, 8, 8), r"X must be \(N, features\) or \(N, C, H, W\), got shape \(8, 8, 8\)"),
    ],
)
def test_wrong_parameters_are_said_in_fit(options, shape, words):
    with pytest.raises(ValueError, match=words):
        make(**options).fit(np.ones(shape), np.arange(8) % 2)


def test_predicting_other_images_than_those_of_fit(fitted):
    with pytest.raises(ValueError, match=r"images of shape \(1, 8, 8\), got shape \(2, 1, 8, 9\)"):
        fitted.predict(np.zeros((2, 1, 8, 9)))
    with pytest.raises(ValueError, match="features"):
        fitted.predict(np.zeros((2, 63)))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (2, 15, 40), (3, 16, 16), (3, 33, 70)])
def test_the_default_network_takes_images_of_any_size(shape):
    assert small_network(4, shape)(np.zeros((2, *shape), np.float32)).shape == (2, 4)


def test_scikit_learn_is_imported_here_alone():
    code = "import sys, fastconv as fc; fc.training, fc.datasets, fc.models; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    without = "import sys; sys.modules['sklearn'] = None; import fastconv as fc; fc.estimator"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)
    assert "pip install 'fastconv[sklearn]'" in done.stderr
