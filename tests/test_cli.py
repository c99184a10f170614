"""The command line as a user types it: help, wrong arguments, training, the demo's table and picture."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from fastconv import cli, weights

DEMO_LAYERS = ("conv1", "conv2", "pool", "conv3")


def _start(*arguments, **options):
    command = [sys.executable, "-P", "-c", "import sys; from fastconv.cli import main; sys.exit(main())", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["train", "--help"], ["doctor", "--help"]])
def test_help_explains(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    assert "usage: fastconv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "invalid choice"),
        (["train", "letters"], "invalid choice"),
        (["train", "digits", "--epochs", "0"], "positive integer"),
        (["train", "digits", "--threads", "two"], "positive integer"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_no_command_prints_the_help(capsys):
    assert cli.main([]) == 2
    told = capsys.readouterr().out
    for word in ("convolution", "pooling", "normalisation", "linear"):
        assert word in told
    for command in cli.COMMANDS:
        (described,) = re.findall(rf"^    {command}\s+(\w.*)$", told, re.MULTILINE)
        assert len(described.split()) > 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo", "--backend", "cuda9"], "no backend 'cuda9'"),
        (["demo", "--out", "{folder}/absent/x.png"], "does not exist"),
        (["train", "digits", "--checkpoint", "{folder}/absent/x.npz"], "does not exist"),
        (["train", "digits", "--resume"], "--resume needs --checkpoint"),
        (["train", "digits", "--save", "{folder}/x.foo"], "must end in .npz or .safetensors"),
        (["demo", "--out", "{folder}/x.txt"], "must end in .png"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(arguments, words, capsys, tmp_path):
    assert cli.main([argument.format(folder=tmp_path) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv: ")
    assert words in error
    assert "Traceback" not in error


def test_train_saves_weights(tmp_path, capsys):
    target = tmp_path / "digits.npz"
    assert cli.main(["train", "digits", "--epochs", "1", "--save", str(target)]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert weights.load(target)["conv1.weight"].shape[1:] == (1, 3, 3)


def test_train_says_when_a_checkpoint_leaves_nothing_to_train(tmp_path, capsys):
    target = tmp_path / "run.npz"
    train = ["train", "digits", "--checkpoint", str(target), "--epochs"]
    assert cli.main([*train, "2"]) == 0
    assert "nothing was left" not in capsys.readouterr().out
    for epochs in ("1", "2"):
        assert cli.main([*train, epochs, "--resume"]) == 0
        out = capsys.readouterr().out
        assert f"nothing was left to train: {target} holds 2 epochs, {epochs} were asked for in all" in out
        assert "after 2 epochs" in out


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_leaves_a_checkpoint_that_resumes(tmp_path):
    target = tmp_path / "run.npz"
    process = _start("train", "digits", "--epochs", "500", "--checkpoint", str(target))
    first = process.stdout.readline()
    assert first.startswith("epoch   1"), first + process.stderr.read()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume continues" in errors
    assert errors.strip().endswith("interrupted")
    again = _start("train", "digits", "--checkpoint", str(target))
    assert "exists already" in again.communicate(timeout=120)[1]
    resumed = _start("train", "digits", "--epochs", "500", "--checkpoint", str(target), "--resume")
    assert not resumed.stdout.readline().startswith("epoch   1 ")
    resumed.send_signal(signal.SIGINT)
    resumed.communicate(timeout=120)
    assert resumed.returncode == 130


def test_demo_prints_the_table_and_draws_the_picture(tmp_path, capsys):
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--epochs", "2", "--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    for layer in DEMO_LAYERS:
        for direction in ("forward", "backward"):
            row = next(line.split() for line in printed.splitlines() if line.split()[:2] == [layer, direction])
            assert all(float(cell.rstrip("x")) > 0 for cell in row[2:])
    pixels = image.imread(picture)
    assert pixels.shape[0] > 300
    assert pixels[..., :3].std() > 0.05


def test_doctor_reports_every_backend(capsys):
    status = cli.main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["healthy"] else 1)
    assert set(report["backends"]) == {"reference", "numba", "cython", "cuda"}
    assert report["backends"]["reference"]["works"]
    if report["backends"]["cython"]["usable"]:
        assert report["machine"]["FMA peak (GFLOP/s, float32, all threads)"] > 1
