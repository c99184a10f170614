"""The machine code of the microkernels: every sum in a register, one multiply-add for each in the innermost loop."""

import itertools
import platform
import re
import shutil
import subprocess

import pytest
from support.disassembly import compiled_functions, innermost_loops, listed_functions
from support.process import TESTS

from fastconv._kernels import load

SOURCES = TESTS.parent / "fastconv" / "_kernels" / "cython_cpu" / "c"

REGISTERS = {64: "%zmm", 32: "%ymm"}
# What the C kernels are compiled for, by the level in their names: registers; tiles of each kind.
WIDE, NARROW = {1: 12, 2: 10, 3: 8, 4: 6}, {1: 12, 2: 6}
LEVELS = {
    4: ("%zmm", {"panel": WIDE, "dots": WIDE, "groups": {1: 12}, "group_weights": {1: 8}}),
    3: ("%ymm", {"panel": NARROW, "dots": NARROW, "groups": {1: 6}, "group_weights": {1: 4}}),
}
NEON = {"float32": ".4s", "float64": ".2d"}
CROSS = "aarch64-linux-gnu-"
x86_alone = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")


def assert_tile(instructions, vectors, columns, register):
    """A tile's innermost loops have its multiply-adds and nothing of it on the stack."""
    loops = [(loop, sum(line.multiplies(register) for line in loop)) for loop in innermost_loops(instructions)]
    hot = [loop for loop, count in loops if count]
    assert hot
    assert {count for _, count in loops if count} == {vectors * columns}
    assert not [line for loop in hot for line in loop if line.spills()]


def tiles(functions, pattern):
    """(vectors, columns) -> instructions."""
    found = ((re.fullmatch(pattern, name), lines) for name, lines in functions.items())
    return {(int(match[1]), int(match[2])): lines for match, lines in found if match}


def expected_tiles(widest):
    return {(vectors, columns) for vectors, most in widest.items() for columns in range(1, most + 1)}


def assert_tiles(functions, name, register, widest):
    """All tiles are there and keep their sums in registers; ``*`` stands for vectors x columns."""
    found = tiles(functions, name.replace("*", r"(\d+)x(\d+)"))
    assert set(found) == expected_tiles(widest)
    for (vectors, columns), instructions in found.items():
        assert_tile(instructions, vectors, columns, register)


@x86_alone
@pytest.mark.parametrize("kind", ["panel", "dots", "groups", "group_weights"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numba_keeps_sums_in_registers(kind, dtype):
    pytest.importorskip("numba")
    from fastconv._kernels.numba_cpu import microkernels
    from fastconv._kernels.numba_cpu.settings import (
        COLUMNS,
        GROUP_COLUMNS,
        GROUP_WEIGHT_COLUMNS,
        HAS_FMA,
        VECTOR_BYTES,
    )

    if not HAS_FMA or VECTOR_BYTES not in REGISTERS:
        pytest.skip("this machine has no multiply-add of vectors of 32 bytes")
    widest, found = {"groups": GROUP_COLUMNS, "group_weights": GROUP_WEIGHT_COLUMNS}.get(kind, COLUMNS), {}
    for vectors in range(1, len(widest) + 1):
        assembly = getattr(microkernels, kind)(dtype, vectors).assembly()
        found |= tiles(compiled_functions(assembly), rf"{kind}_(\d+)x(\d+)")
    assert set(found) == expected_tiles(dict(enumerate(widest, 1)))
    for (vectors, columns), instructions in found.items():
        assert_tile(instructions, vectors, columns, REGISTERS[VECTOR_BYTES])
        # LLVM has registers to spare outside of the loop, too.
        assert not [line for line in instructions if line.spills()]


@x86_alone
@pytest.mark.parametrize("kind", ["panel", "groups"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numba_stores_every_sum_past_the_caches_where_asked(kind, dtype):
    pytest.importorskip("numba")
    from fastconv._kernels.numba_cpu import microkernels

    found = tiles(compiled_functions(getattr(microkernels, kind)(dtype, 1).assembly()), rf"{kind}_(\d+)x(\d+)")
    assert found
    for (vectors, columns), instructions in found.items():
        assert sum(line.streams() for line in instructions) == vectors * columns


@x86_alone
@pytest.mark.parametrize("kind", ["pixel_sum", "plane_sum", "grad"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_depthwise_tiles_of_numba_keep_sums_in_registers(dtype, kind):
    pytest.importorskip("numba")
    from fastconv._kernels.numba_cpu import conv2d_depthwise
    from fastconv._kernels.numba_cpu.depthwise_arguments import FORM_HALF, FORMS, PIXELS
    from fastconv._kernels.numba_cpu.settings import HAS_FMA, VECTOR_BYTES

    if not HAS_FMA or VECTOR_BYTES not in REGISTERS:
        pytest.skip("this machine has no multiply-add of vectors of 32 bytes")
    functions = compiled_functions(conv2d_depthwise.tile(dtype, kind, VECTOR_BYTES).assembly())
    forms = FORMS if kind == "pixel_sum" else FORMS[:FORM_HALF]
    for (taps, step), pixels in itertools.product(forms, range(1, PIXELS + 1)):
        instructions = functions[f"{kind}_{taps}_{step}_{pixels}"]
        # Loops over entries have branches where a source may be padding, and with them code for several cases.
        multiplies = taps * pixels if step else taps * pixels // 2
        assert sum(line.multiplies(REGISTERS[VECTOR_BYTES]) for line in instructions) >= multiplies
        # Of 16 registers, LLVM gives some to sources that are loaded long before they are used.
        assert not any(line.spills() for line in instructions) or (VECTOR_BYTES < 64 and pixels == PIXELS)


@x86_alone
@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["panel", "dots", "groups", "group_weights"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_keeps_sums_in_registers(kind, level, dtype):
    functions = functions_of("conv2d")
    register, widest = LEVELS[level]
    assert_tiles(functions, f"{kind}_*_{dtype}_{level}", register, widest[kind])
    if kind in ("panel", "groups"):
        for (vectors, columns), instructions in tiles(functions, rf"{kind}_(\d+)x(\d+)_{dtype}_{level}").items():
            assert sum(line.streams() for line in instructions) == vectors * columns


@x86_alone
@pytest.mark.oracle
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("elementwise", ("accumulate", "add_relu_forward", "relu_forward", "relu_grad_input", "sgd_step", "adam_step")),
        ("batch_norm", ("forward_planes", "forward_rows", "grad_planes", "grad_rows", "moments_rows", "sums_rows")),
        ("softmax", ("log_probabilities", "log_softmax_grad", "cross_entropy_grad")),
    ],
)
def test_passes_of_c_go_by_whole_vectors(module, names, dtype, level):
    functions, (register, _) = functions_of(module), LEVELS[level]
    for name in names:
        loops = innermost_loops(functions[f"{name}_{dtype}_{level}"])
        counts = [sum(register in line.operands for line in loop) for loop in loops]
        assert max(counts) >= 2, name  # at least one is read and one is written


def functions_of(module):
    """Name -> instructions of every function of one of the Cython backend's modules."""
    backend = load("cython")
    if backend is None:
        pytest.skip("the extensions are not built")
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    functions = listed_functions(getattr(backend, module).__file__)
    if not functions:
        pytest.skip("the extension has no symbols")
    return functions


@pytest.fixture(scope="module")
def functions_of_aarch64(tmp_path_factory):
    """The convolution's kernels, compiled as ``setup.py`` does, for a processor that need not be here."""
    if not all(shutil.which(CROSS + tool) for tool in ("gcc", "objdump")):
        pytest.skip(f"{CROSS}gcc and {CROSS}objdump are not installed")
    source = SOURCES / "isa_plain.c"
    if not source.exists():
        pytest.skip("the sources of the kernels are not here")
    target = tmp_path_factory.mktemp("aarch64") / "isa_plain.o"
    flags = ["-O3", "-fPIC", "-Wall", "-Werror", '-DFC_KERNELS="conv2d.h"']
    subprocess.run([f"{CROSS}gcc", *flags, "-c", source, "-o", target], check=True)
    return listed_functions(target, f"{CROSS}objdump")


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["panel", "dots"])
@pytest.mark.parametrize("dtype", NEON)
def test_c_keeps_sums_in_registers_of_aarch64(kind, dtype, functions_of_aarch64):
    assert_tiles(functions_of_aarch64, f"{kind}_*_{dtype}_0", NEON[dtype], WIDE)
