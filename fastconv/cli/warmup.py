"""``fastconv warmup``: compile ahead what a backend would compile when it is first called."""

from __future__ import annotations

import time

from fastconv._kernels import BACKENDS
from fastconv.cli.lists import names
from fastconv.dtypes import FLOAT_TYPES


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "warmup",
        help="compile all Numba kernels ahead, once per machine",
        description="Compile every kernel that a backend would compile when it is first called, and keep the code on "
        "the disk (in FASTCONV_CACHE_DIR, else in the user's folder for caches), where later processes find it. "
        "Exit code 0: all of it is there.",
    )
    parser.add_argument("--backends", type=names(BACKENDS), help="as numba,cython (default: all that compile and work)")
    parser.add_argument("--dtype", type=names(FLOAT_TYPES), help="as float32,float64 (default: all)")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Compile and store; 1 where something cannot be kept."""
    from fastconv import backends

    status = 0
    for name in options.backends or _compiling():
        module = backends.select(name).module
        if hasattr(module, "native_functions"):
            status |= _warm_up(name, module, options.dtype or list(FLOAT_TYPES))
        else:
            print(f"{name}: nothing to compile, its kernels came with the package")
    return status


def _compiling() -> list[str]:
    """The usable backends that compile; the one that would where none can be used, for the error to say why."""
    from fastconv import available_backends

    able = [name for name, entry in BACKENDS.items() if entry.package is not None]
    return [name for name in able if available_backends()[name]] or able[:1]


def _warm_up(name: str, module, dtypes: list[str]) -> int:
    functions = [function for dtype in dtypes for function in module.native_functions(dtype)]
    if problem := module.cache_status().problem:
        print(f"{name}: nothing can be kept in {module.cache_status().folder}: {problem}")
        return 1
    begin, kept = time.perf_counter(), 0
    for number, function in enumerate(functions, 1):
        start, was_there = time.perf_counter(), function.is_cached()
        kept += function.keep()
        said = "is there" if was_there else f"{time.perf_counter() - start:.1f} s"
        print(f"{name} [{number}/{len(functions)}] {function}: {said}", flush=True)
    cache = module.cache_status()
    print(f"{name}: {kept} of {len(functions)} kernels kept after {time.perf_counter() - begin:.1f} s")
    print(f"{cache.folder} holds {cache.entries} files, {cache.size:,} bytes")
    return 0 if kept == len(functions) else 1
