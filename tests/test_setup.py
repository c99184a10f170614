"""An extension is compiled again where what it is made of changed, in whichever folder it was built last."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import script

SETUP = Path(__file__).parents[1] / "setup.py"
FOLDER = Path("fastconv", "_kernels", "tiny")
SOURCE = 'cdef extern from "number.h":\n    int NUMBER\n\nvalue = NUMBER\n'


@pytest.fixture
def tree(tmp_path):
    """A package of one extension, whose ``value`` is a number in a header."""
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    if not SETUP.exists() or shutil.which("cc") is None:
        pytest.skip("needs a checkout and a C compiler")
    (tmp_path / FOLDER / "c").mkdir(parents=True)
    (tmp_path / FOLDER / "number.pyx").write_text(SOURCE)
    shutil.copy2(SETUP, tmp_path)
    return tmp_path


def built_value(tree, target, option):
    """What the extension below ``target`` says after it was built there."""
    command = [sys.executable, "setup.py", "--quiet", "build_ext", option]
    environment = os.environ | {"CFLAGS": "-O0", "FASTCONV_REQUIRE_EXT": "1"}
    built = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    folder = str(tree / target / FOLDER)
    return int(script(f"import sys; sys.path.insert(0, {folder!r}); import number; print(number.value)"))


def test_a_build_into_another_folder_leaves_no_old_extension_behind(tree):
    header = tree / FOLDER / "c" / "number.h"
    targets = {".": "--inplace", "elsewhere": "--build-lib=elsewhere"}
    for number in (1, 2):
        header.write_text(f"#define NUMBER {number}\n")
        assert [built_value(tree, *target) for target in targets.items()] == [number, number]
