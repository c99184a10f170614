"""The comparison of trainings at two precisions: its data, what it counts as the same, and that tiles run in it."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastconv import datasets
from fastconv.precision import FAST, LEVELS, STRICT

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "precision_training.py"


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    specification = importlib.util.spec_from_file_location("precision_training", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "precision_training", module)
    specification.loader.exec_module(module)
    return module


def test_images_are_enlarged_by_repeating_pixels(script, rng):
    images = rng.random((2, 1, 8, 8), np.float32)
    found = script.enlarged(images, 3, 2)
    assert found.shape == (2, 1, 28, 28)
    for row, col in np.ndindex(24, 24):
        np.testing.assert_array_equal(found[:, :, 2 + row, 2 + col], images[:, :, row // 3, col // 3])
    assert found.sum(dtype=np.float64) == pytest.approx(9 * images.sum(dtype=np.float64))


def test_colours_are_the_same_every_time_and_keep_what_is_light(script, rng):
    images = rng.random((5, 1, 4, 4), np.float32)
    found = script.coloured(images)
    assert found.shape == (5, 3, 4, 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, script.coloured(images))
    assert (found.min(), found.max()) > (0, 0.5)
    assert found.max() < 1
    for n, channel in np.ndindex(5, 3):
        assert np.corrcoef(found[n, channel].ravel(), images[n, 0].ravel())[0, 1] > 0.999
    assert len(np.unique(found[:, :, 0, 0])) == 15


def test_every_network_takes_the_images_of_its_task(script):
    images, _ = datasets.load_digits("test")
    for task in script.TASKS.values():
        assert task.network()(task.images(images[:3])).shape == (3, 10)


def test_what_is_within_the_spread_of_the_seeds(script):
    assert script.is_within_spread({STRICT: [0.97, 0.99], FAST: [0.96, 0.98]})
    assert not script.is_within_spread({STRICT: [0.97, 0.98], FAST: [0.95, 0.96]})
    assert not script.is_within_spread({STRICT: [0.97, 0.97], FAST: [0.98, 0.98]})
    assert script.is_within_spread({STRICT: [0.97, 0.97], FAST: [0.97, 0.97]})


def test_tiles_of_4x4_run_in_the_trainings_that_say_so_and_in_no_other(script):
    for name, task in script.TASKS.items():
        extra = script.kernels(task, FAST) - script.kernels(task, STRICT)
        of_tiles = {kernel for kernel in extra if kernel.startswith("winograd4")}
        if name in ("digits-32", "lenet-3x3", "cifar"):
            assert of_tiles == {f"winograd4 ({way})" for way in ("forward", "grad_input", "grad_weight")}
        elif name == "digits":
            assert of_tiles == {"winograd4 (grad_weight)"}
        else:
            assert extra == Counter()


def test_a_training_learns_the_digits_at_every_precision(script):
    found = {level: script.accuracy(script.TASKS["digits"], level, seed=0, epochs=2) for level in LEVELS}
    assert all(value > 0.8 for value in found.values())


def test_the_table_says_what_ran_and_the_status_whether_it_is_the_same(script, capsys, monkeypatch):
    assert script.main(["--networks", "lenet", "--seeds", "2", "--epochs", "1"]) == 0
    header, rule, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row.startswith("| LeNet-5, 28x28 |")
    assert row.endswith("| +0.00 points | yes | none: the same kernels run |")
    monkeypatch.setattr(script, "accuracy", lambda task, precision, seed, epochs: 0.9 + 0.05 * (precision == FAST))
    assert script.main(["--networks", "cifar", "--seeds", "2"]) == 1
    assert "| 90.00% (90.00% to 90.00%) | 95.00% (95.00% to 95.00%) | +5.00 points | NO |" in capsys.readouterr().out
