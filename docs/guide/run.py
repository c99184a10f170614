"""Runs what the pages of this guide show, and compares what it prints with what they say.

    python docs/guide/run.py [--pictures] [PAGE.md ...]

All blocks of a page run in their order, in one folder and, those in Python, in one namespace. ``python`` blocks with
``>>>`` are checked as doctests are; in ``console`` blocks the lines after a ``$ fastconv ...`` are what the command
prints. ``...`` stands for anything. With ``--pictures`` the pictures that the pages show are drawn anew.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path

import matplotlib
from PIL import Image

from fastconv.cli import main as fastconv

GUIDE = Path(__file__).resolve().parent
PICTURES = GUIDE / "pictures"
# The commands that read a file of this repository name it from its root.
ROOT = GUIDE.parents[1]
# A repository keeps every version of a picture.
BYTES = 60_000


def pages() -> list[Path]:
    """In the order of the lecture."""
    return sorted(GUIDE.glob("[0-9]*.md"))


def shown(page: Path) -> list[str]:
    """The names of the pictures on a page."""
    return re.findall(r"!\[[^]]*\]\(pictures/([^)]+)\)", page.read_text(encoding="utf-8"))


def run(page: Path, folder: Path) -> None:
    """Everything on a page, in a folder that its pictures are then in; raises AssertionError where it differs."""
    matplotlib.use("agg")
    text = page.read_text(encoding="utf-8")
    names: dict = {"__name__": page.stem}
    if not (folder / "benchmarks").exists():
        (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    with contextlib.chdir(folder):
        for block in re.finditer(r"^```(python|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: block.start(2)].count("\n")
            (_run_python if block[1] == "python" else _run_commands)(block[2], names, page, line)


def _run_python(block: str, names: dict, page: Path, line: int) -> None:
    if not block.startswith(">>>"):
        exec(compile("\n" * line + block, page, "exec"), names)
        return
    example = doctest.DocTestParser().get_doctest(block, names, page.stem, str(page), line)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(example, out=report.write, clear_globs=False)
    assert not runner.failures, report.getvalue()
    names.update(example.globs)


def _run_commands(block: str, names: dict, page: Path, line: int) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
        program, *arguments = shlex.split(command)
        assert program == "fastconv", f"{page}: {command}"
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = fastconv(arguments)
        got = printed.getvalue()
        assert code == 0, f"{page}, below line {line}: {command} ended with {code}\n{got}"
        same = not expected or doctest.OutputChecker().check_output(expected, got, doctest.ELLIPSIS)
        assert same, f"{page}, below line {line}: {command}\nexpected:\n{expected}\ngot:\n{got}"


def fewer_colours(drawn: Path, kept: Path) -> None:
    """A picture as one of the guide's: with as many colours as fit into its bytes."""
    with Image.open(drawn) as image:
        full = image.convert("RGB")
    for colours in (256, 128, 64, 48, 32):
        reduced = full.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        reduced.save(kept, optimize=True)
        if kept.stat().st_size < BYTES:
            break


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", metavar="PAGE.md", nargs="*", type=Path, help="(default: all)")
    parser.add_argument("--pictures", action="store_true", help="keep what they draw as the pictures of the guide")
    options = parser.parse_args()
    for page in options.pages or pages():
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(page, Path(folder))
            except AssertionError as error:
                sys.exit(str(error))
            for name in shown(page) if options.pictures else ():
                if os.path.exists(os.path.join(folder, name)):
                    fewer_colours(Path(folder, name), PICTURES / name)
        print(f"{page.name}: all as it says")


if __name__ == "__main__":
    main()
