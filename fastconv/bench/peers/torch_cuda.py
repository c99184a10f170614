"""PyTorch on a GPU, that is cuDNN and cuBLAS: in both memory formats, with float32 arithmetic and with that of TF32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from fastconv import device_arrays
from fastconv._kernels.contract import Declined
from fastconv.bench.contestant import Contestant
from fastconv.bench.peers import torch_layers, torch_tensors
from fastconv.bench.rotation import rotating

# What rounds its inputs to 10 bits of mantissa, where float32 has 23, is timed beside the others and no peer of theirs.
TF32 = "tf32"
_COARSENESS = 2.0**13


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """cuDNN tries its algorithms on the first call of each shape, and keeps the fastest."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        with torch_tensors.environment(threads):
            yield
    finally:
        torch.backends.cudnn.benchmark = before


def _prepare(flavour, rounds_inputs, workload):
    if not torch.cuda.is_available():
        return Declined("this PyTorch finds no CUDA device")
    with torch.device(device_arrays.GPU):
        found = rotating(partial(torch_layers.prepare, flavour), workload)
    if isinstance(found, Declined):
        return found

    def call():
        # Of the process, and others run in between.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = rounds_inputs
        return found.call()

    def result(returned):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = rounds_inputs
        return found.result(returned)

    variant, coarseness = f"cuDNN {torch.backends.cudnn.version()}", _COARSENESS if rounds_inputs else 1.0
    return replace(found, call=call, result=result, variant=lambda: variant, coarseness=coarseness)


def _contestant(flavour, rounds_inputs):
    name = f"torch:{flavour}:{TF32}" if rounds_inputs else f"torch:{flavour}"
    return Contestant(name, partial(_prepare, flavour, rounds_inputs), _environment, is_peer=not rounds_inputs)


CONTESTANTS = tuple(_contestant(flavour, tf32) for flavour in torch_tensors.FORMATS for tf32 in (False, True))
