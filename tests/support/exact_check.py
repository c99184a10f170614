"""The exact checks in a process of their own: ``python -m support.exact_check BACKEND [OPTION ...] [CASE ...]``."""

import argparse
import faulthandler
import sys
from contextlib import nullcontext
from functools import partial


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("backend")
    parser.add_argument("--paged", action="store_true")
    parser.add_argument("--streaming", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--lacking", type=int, default=0)
    parser.add_argument("--skew", type=int, default=0)
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--dtype", action="append")
    parser.add_argument("cases", nargs="*")
    options = parser.parse_intermixed_args()
    faulthandler.enable()
    sys.modules.update(dict.fromkeys(options.without))
    from support.data import DTYPES, Aligned, Fenced
    from support.kernel_calls import check_all
    from support.streaming import everything_streamed

    fences = [Fenced]
    if options.paged:
        from support.paged import Paged

        fences = [partial(Paged, at_end=True), partial(Paged, at_end=False)]
    if options.streaming:
        fences = [Aligned]
    if options.bare:
        from support.bare import Bare

        fences = [partial(Bare, lacking=options.lacking, skew=options.skew)]
    chosen = options.cases or None, options.dtype or DTYPES
    with everything_streamed() if options.streaming else nullcontext():
        print("checks:", sum(check_all(options.backend, fence, *chosen) for fence in fences))
    if options.backend == "cython":
        from fastconv._kernels.cython_cpu import machine

        print("instruction set:", machine.instruction_set())


if __name__ == "__main__":
    main()
