"""``fastconv finetune`` and ``fastconv predict`` as a user types them, on folders of small images."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.pictures import COLOURS, picture, write_folder

import fastconv as fc
from fastconv import cli, models, nn, training, weights
from fastconv.errors import FormatError, ShapeError

pytest.importorskip("PIL")
CLASSES = sorted(COLOURS)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The file of a network of ten classes, as somebody else would have left it."""
    fc.manual_seed(0)
    path = tmp_path_factory.mktemp("known") / "cifar.npz"
    weights.save(models.cifar_small().state_dict(), path)
    return path


@pytest.fixture
def folder(tmp_path, rng):
    return write_folder(tmp_path / "pictures", rng, 10)


@pytest.fixture
def tuned(known, folder, tmp_path, capsys):
    """The command's output and the file that it wrote."""
    out = tmp_path / "tuned.npz"
    assert cli.main([*command(known, folder), "--lr", "0.01", "--out", str(out)]) == 0
    return capsys.readouterr().out, out


def command(known, folder, *arguments):
    return ["finetune", "--model", "cifar_small", "--weights", str(known), "--data", str(folder), *arguments]


def test_finetuning_reports_and_saves_what_predict_needs(tuned, folder, rng, tmp_path, capsys):
    printed, out = tuned
    lines = printed.splitlines()
    assert lines[0] == (
        "24 images of 3 classes, measured on 6 others; new head fc: Linear(in_features=2048, out_features=3, bias=True)"
    )
    assert lines[1] == "training 6,147 of 99,395 parameters"
    assert lines[2].startswith("epoch   1  loss ")
    assert "  validation " in lines[2]
    assert lines[-2] == "validation accuracy 100.00% after 20 epochs"
    assert lines[-1] == f"weights and names of classes written to {out}"
    loaded = training.load_network(out)
    assert (loaded.name, loaded.classes) == ("cifar_small", CLASSES)
    picture(rng, COLOURS["green"]).save(tmp_path / "lawn.jpg")
    assert cli.main(["predict", str(tmp_path / "lawn.jpg"), "--weights", str(out), "--top", "2"]) == 0
    name, first, second = capsys.readouterr().out.splitlines()
    assert name == str(tmp_path / "lawn.jpg")
    assert first.split()[1] == "green"
    assert float(first.split()[0].rstrip("%")) > float(second.split()[0].rstrip("%"))


def test_frozen_layers_are_those_of_the_file(known, folder, tmp_path, capsys):
    before, out = weights.load(known), tmp_path / "tuned.safetensors"
    assert cli.main([*command(known, folder), "--until", "pool2", "--epochs", "2", "--out", str(out)]) == 0
    assert "training 80,003 of" in capsys.readouterr().out
    after = weights.load(out)
    for name in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert (after["conv3.weight"] != before["conv3.weight"]).any()


def test_the_same_seed_gives_the_same_file(known, folder, tmp_path):
    contents = []
    for number, options in enumerate([[], ["--features", str(tmp_path)], ["--seed", "1"]]):
        out = tmp_path / f"{number}.npz"
        assert cli.main([*command(known, folder), "--epochs", "2", "--out", str(out), *options]) == 0
        contents.append(weights.load(out)["fc.weight"])
    np.testing.assert_array_equal(contents[0], contents[1])
    assert (contents[0] != contents[2]).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--augment", "all", "--epochs", "2"], "after 2 epochs"),
        (["--augment", "flip,shift", "--passes", "3", "--epochs", "1"], "after 1 epochs"),
        (["--val-fraction", "0", "--epochs", "1"], "training accuracy"),
        (["--until", "none", "--epochs", "1"], "training 99,395 of 99,395 parameters"),
    ],
)
def test_options_of_training(known, folder, tmp_path, capsys, options, words):
    assert cli.main([*command(known, folder), "--out", str(tmp_path / "x.npz"), *options]) == 0
    assert words in capsys.readouterr().out


def test_a_folder_of_its_own_for_validation_and_damaged_files(known, folder, tmp_path, rng, capsys):
    other = write_folder(tmp_path / "other", rng, 2, {"red": COLOURS["red"]})
    (folder / "red" / "00.png").write_bytes(b"damaged")
    arguments = command(known, folder, "--val", str(other), "--epochs", "1", "--out", str(tmp_path / "x.npz"))
    assert cli.main(arguments) == 1
    assert "red/00.png: no image of a known format" in capsys.readouterr().err
    assert cli.main([*arguments, "--skip-damaged"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("29 images of 3 classes, measured on 2 others")
    assert output.err.startswith(f"left out {folder}/red/00.png: no image")
    write_folder(tmp_path / "strange", rng, 1, {"violet": (90, 0, 90)})
    assert cli.main([*command(known, folder), "--val", str(tmp_path / "strange")]) == 1
    assert "violet are not among the classes blue, green, red" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--until", "pol1"], "no module 'pol1'; there are 'pool1'"),
        (["--out", "{folder}/absent/x.npz"], "does not exist"),
        (["--out", "{folder}/x.pth"], "must end in .npz or .safetensors"),
        (["--model", "cifar_smal"], "unknown network 'cifar_smal'; there are alexnet"),
        (["--model", "resnet18"], "missing key"),
        (["--weights", "{folder}/absent.npz"], "absent.npz"),
        (["--data", "{folder}/blue"], "holds no folder"),
        (["--passes", "2"], "passes needs an augment"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(known, folder, capsys, options, words):
    assert cli.main([*command(known, folder), *(option.format(folder=folder) for option in options)]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


@pytest.mark.parametrize("options", [["--augment", "fly"], ["--val-fraction", "1"], ["--val-fraction", "x"]])
def test_wrong_arguments_end_with_status_2(known, folder, options):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command(known, folder), *options])
    assert stop.value.code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_keeps_what_was_learned(known, folder, tmp_path):
    out = tmp_path / "tuned.npz"
    arguments = command(known, folder, "--epochs", "100000", "--out", str(out))
    script = "import sys; from fastconv.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[2].startswith("epoch   1"), [*lines, process.stderr.read()]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"{out} holds what was learned in" in errors
    assert errors.strip().endswith("interrupted")
    assert training.load_network(out).classes == CLASSES


def test_predictions_as_json_with_an_unreadable_image_among_them(tuned, folder, capsys):
    _, out = tuned
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    images = [str(folder / name) for name in ("red/01.png", "broken.jpg", "blue/02.png")]
    assert cli.main(["predict", *images, "--weights", str(out), "--json"]) == 1
    answers = json.loads(capsys.readouterr().out)
    assert [answer["image"] for answer in answers] == images
    assert [answers[index]["predictions"][0]["label"] for index in (0, 2)] == ["red", "blue"]
    for index in (0, 2):
        probabilities = [found["probability"] for found in answers[index]["predictions"]]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert probabilities == sorted(probabilities, reverse=True)
        assert {found["class"] for found in answers[index]["predictions"]} == {0, 1, 2}
    assert "broken.jpg" in answers[1]["error"]
    assert cli.main(["predict", *images, "--weights", str(out)]) == 1
    output = capsys.readouterr()
    assert f"{images[1]}: not readable" in output.out.splitlines()
    assert "broken.jpg" in output.err


def test_names_of_classes_come_from_a_file_where_the_weights_have_none(known, folder, tmp_path, capsys):
    predict = ["predict", str(folder / "red/01.png"), "--weights", str(known), "--model", "cifar_small", "--top", "10"]
    assert cli.main(predict) == 0
    assert "class 7" in capsys.readouterr().out
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"kind {letter}" for letter in "abcdefghij") + "\n")
    assert cli.main([*predict, "--labels", str(labels)]) == 0
    assert "kind h" in capsys.readouterr().out
    labels.write_text(json.dumps(["\x1b[31mred"] * 10))
    assert cli.main([*predict, "--labels", str(labels)]) == 0
    assert "?[31mred" in capsys.readouterr().out
    for text, words in (("one\ntwo", "2 names for 10 classes"), ("[1, 2]", "names alone"), ("[1,", "Expecting")):
        labels.write_text(text)
        assert cli.main([*predict, "--labels", str(labels)]) == 1
        assert words in capsys.readouterr().err
    assert cli.main(predict[:4]) == 1
    assert "does not say which network" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names of files")
def test_file_names_of_any_bytes_are_printed_without_what_steers_the_terminal(tuned, folder, tmp_path):
    names = [os.fsencode(tmp_path) + name for name in (b"/\xff.png", b"/\x1b[31m.png", b"/\xfe\x1b.png")]
    for name in names[:2]:
        shutil.copy(folder / "red/01.png", name)
    with open(names[2], "wb") as file:
        file.write(b"no image")
    command = [sys.executable, "-m", "fastconv", "predict", *names, "--weights", str(tuned[1]), "--top", "1"]
    strict = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, capture_output=True, env=strict, check=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.decode().splitlines() if not line.startswith("  ")]
    assert [line.rpartition("/")[2] for line in lines] == ["?.png", "?[31m.png", "??.png: not readable"]
    assert b"\x1b" not in done.stdout + done.stderr


def test_network_files_say_what_they_hold(tmp_path):
    path = tmp_path / "net.npz"
    model = models.lenet5(4)
    training.save_network(path, model, "lenet5", list("abcd"))
    loaded = training.load_network(path)
    x = np.ones((1, 1, 28, 28), np.float32)
    np.testing.assert_array_equal(loaded.model.eval()(x).numpy(), model.eval()(x).numpy())
    assert nn.head_names(loaded.model) == ["fc3"]
    with pytest.raises(ShapeError, match="missing key"):
        training.load_network(path, "digits_net")
    for text in ("[", '"ab"', "[]", "[1]", '{"a": 1}', "[" * 10_000):
        weights.save(model.state_dict(), path, {"model": "lenet5", "classes": text})
        with pytest.raises(FormatError, match="the classes are no list of names"):
            training.load_network(path)
    weights.save(model.state_dict(), path, {"model": "lenet5"})
    assert training.load_network(path).model.fc3.out_features == 4
    weights.save(model.state_dict(), path, {"model": "../../etc"})
    with pytest.raises(ValueError, match="unknown network"):
        training.load_network(path)


def test_predicting_needs_no_optional_package_but_pillow(tuned, folder):
    code = "import sys; sys.modules['tqdm'] = sys.modules['sklearn'] = None; from fastconv.cli import main; main()"
    arguments = ["predict", str(folder / "red/01.png"), "--weights", str(tuned[1])]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert " red" in done.stdout
    without = code.replace("sys.modules['tqdm']", "sys.modules['PIL']")
    done = subprocess.run([sys.executable, "-c", without, *arguments], capture_output=True, text=True, check=False)
    assert "pip install 'fastconv[images]'" in done.stderr


def test_who_takes_weights_of_keras_hears_how_images_are_prepared(tmp_path, capsys):
    for suffix, is_told in ((".keras", True), (".weights.h5", True), (".npz", False)):
        path = str(tmp_path / f"absent{suffix}")
        assert cli.main(["predict", "a.png", "--model", "vgg16", "--weights", path]) == 1
        assert ("preprocess_input" in capsys.readouterr().err) == is_told
