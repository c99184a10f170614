"""Cython extensions found by glob, each with one C object per instruction set; metadata is in pyproject.toml.

``FASTCONV_REQUIRE_EXT=1`` makes a failed extension an error. Otherwise the package installs without
it and the reason is recorded for ``fastconv.available_backends()``.
"""

import copy
import hashlib
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from textwrap import shorten

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("fastconv/_kernels")
REQUIRED = os.environ.get("FASTCONV_REQUIRE_EXT") == "1"
IS_X86_64 = platform.machine().lower() in ("x86_64", "amd64")
# The user's own come last, so that they win.
# errno would keep square roots out of vectors.
COMPILE_FLAGS = ["-O3", "-fno-math-errno", "-g0", "-pthread", *shlex.split(os.environ.get("CFLAGS", ""))]
ISA_FLAGS = {
    "isa_v2": ["-march=x86-64-v2"],
    "isa_v3": ["-march=x86-64-v3"],
    "isa_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}


def extension(pyx: Path) -> Extension:
    """One extension: the .pyx and every C source of the folder ``c`` beside it.

    Where those compile a header of the .pyx's name for one instruction set each and there is none, it has no C source
    of its own: it uses the kernels of another extension.
    """
    folder = pyx.parent / "c"
    own = (folder / f"{pyx.stem}.h").exists() or not (folder / "instantiate.h").exists()
    return Extension(
        ".".join(pyx.with_suffix("").parts),
        [str(source) for source in (pyx, *(sorted(folder.glob("*.c")) if own else ()))],
        depends=[str(header) for header in sorted(folder.glob("*.h"))],
        include_dirs=[str(folder)],
        define_macros=[("FC_KERNELS", f'"{pyx.stem}.h"')],
        extra_compile_args=[] if sys.platform == "win32" else COMPILE_FLAGS,
        extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
    )


class BuildExtensions(build_ext):
    """Adds each C file's instruction-set flags and records the reason when an extension fails."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        compile_one = getattr(self.compiler, "_compile", None)
        if IS_X86_64 and compile_one is not None:

            def compile_with_isa(obj, src, ext, cc_args, extra_postargs, pp_opts):
                flags = [*extra_postargs, *ISA_FLAGS.get(Path(src).stem, [])]
                return compile_one(obj, src, ext, cc_args, flags, pp_opts)

            self.compiler._compile = compile_with_isa
        self.failures = {}
        super().build_extensions()
        if self.failures:
            self._record()

    def build_extension(self, ext):
        # Extensions are built in parallel and share their C files: each has a folder of its own.
        builder = copy.copy(self)
        builder.build_temp = str(Path(self.build_temp) / ext.name)
        # pip fetches Cython anew for every build, which writes all C files again: their contents tell, not their times.
        built_of, target = Path(builder.build_temp) / "built_of.txt", Path(self.get_ext_fullpath(ext.name))
        if target.exists() and built_of.exists() and built_of.read_text() == self._digest(ext, target):
            return
        builder.force = True
        try:
            build_ext.build_extension(builder, ext)
            built_of.write_text(self._digest(ext, target))
        except Exception as error:
            if REQUIRED:
                raise
            self.failures[ext.name] = shorten(f"{type(error).__name__}: {error}", width=160, placeholder=" ...")
            self.warn(f"{ext.name} was not built: {error}")

    def _digest(self, ext, target):
        """Of everything that an extension is made of, and of what became of it: other folders may hold another one."""
        tools = [getattr(self.compiler, name, None) for name in ("compiler_so", "linker_so")]
        tools = repr((sys.version, *tools, ext.extra_compile_args))
        files = (Path(name).read_bytes() for name in (__file__, *ext.sources, *ext.depends, target))
        return hashlib.sha256(b"".join((tools.encode(), *files))).hexdigest()

    def _record(self):
        root = Path("." if self.inplace else self.build_lib)
        target = root / KERNELS / "build_failures.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(self.failures, indent=1))


def extensions():
    """Every extension of the package, cythonized."""
    from Cython.Build import cythonize

    found = [extension(pyx) for pyx in sorted(KERNELS.glob("*/*.pyx"))]
    if not found:
        raise RuntimeError(f"no .pyx file below {KERNELS}: this source distribution is incomplete")
    return cythonize(found, compiler_directives={"language_level": "3", "freethreading_compatible": True})


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
