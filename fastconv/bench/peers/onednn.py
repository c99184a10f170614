"""Which implementation PyTorch's oneDNN chose, read from what it prints when asked to be verbose."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable

import torch

_MARK = "onednn_verbose"


def implementation(call: Callable[[], object]) -> str:
    """The names of the primitives that one call executed, conversions included; "ATen" where oneDNN took no part."""
    mkldnn = torch.backends.mkldnn
    if not mkldnn.is_available():
        return "ATen"
    if sys.platform == "win32" or sys.__stdout__ is None:
        return "unknown"
    with tempfile.TemporaryFile() as file:
        saved = os.dup(1)
        try:
            _flush()
            os.dup2(file.fileno(), 1)
            with mkldnn.verbose(mkldnn.VERBOSE_ON):
                call()
            _flush()
        finally:
            os.dup2(saved, 1)
            os.close(saved)
        file.seek(0)
        return "+".join(dict.fromkeys(_executed(file.read().decode(errors="replace")))) or "ATen"


def _executed(text):
    """onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core,... names kind and implementation."""
    for line in text.splitlines():
        fields = line.split(",")
        if line.startswith(_MARK) and "exec" in fields:
            kind, name = fields[fields.index("exec") + 2 :][:2]
            yield name if kind.startswith(("convolution", "matmul", "inner_product", "pooling")) else kind


def _flush():
    """What Python and C hold back must not end up in the wrong file."""
    if sys.stdout is not None:
        sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
