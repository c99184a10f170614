"""``fastconv plot`` as a user types it: every picture without a file, with files, and what goes wrong."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import cli, models
from fastconv.bench import records
from fastconv.training import load_history, recipes, save_network

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A digits' network, in a file, and the checkpoint of its training."""
    folder = tmp_path_factory.mktemp("trained")
    model, _, _ = recipes.train("digits", epochs=2, checkpoint=folder / "run.npz", progress=False)
    save_network(folder / "digits.npz", model, "digits_net", [f"digit {number}" for number in range(10)])
    return folder


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Runs the command; the axes, and the path of the picture that must be there then."""
    from fastconv.plots import canvas

    kept = []
    save = canvas.save
    monkeypatch.setattr(canvas, "save", lambda axes, path: (kept.append(axes), save(axes, path)))

    def run(picture, *arguments):
        path = tmp_path / f"{picture}.png"
        assert cli.main(["plot", picture, *map(str, arguments), "--out", str(path)]) == 0
        assert path.read_bytes().startswith(b"\x89PNG")
        return kept[-1]

    return run


def test_every_picture_is_there_without_a_file(drawn, monkeypatch, capsys):
    from fastconv.cli.plot import backends, sources

    monkeypatch.setattr(sources, "EPOCHS", 1)
    monkeypatch.setattr(backends, "SECONDS", 0.01)
    titles = {
        "filters": "24 filters 3×3×1 of conv1, digits_net",
        "features": "feature maps",
        "curves": "loss",
        "confusion": "of 360 right",
        "architecture": "digits_net: 48,618 parameters, 1,129,984 multiply-adds",
        "receptive-field": "unit (2, 2) of pool (4×4 units) sees 6×6 pixels",
        "backends": "layers of digits_net, 64 images",
    }
    for picture, title in titles.items():
        assert title in drawn(picture).get_title()
        assert f"{picture}.png" in capsys.readouterr().out


def test_filters_of_a_file_and_a_layer(drawn, trained):
    axes = drawn("filters", "--weights", trained / "digits.npz", "--layer", "conv2")
    assert axes.get_title() == "48 filters 3×3×24 of conv2, digits_net"


def test_features_of_an_image_file(drawn, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image").new("RGB", (90, 70), "red")
    image.save(tmp_path / "red.png")
    drawn(
        "features", "--model", "squeezenet1_1", "--image", tmp_path / "red.png", "--layers", "features.0", "--maps", 2
    )
    assert "freshly drawn weights" in capsys.readouterr().err


def test_the_bundled_digit_is_prepared_as_the_network_wants_it():
    from argparse import Namespace

    from fastconv.cli.plot import sources

    images, labels = fc.datasets.load_digits("test")
    seven = images[labels == 7][0]
    assert np.array_equal(sources.image(Namespace(image=None, digit=7), "digits_net"), seven)
    large = sources.image(Namespace(image=None, digit=7), "alexnet")
    expected = models.preprocessing("alexnet")
    assert large.shape == (3, 224, 224)
    assert large.dtype == np.float32
    for channel, mean, std in zip(large, expected.mean, expected.std, strict=True):
        assert np.allclose(channel[::28, ::28] * std + mean, seven[0], atol=1e-6)


def test_curves_of_checkpoints(drawn, trained):
    lines = drawn("curves", trained / "run.npz", trained / "run.npz").lines
    assert [line.get_label() for line in lines] == ["run, training", "run, validation"]
    loss = drawn("curves", trained / "run.npz").lines[0]
    assert loss.get_ydata().tolist() == load_history(trained / "run.npz").loss


def test_a_damaged_history_is_refused(trained, tmp_path, capsys):
    import json

    arrays = fc.weights.load(trained / "run.npz")
    record = json.loads(fc.weights.load_metadata(trained / "run.npz")["checkpoint"])
    record["history"][0]["loss"] = "low"
    fc.weights.save(arrays, tmp_path / "bad.npz", {"checkpoint": json.dumps(record)})
    assert cli.main(["plot", "curves", str(tmp_path / "bad.npz"), "--out", str(tmp_path / "x.png")]) == 1
    assert "bad.npz: a damaged checkpoint: loss is 'low', not a number" in capsys.readouterr().err


def test_confusion_names_the_classes_of_the_file(drawn, trained):
    axes = drawn("confusion", "--weights", trained / "digits.npz")
    assert axes.get_yticklabels()[3].get_text() == "digit 3"
    assert sum(int(text.get_text()) for text in axes.texts) == 360


def test_confusion_of_a_folder_of_images(drawn, tmp_path, rng):
    pillow = pytest.importorskip("PIL.Image")
    for name in ("ham", "spam"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            pillow.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    save_network(tmp_path / "net.npz", models.cifar_small(2), "cifar_small", ["ham", "spam"])
    axes = drawn("confusion", "--weights", tmp_path / "net.npz", "--data", tmp_path / "data")
    assert "of 6 right" in axes.get_title()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ham", "spam"]


def test_architecture_of_a_name_and_an_input(drawn):
    axes = drawn("architecture", "vgg11", "--input", "3,64,96")
    assert axes.texts[0].get_text() == "64×96×3"


def test_receptive_field_of_a_unit(drawn):
    axes = drawn("receptive-field", "--model", "lenet5", "--layer", "pool2", "--unit", "2,3", "--effective")
    assert axes.get_xlabel() == "columns: size 16, jump 4, start -2 + 3·4 = 10, end 10 + 16 - 1 = 25"
    assert len(axes.images) == 2


@pytest.fixture
def run_file(tmp_path):
    """Two contestants, two directions."""
    found = tuple(
        records.Record(
            f"layer {case}", "small", 1, direction, 1, "nchw", "float32", 2, name, records.TIMED,
            time_median=seconds, time_min=seconds,
        )
        for case in "ab"
        for direction in ("forward", "step")
        for name, seconds in (("fastconv:numba", 1.0), ("torch", 2.0))
    )  # fmt: skip
    records.save(records.Run({"cpu": "a processor"}, {}, found), tmp_path / "run.json")
    return tmp_path / "run.json"


def test_backends_of_a_record_file(drawn, run_file):
    axes = drawn("backends", run_file)
    assert axes.get_title() == "a processor"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["layer a, forward", "layer a, step", "layer b, forward", "layer b, step"]
    chosen = drawn("backends", run_file, "--case", "b", "--direction", "step", "--suite", "small")
    assert len(chosen.patches) == 2


WRONG = {
    "no such network": (["filters", "--model", "lenet9"], "unknown network 'lenet9'"),
    "no such file": (["filters", "--weights", "{folder}/absent.npz"], "absent.npz"),
    "no weights": (["filters", "--weights", "{folder}/text.npz", "--model", "lenet5"], "text.npz"),
    "no such layer": (
        ["filters", "--model", "lenet5", "--layer", "fc1"],
        "no convolution 'fc1' in lenet5; there are conv1",
    ),
    "a layer without maps": (["features", "--model", "lenet5", "--layers", "fc1"], "no layer 'fc1' that gives maps"),
    "no image": (["features", "--model", "lenet5", "--image", "{folder}/text.npz"], "text.npz"),
    "no checkpoint": (["curves", "{folder}/weights.npz"], "is not a checkpoint of a training run"),
    "no digits": (["confusion", "--model", "lenet5"], "lenet5 does not take the bundled digits"),
    "image too small": (["architecture", "alexnet", "--input", "3,20,20"], "kernel size can't be greater"),
    "unit outside": (
        ["receptive-field", "--model", "lenet5", "--layer", "conv2", "--unit", "10,0"],
        "no unit (10, 0): the layer has 10 x 10",
    ),
    "unknown layer": (["receptive-field", "--model", "lenet5", "--layer", "x"], "no layer 'x'; there are conv1"),
    "no records": (["backends", "{folder}/text.npz"], "is not JSON"),
    "no record of it": (["backends", "{run}", "--suite", "vgg"], "has no record of suite vgg"),
    "a filter without records": (["backends", "--case", "a"], "--case goes with RECORDS.json"),
    "another format": (["architecture", "--out", "{folder}/x.txt"], "must end in .png or .svg or .pdf"),
    "no folder": (["architecture", "--out", "{folder}/absent/x.png"], "does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_goes_wrong_is_said_and_exits_with_1(case, tmp_path, run_file, capsys):
    arguments, text = WRONG[case]
    (tmp_path / "text.npz").write_text("no archive")
    fc.weights.save(models.lenet5().state_dict(), tmp_path / "weights.npz")
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "x.png")]
    assert cli.main(["plot", *(word.format(folder=tmp_path, run=run_file) for word in arguments), *out]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("fastconv: ")
    assert text in message
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "arguments",
    [["pie"], ["receptive-field", "--unit", "1"], ["receptive-field", "--unit", "-1,2"], ["features", "--digit", "10"]],
)
def test_wrong_arguments_exit_with_2(arguments):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["plot", *arguments])


def test_without_a_picture_there_is_help(capsys):
    assert cli.main(["plot"]) == 2
    assert "receptive-field" in capsys.readouterr().out
