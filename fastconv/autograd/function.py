"""Function: an operation with a gradient, and what one recorded call of it keeps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastconv import arrays, device_arrays, dtypes
from fastconv.autograd.modes import is_grad_enabled
from fastconv.autograd.tensor import Tensor, Version, unwrap
from fastconv.errors import ShapeError

# Inputs that are no Tensors, hold none, and are on no GPU.
_PLAIN = frozenset({np.ndarray, list, int, float, bool, str, type(None)})


class Context:
    """What a Function keeps from forward to backward; free attributes hold everything that is not an array."""

    # Most calls are not recorded: what only recorded ones have is not made for every call.
    _saved: tuple[np.ndarray | None, ...] = ()
    # What forward ran on, where it ran kernels: gradients are added up by the same.
    kernels: Any = None
    _watched: tuple[tuple[Version, int], ...] = ()
    _checksums: tuple[int, ...] = ()

    def __init__(self, needs_input_grad: tuple[bool, ...], versions: list[Version | None] | None = None):
        self.needs_input_grad = needs_input_grad
        self._versions = versions

    def save(self, *saved: np.ndarray | None) -> None:
        """Keep arrays for backward; None where one is not needed."""
        self._saved = saved

    def version(self, position: int) -> Version | None:
        """What counts every write to the memory of this input; None where NumPy may write to it unseen."""
        version = self._versions[position] if self._versions else None
        return version if version is not None and version.guarded else None

    @property
    def saved(self) -> tuple:
        """The saved arrays."""
        return self._saved

    def check(self) -> None:
        """Raise RuntimeError if a Tensor that shows a saved array was changed in place since."""
        for version, count in self._watched:
            if version.count != count:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"it is at version {version.count}; expected version {count} instead"
                )
        if self._checksums and self._checksums != _checksums(self._saved):
            raise RuntimeError("an array needed for gradient computation was modified after forward (FASTCONV_DEBUG)")

    def watch(self, tensors) -> None:
        """Remember the versions of the Tensors whose memory was saved."""
        saved = [array for array in self._saved if array is not None]
        watched = []
        for tensor in tensors:
            for array in saved:
                if array is tensor._array or arrays.may_share_memory(array, tensor._array):
                    watched.append((tensor._version, tensor._version.count))
                    break
        self._watched = tuple(watched)
        if os.environ.get("FASTCONV_DEBUG", "0") not in ("", "0"):
            self._checksums = _checksums(self._saved)


class Function:
    """An operation with a gradient: subclasses define ``forward(ctx, *inputs)`` and ``backward(ctx, *grads)``.

    Both see arrays, never Tensors. ``forward`` returns one array or a tuple; ``backward`` returns one gradient, or
    None, per input, of exactly that input's shape.
    """

    @staticmethod
    def forward(ctx: Context, *inputs):
        """Compute the outputs."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grads):
        """Compute the gradients of the inputs from those of the outputs."""
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs):
        """Run forward; record it where an input asks for gradients. Arrays in, arrays out; Tensors in, Tensors out."""
        for item in inputs:
            if type(item) not in _PLAIN:
                break
        else:
            return cls.forward(Context((False,) * len(inputs)), *inputs)
        plain, versions, tensors, wanted, near = [], [], [], False, None
        for item in inputs:
            version = None
            if type(item) in _PLAIN:
                plain.append(item)
            elif isinstance(item, Tensor):
                tensors.append(item)
                plain.append(item._array)
                version = item._version
                wanted = wanted or item._requires_grad
                if type(item._array) is not np.ndarray:
                    near = item._array
            elif device_arrays.is_on_device(item):
                near = device_arrays.adopted(item)
                plain.append(near)
            else:
                plain.append(unwrap(item) if isinstance(item, tuple) else item)
            versions.append(version)
        if not tensors:
            ctx = Context((False,) * len(inputs))
            if near is None:
                return cls.forward(ctx, *plain)
            return device_arrays.returned(_beside(near, cls, ctx, plain), inputs)
        needs: tuple[bool, ...] = (False,) * len(inputs)
        if wanted and is_grad_enabled():
            needs = tuple([isinstance(item, Tensor) and item._requires_grad for item in inputs])
        ctx = Context(needs, versions)
        outputs = cls.forward(ctx, *plain) if near is None else _beside(near, cls, ctx, plain)
        several = isinstance(outputs, tuple)
        wrapped = [_output_tensor(array, tensors) for array in (outputs if several else (outputs,))]
        if True in needs:
            node = Node(cls, ctx, inputs, wrapped)
            for position, tensor in enumerate(wrapped):
                if dtypes.is_float(tensor._array.dtype):
                    tensor._requires_grad, tensor._node, tensor._output = True, node, position
            ctx.watch([*tensors, *wrapped])
        return tuple(wrapped) if several else wrapped[0]


class Node:
    """One recorded call: where its gradients go, and what its outputs looked like."""

    __slots__ = ("context", "edges", "function", "outputs")

    def __init__(self, function, context, inputs, outputs):
        self.function = function
        self.context: Context | None = context
        self.edges = tuple(
            [Edge(item) if needed else None for item, needed in zip(inputs, context.needs_input_grad, strict=True)]
        )
        self.outputs = tuple([(tensor._array.shape, tensor._array.dtype) for tensor in outputs])

    def __repr__(self) -> str:
        return self.function.__name__

    def check(self) -> None:
        """Raise RuntimeError if backward ran already or a saved array was changed since."""
        if self.context is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time: its saved arrays have already been freed. "
                "Specify retain_graph=True if you need to backward through it again"
            )
        self.context.check()

    def gradients(self, context: Context, grads: list) -> tuple:
        """Call backward on what was saved, with zeros for outputs that nobody used; check what it returns."""
        near = next(grad for grad in grads if grad is not None)
        filled = [
            arrays.zeros(shape, dtype, near=near) if grad is None and dtypes.is_float(dtype) else grad
            for grad, (shape, dtype) in zip(grads, self.outputs, strict=True)
        ]
        with device_arrays.beside(near):
            results = self.function.backward(context, *filled)
        results = results if isinstance(results, tuple) else (results,)
        results = tuple(result if result is None else arrays.plain(result) for result in results)
        for edge, result in zip(self.edges, results, strict=True):
            if edge is not None and (result is None or result.shape != edge.shape or result.dtype != edge.dtype):
                raise ShapeError(f"backward of {self} returned a gradient that does not fit its input {edge.shape}")
        return results


class Edge:
    """Where one input's gradient goes: to a leaf Tensor or to an output of another node."""

    __slots__ = ("dtype", "leaf", "node", "output", "shape")

    def __init__(self, tensor: Tensor):
        self.node, self.output = tensor._node, tensor._output
        self.leaf = tensor if tensor._node is None else None
        self.shape, self.dtype = tensor._array.shape, tensor._array.dtype


def _beside(near, function, ctx, inputs):
    """Forward, on the device of the array ``near``."""
    with device_arrays.beside(near):
        return function.forward(ctx, *inputs)


def _output_tensor(array, inputs):
    """Wrap an output; one that shows an input's memory shares its version."""
    array = arrays.plain(array)
    for tensor in inputs:
        if type(array) is type(tensor._array) and np.may_share_memory(array, tensor._array):
            return Tensor(array, version=tensor._version)
    return Tensor(array)


def _checksums(saved):
    import zlib  # only FASTCONV_DEBUG needs it

    return tuple(zlib.crc32(array.tobytes()) for array in saved if array is not None)
