"""The machine code of the microkernels: every sum in a register, one multiply-add for each in the innermost loop."""

import platform
import re
import shutil
import subprocess

import pytest
from support.disassembly import compiled_functions, innermost_loops, listed_functions

from fastconv._kernels import load

REGISTERS = {64: "z", 32: "y"}
# What the C kernels are compiled for, by the level in their names: registers; tiles of each kind.
_WIDE, _NARROW = {1: 12, 2: 10, 3: 8, 4: 6}, {1: 12, 2: 6}
LEVELS = {
    4: ("z", {"panel": _WIDE, "dots": _WIDE, "groups": {1: 12}, "group_weights": {1: 8}}),
    3: ("y", {"panel": _NARROW, "dots": _NARROW, "groups": {1: 6}, "group_weights": {1: 4}}),
}
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
@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["panel", "dots", "groups", "group_weights"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_keeps_sums_in_registers(kind, level, dtype):
    backend = load("cython")
    if backend is None:
        pytest.skip("the extensions are not built")
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", backend.conv2d.__file__],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = tiles(listed_functions(listing), rf"{kind}_(\d+)x(\d+)_{dtype}_{level}")
    if not found:
        pytest.skip("the extension has no symbols")
    register, widest = LEVELS[level]
    assert set(found) == expected_tiles(widest[kind])
    for (vectors, columns), instructions in found.items():
        assert_tile(instructions, vectors, columns, register)
