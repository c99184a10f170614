"""Every compiler and thread setting of the Numba kernels: nothing else calls ``njit``.

Numba is imported when something is compiled, never for code that comes from the disk.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cache

from llvmlite import binding

# Multiply-add contraction only: no reordering, NaN, infinities and signed zeros as IEEE 754 has them.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
# Kernels are called by their address alone.
_BARE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Variables of the environment that change the code which Numba makes.
COMPILER_VARIABLES = tuple(
    f"NUMBA_{name}"
    for name in (
        *("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "CPU_NAME", "CPU_FEATURES"),
        *("BOUNDSCHECK", "DEBUGINFO", "DISABLE_INTEL_SVML", "LLVM_REFPRUNE_PASS"),
    )
)
# Numba's own threads must be entered by one Python thread at a time: one of its layers aborts the process otherwise.
_numba_threads = threading.Lock()


def _features() -> dict[str, bool]:
    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:
        return {}


_FEATURES = _features()
HAS_FMA = bool(_FEATURES.get("fma") or _FEATURES.get("neon"))
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
# Whether a store can go past the caches; other threads see such stores in order behind a fence.
HAS_STREAMING = bool(_FEATURES.get("sse2"))
# AVX-512 and NEON have 32 vector registers, the others 16.
MAX_VECTORS = 4 if _FEATURES.get("avx512f") or _FEATURES.get("neon") else 2
# Columns of the widest tile of 1, 2, .. vectors: sums, weights and one more fit in the registers.
COLUMNS = {2: (12, 6), 4: (12, 10, 8, 6)}[MAX_VECTORS]
# The same of groups that share a vector: a column's pixel, or its order of lanes, stays in a register, too.
GROUP_COLUMNS = {2: (6,), 4: (12,)}[MAX_VECTORS]
GROUP_WEIGHT_COLUMNS = {2: (4,), 4: (8,)}[MAX_VECTORS]
# The same of weights that are read where they are: a square of them is in registers, too.
ROW_COLUMNS = {2: (6,), 4: (12,)}[MAX_VECTORS]
# Pixels of a tile that sweeps over rows of weights.
SWEEP_PIXELS = 6
# What permutes the 4-byte pieces of a vector as a vector says; None: nothing does, and they are moved one by one.
PERMUTE = {64: "llvm.x86.avx512.permvar.sf.512", 32: "llvm.x86.avx2.permps"}.get(VECTOR_BYTES)


def processor() -> str:
    """What the machine code depends on: platform, processor, instruction-set extensions."""
    features = ",".join(f"{'+' if has else '-'}{name}" for name, has in sorted(_FEATURES.items()))
    return f"{binding.get_process_triple()} {binding.get_host_cpu_name()} {features}"


def serial(function):
    """Let Numba compile a function that kernels call."""
    import numba

    return numba.njit(**_OPTIONS, **_BARE)(function)


def kernel_flags():
    """Numba's flags for a kernel: no Python objects, machine code made elsewhere."""
    from numba.core import compiler
    from numba.core.registry import cpu_target

    flags = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, {"nopython": True, **_OPTIONS, **_BARE})
    flags.enable_pyobject = flags.enable_looplift = False
    flags.no_compile = True
    return flags


@contextmanager
def unoptimised():
    """Numba leaves LLVM's code as it is, for ``optimise``: it would optimise a function anew in every caller of it.

    Enter this under Numba's compiler lock alone.
    """
    from numba import config

    kept = config.OPT
    config.OPT = 0
    try:
        yield
    finally:
        config.OPT = kept


def optimise(module, machine) -> None:
    """LLVM's passes over a whole kernel."""
    from numba import config

    options = binding.create_pipeline_tuning_options(speed_level=config.OPT)
    options.loop_vectorization, options.slp_vectorization = bool(config.LOOP_VECTORIZE), bool(config.SLP_VECTORIZE)
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)


def target_machine(triple: str, cpu: str, features: str):
    """What turns LLVM's code into machine code that may lie anywhere in memory."""
    target = binding.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small")


def run_threaded(address: int, context: int, items: int, grain: int, threads: int) -> None:
    """Drive a kernel over items 0 .. items - 1 from Numba's own threads; the slots are 0 .. threads - 1."""
    import numba

    with _numba_threads:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        _drive()(address, context, items, grain, threads)


@cache
def _drive():
    import numba

    from fastconv._kernels.numba_cpu.addresses import call

    @numba.njit(parallel=True, **_OPTIONS)
    def drive(address, context, items, grain, threads):
        chunks = (items + grain - 1) // grain
        for slot in numba.prange(threads):
            lo, hi = chunks * slot // threads * grain, min(items, chunks * (slot + 1) // threads * grain)
            if lo < hi:
                call(address, context, lo, hi, slot)

    return drive
