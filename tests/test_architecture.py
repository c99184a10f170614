"""The house rules that a machine can check: who imports whom, sizes, and what may not be written where."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastconv._kernels import BACKENDS
from fastconv.dtypes import FLOAT_TYPES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fastconv"
KERNELS = PACKAGE / "_kernels"
SOURCES = sorted(PACKAGE.rglob("*.py"))
GENERATED = {path.with_suffix(".c") for path in KERNELS.rglob("*.pyx")}
NATIVE = [path for path in sorted(KERNELS.rglob("*.*")) if path.suffix in (".pyx", ".pxd", ".c", ".h")]
NATIVE = [path for path in NATIVE if path not in GENERATED]
BACKEND_FOLDERS = ("reference", "numba_cpu", "cython_cpu", "numba_cuda")
KERNEL_SOURCES = [path for path in (*SOURCES, *NATIVE) if path.parent.name in BACKEND_FOLDERS]

LEAVES = {
    f"fastconv.{name}"
    for name in (
        "errors",
        "dtypes",
        "geometry",
        "parameters",
        "arrays",
        "memory",
        "rng",
        "scopes",
        "precision",
        "device_arrays",
    )
} | {"fastconv._kernels.buffers"}
CONTRACT = {f"fastconv._kernels.{name}" for name in ("contract", "plan", "pool")}
FUNCTIONAL = {"fastconv.functional", "fastconv.autograd", *LEAVES}
# Module or package -> what of fastconv it may import, itself apart; the longest prefix decides.
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    # What is missing for a GPU, the backends know.
    "fastconv.device_arrays": {"fastconv._kernels", *LEAVES},
    "fastconv.autograd": LEAVES,
    "fastconv.backends": {"fastconv._kernels", "fastconv.packed_weights", *LEAVES},
    "fastconv.packed_weights": LEAVES,
    "fastconv.functional": {"fastconv.autograd", "fastconv.backends", "fastconv._kernels.contract", *LEAVES},
    "fastconv.replay": {"fastconv.backends", "fastconv._kernels.contract", *LEAVES},
    "fastconv.nn": FUNCTIONAL | {"fastconv.backends", "fastconv.replay"},
    "fastconv.optim": FUNCTIONAL | {"fastconv.nn"},
    "fastconv.models": FUNCTIONAL | {"fastconv.nn", "fastconv.weights", "fastconv.files"},
    "fastconv.files": {"fastconv.errors"},
    "fastconv.datasets": {"fastconv.arrays", "fastconv.errors", "fastconv.files", "fastconv.nn", "fastconv.parameters"},
    "fastconv.weights": {"fastconv.arrays", "fastconv.errors", "fastconv.files", "fastconv.nn"},
    "fastconv.scanning": FUNCTIONAL
    | {f"fastconv.{room}" for room in ("nn", "optim", "models", "datasets", "training", "files")},
    "fastconv._kernels": set(),
    "fastconv._kernels.contract": LEAVES,
    "fastconv._kernels.plan": LEAVES,
    "fastconv._kernels.pool": set(),
    **{f"fastconv._kernels.{name}": CONTRACT | LEAVES for name in BACKEND_FOLDERS},
    "fastconv.bench.cases": set(),
}
WRAPPED = {"numba", "torch", "cuda", "cython", "numpy", "onnx", "keras", "h5py", "safetensors", "matplotlib", "sklearn"}
COMPILERS = {"njit", "jit", "cfunc", "vectorize", "guvectorize", "stencil"}
NAME_TABLES = {PACKAGE / "backends.py", PACKAGE / "dtypes.py", KERNELS / "__init__.py"}

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def imported(path):
    """The names of all modules that a Python or Cython file imports, also those of fastconv's submodules."""
    if path.suffix != ".py":
        lines = re.findall(r"^\s*from ([\w.]+) c?import ([^\n]+)", path.read_text(), re.MULTILINE)
        return {f"{module}.{name.split()[0]}" for module, names in lines for name in names.split(",")}
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [*SOURCES, *NATIVE], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_house(path):
    if path.suffix in (".c", ".h"):
        return
    name = module_name(path)
    rules = [package for package in MAY_IMPORT if within(name, package)]
    if not rules:  # the rooms above nn; benchmarks and commands may look inside a backend
        assert name.startswith(("fastconv.bench", "fastconv.cli")) or not [
            target for target in imported(path) if target.split(".")[2:3] in ([f] for f in BACKEND_FOLDERS)
        ]
        return
    owner = max(rules, key=len)
    allowed = {*MAY_IMPORT[owner], owner if owner != "fastconv._kernels" else name}
    for target in imported(path):
        if within(target, "fastconv"):
            assert any(within(target, package) for package in allowed), f"{name} may not import {target}"


def test_benchmarks_stand_beside_commands_and_training():
    above = ("fastconv.cli", "fastconv.training", "fastconv.datasets", "fastconv.plots")
    for path in (PACKAGE / "bench").rglob("*.py"):
        assert not [target for target in imported(path) if any(within(target, room) for room in above)], path


def test_the_listed_cases_need_the_standard_library_alone():
    for path in (PACKAGE / "bench" / "cases").glob("*.py"):
        outside = {name for name in imported(path) if not within(name, "fastconv.bench.cases")}
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in outside), path


@every_source
def test_nothing_forbidden_is_written(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), "wildcard import"
        if isinstance(node, ast.Compare) and path not in NAME_TABLES:
            constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            assert not constants & {*BACKENDS, *FLOAT_TYPES, "cuda"}, f"line {node.lineno} compares a name"


@every_source
def test_kernels_are_compiled_in_the_settings_alone(path):
    if path.name == "settings.py" and path.parent.name in BACKEND_FOLDERS:
        return
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and within(node.module, "numba"):
            assert not {alias.name for alias in node.names} & COMPILERS, f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id in ("numba", "nb", "cuda") and node.attr in COMPILERS), f"line {node.lineno}"


def test_one_file_imports_numba_cuda():
    found = {path for path in SOURCES if any(within(name, "numba.cuda") for name in imported(path))}
    assert found == {KERNELS / "numba_cuda" / "settings.py"}


@pytest.mark.parametrize("path", KERNEL_SOURCES, ids=lambda path: str(path.relative_to(KERNELS)))
def test_kernel_files_neither_raise_nor_assert(path):
    if path.suffix == ".py":
        assert not [node.lineno for node in ast.walk(tree(path)) if isinstance(node, (ast.Raise, ast.Assert))]
    else:
        assert not re.findall(r"^\s*(?:raise|assert)\b.*", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [path for path in (*SOURCES, *NATIVE) if KERNELS in path.parents],
    ids=lambda path: str(path.relative_to(KERNELS)),
)
def test_kernel_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= 300
    if path.suffix == ".py":
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno + 1 <= 60, node.name


def test_no_module_is_named_after_the_package_that_it_wraps():
    assert not [path for path in SOURCES if path.stem in WRAPPED]
    assert not [path for path in PACKAGE.rglob("*") if path.is_dir() and path.name in WRAPPED]


def test_functional_names_no_backend():
    for path in (PACKAGE / "functional").glob("*.py"):
        constants = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
        assert not [node.lineno for node in constants if node.value in {*BACKENDS, "cuda"}], path


def test_nothing_is_left_to_do():
    unfinished = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")))
    files = itertools.chain(SOURCES, NATIVE, (ROOT / "benchmarks").rglob("*.py"))
    assert not [path for path in files if unfinished.search(path.read_text(encoding="utf-8"))]


def test_the_top_level_is_fixed():
    folders = {"fastconv", "benchmarks", "tests", "docs", ".ci"}
    files = {"setup.py", "pyproject.toml", "README.md", "LICENSE", ".gitignore"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no checkout")
    assert {path.split("/")[0] for path in listed.stdout.splitlines()} <= folders | files
