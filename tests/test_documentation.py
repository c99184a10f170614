"""The examples in docstrings and in the README run."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from support.pictures import write_folder

import fastconv

README = Path(__file__).parents[1] / "README.md"
DOCS = README.parent / "docs"


def _modules():
    names = [info.name for info in pkgutil.walk_packages(fastconv.__path__, "fastconv.")]
    return [name for name in names if "._kernels." not in name and not name.endswith("__main__")]


@pytest.mark.parametrize("name", _modules())
def test_docstring_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_most_public_functions_have_an_example():
    finder = doctest.DocTestFinder()
    with_example = [
        name
        for name in ("conv2d", "max_pool2d", "avg_pool2d", "relu", "linear", "log_softmax", "cross_entropy", "flatten")
        if any(test.examples for test in finder.find(getattr(fastconv.functional, name)))
    ]
    assert len(with_example) == 8


def test_examples_stand_at_the_margin_of_their_docstrings():
    for path in Path(fastconv.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                indented = re.search(r"^ +>>> .*", ast.get_docstring(node) or "", re.MULTILINE)
                assert not indented, f"{path}: {indented[0]}"


def test_readme_example(capsys):
    example = re.search(r"```python\n(import numpy.*?)```", README.read_text(), re.DOTALL).group(1)
    exec(compile(example, "README.md", "exec"), {})
    assert "conv2d_forward" in capsys.readouterr().out


def test_examples_of_transfer_learning(tmp_path, monkeypatch, rng, capsys):
    pytest.importorskip("PIL")
    pytest.importorskip("sklearn")
    write_folder(tmp_path / "pictures", rng, 10)
    fastconv.weights.save(fastconv.models.cifar_small().state_dict(), tmp_path / "known.npz")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", (DOCS / "transfer-learning.md").read_text(), re.DOTALL):
        exec(compile(example, "transfer-learning.md", "exec"), names)
    seen, score = capsys.readouterr().out.splitlines()
    assert set(re.findall(r"'(\w+)'", seen)) == {"blue", "green", "red"}
    assert float(score) > 0.85
    assert fastconv.training.load_network("pictures.npz").classes == ["blue", "green", "red"]


def test_examples_of_pictures(tmp_path, monkeypatch, capsys):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "pictures.md").read_text()
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, "pictures.md", "exec"), names)
    pyplot.close("all")
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r'savefig\("([a-z-]+\.png)"\)', text)) - {
        "picture.png"
    }
    explained = " ".join(re.search(r"(?:    conv:96.*\n)(?:    .*\n)+", text)[0].split())
    assert explained in " ".join(capsys.readouterr().out.split())


def test_examples_of_localisation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path))
    names: dict = {}
    for example in re.findall(r"```python\n(.*?)```", (DOCS / "localisation.md").read_text(), re.DOTALL):
        exec(compile(example, "localisation.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "response map of 113x153 positions, 2 peaks"
    assert lines[1].split() == ["row", "57", "column", "56", "score", "1"]
    assert lines[-2] == "(10, 113, 153) True"
    assert names["score"].precision >= 0.9
    assert names["score"].recall >= 0.9
