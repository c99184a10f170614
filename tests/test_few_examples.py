"""The transfer result: what is taught first helps where there are few examples, and the numbers say how much."""

import json
import statistics

import numpy as np
import pytest

from fastconv import cli, datasets
from fastconv.training import few_examples


def test_frozen_convolutions_win_where_there_are_few_examples(tmp_path, capsys):
    """At the settings of ``fastconv demo --transfer``, whose numbers these are."""
    target = tmp_path / "transfer.json"
    assert cli.main(["demo", "--transfer", "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(target.read_text())
    assert (report["seed"], report["epochs"]) == (0, few_examples.EPOCHS)
    outcomes = {(row["examples"], row["method"]): row for row in report["rows"]}
    assert set(outcomes) == {(n, method) for n in (1, 5, 10, 50) for method in ("frozen convolutions", "from scratch")}
    for row in outcomes.values():
        assert len(row["accuracies"]) == few_examples.SEEDS >= 5
        assert row["mean"] == pytest.approx(statistics.fmean(row["accuracies"]))
        assert row["deviation"] == pytest.approx(statistics.stdev(row["accuracies"]))
    for count in (1, 5, 10):
        frozen, scratch = (outcomes[count, method] for method in ("frozen convolutions", "from scratch"))
        assert frozen["mean"] > scratch["mean"], count
        cells = f"{100 * frozen['mean']:.1f} ± {100 * frozen['deviation']:.1f}"
        (line,) = (line for line in printed.splitlines() if line.split()[:1] == [str(count)])
        assert cells in line
        assert f"{100 * scratch['mean']:.1f} ±" in line
    assert outcomes[50, "frozen convolutions"]["mean"] > 0.9


def test_equal_numbers_give_equal_outcomes():
    first, second = (few_examples.compare(seeds=2, counts=[1, 2], epochs=1) for _ in range(2))
    assert first == second
    assert [(outcome.examples, outcome.method) for outcome in first] == [
        (count, method) for count in (1, 2) for method in (few_examples.FROZEN, few_examples.SCRATCH)
    ]
    assert few_examples.Outcome(1, "x", (0.5,)).deviation == 0.0


def test_examples_are_drawn_for_each_class_and_never_from_the_test_images():
    data = few_examples._classes(datasets.load_digits("train"), range(5, 10))
    images, labels = few_examples._few(data, 3, seed=1)
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    test = {image.tobytes() for image in datasets.load_digits("test")[0]}
    assert not test & {image.tobytes() for image in images}
    assert (few_examples._few(data, 3, seed=2)[0] != images).any()
    np.testing.assert_array_equal(few_examples._few(data, 3, seed=1)[0], images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "{folder}/x.json"], "--json goes with --transfer"),
        (["--transfer", "--json", "{folder}/x.txt"], "must end in .json"),
        (["--transfer", "--out", "{folder}/x.png"], "--out goes without --transfer"),
        (["--transfer", "--json", "{folder}/absent/x.json"], "does not exist"),
        (["--transfer", "--backend", "fortran"], "no backend 'fortran'"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(arguments, words, capsys, tmp_path):
    assert cli.main(["demo", *(argument.format(folder=tmp_path) for argument in arguments)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"seeds": 0}, {"counts": [0]}, {"epochs": 0}])
def test_wrong_numbers(options):
    with pytest.raises(ValueError, match="must be a positive int, got 0"):
        few_examples.compare(**{"seeds": 1, "counts": [1], "epochs": 1} | options)
