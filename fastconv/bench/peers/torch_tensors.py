"""PyTorch's tensors, threads and memory formats, as every workload needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from fastconv.bench import blas
from fastconv.bench.contestant import Prepared
from fastconv.bench.peers import onednn
from fastconv.bench.workloads.workload import ACTIVATIONS

FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


@contextlib.contextmanager
def environment(threads: int) -> Iterator[None]:
    """Inference mode: nothing records; gradients are asked for as operations of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with blas.threads(threads), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


class Tensors:
    """The inputs as tensors; activations as they are given, weights in the format that is computed in."""

    def __init__(self, workload, flavour):
        self.inner, self.outer = FORMATS[flavour], FORMATS[workload.layout]
        self.converts = workload.is_spatial and flavour != workload.layout
        tensors = {name: tensor(array) for name, array in workload.inputs.items()}
        self.activations = [tensor for name, tensor in tensors.items() if name in ACTIVATIONS]
        self.weights: list[Any] = [
            tensor.contiguous(memory_format=self.inner) if tensor.ndim == 4 else tensor
            for name, tensor in tensors.items()
            if name not in ACTIVATIONS
        ]

    def prepared(self, function, *, converts_back=True) -> Prepared:
        """``function(*activations)`` in the inner format, the result in the outer one where that is wanted."""
        inner, outer, given = self.inner, self.outer, self.activations

        def plain():
            return function(*given)

        def converting():
            found = function(*(tensor.contiguous(memory_format=inner) for tensor in given))
            return found.contiguous(memory_format=outer) if converts_back else found

        call = converting if self.converts else plain
        return Prepared(call, array, partial(onednn.implementation, call))


def tensor(array):
    """A tensor of the array's values on PyTorch's default device; on the CPU it shows the array's memory."""
    return torch.from_numpy(array).to(torch.get_default_device())


def array(tensor):
    """What NumPy sees of it, copied where it lies on a GPU."""
    return tensor.cpu().numpy()
