"""The tape: Tensor, Function, Context, no_grad, backward. It knows no operation and computes nothing of its own."""

from __future__ import annotations

import functools
import os
import zlib
from contextvars import ContextVar

import numpy as np

from fastconv import arrays, dtypes
from fastconv.errors import DTypeError, ShapeError

_grad_enabled: ContextVar[bool] = ContextVar("fastconv_grad_enabled", default=True)


class Version:
    """Counts the in-place writes to one piece of memory; shared by all Tensors that show it.

    NumPy never gets a writable view of ``guarded`` memory, so that no write to it goes uncounted.
    """

    __slots__ = ("count", "guarded")

    def __init__(self, guarded: bool = False):
        self.count = 0
        self.guarded = guarded


class no_grad:  # noqa: N801 - a context manager and decorator, named as torch's
    """Record nothing inside the ``with`` block or the decorated function."""

    def __init__(self):
        self._tokens: list = []

    def __enter__(self) -> None:
        self._tokens.append(_grad_enabled.set(False))

    def __exit__(self, *exc_info) -> None:
        _grad_enabled.reset(self._tokens.pop())

    def __call__(self, function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with no_grad():
                return function(*args, **kwargs)

        return wrapped


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return _grad_enabled.get()


class Tensor:
    """An array on the tape. Made by ``fastconv.tensor`` and by operations; its operators are bound by ``functional``."""

    __slots__ = ("__weakref__", "_array", "_node", "_output", "_requires_grad", "_version", "grad")
    # NumPy's operators hand over to ours instead of leaving the tape.
    __array_ufunc__ = None

    def __init__(self, array: np.ndarray, requires_grad: bool = False, *, version: Version | None = None):
        self._array = array
        self._requires_grad = False
        self._node: Node | None = None
        self._output = 0
        self._version = Version() if version is None else version
        self.grad: Tensor | None = None
        self.requires_grad_(requires_grad)

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy dtype."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded; can be set on leaves."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether a user made it, rather than an operation that was recorded."""
        return self._node is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch recording on or off for a leaf; raises DTypeError for integer Tensors."""
        if requires_grad and self.dtype.kind != "f":
            raise DTypeError(f"only floating-point Tensors can require gradients, this one is {self.dtype}")
        if not requires_grad and not self.is_leaf:
            raise RuntimeError("you can only change requires_grad flags of leaf variables; use detach()")
        self._requires_grad = bool(requires_grad)
        return self

    def numpy(self) -> np.ndarray:
        """The values without a copy; read-only where gradients or a Parameter depend on them: such writes go unseen."""
        if not self._requires_grad and not self._version.guarded:
            return self._array
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def detach(self) -> Tensor:
        """The same memory, off the tape."""
        return Tensor(self._array, version=self._version)

    def item(self):
        """The value of a one-element Tensor as a Python number."""
        return self._array.item()

    def tolist(self):
        """The values as nested lists."""
        return self._array.tolist()

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    def copy_(self, source) -> Tensor:
        """Overwrite all values in place, with broadcasting; raises ShapeError where the shapes do not fit."""
        return self._write(..., source)

    def zero_(self) -> Tensor:
        """Overwrite all values with zeros in place."""
        return self._write(..., 0)

    def __setitem__(self, index, source) -> None:
        self._write(index, source)

    def bump_version(self) -> None:
        """Tell the tape that the memory was written through another door."""
        self._version.count += 1

    def backward(self, gradient=None, *, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf) * gradient to the ``grad`` of every leaf; ``gradient`` may be left out for one element."""
        backward(self, gradient, retain_graph=retain_graph)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __index__(self) -> int:
        return self._array.__index__()

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self):
        raise TypeError("Tensors are not pickled; save their .numpy() or a state_dict with fastconv.weights")

    def __repr__(self) -> str:
        values = np.array2string(self._array, separator=", ", prefix="tensor(")
        suffix = f", node={self._node}" if self._node else ", requires_grad=True" if self._requires_grad else ""
        return f"tensor({values}, dtype={self.dtype}{suffix})"

    def _write(self, index, source) -> Tensor:
        if self._requires_grad and is_grad_enabled():
            kind = "a leaf" if self.is_leaf else "a recorded"
            raise RuntimeError(
                f"{kind} Tensor that requires grad is being used in an in-place operation; use no_grad()"
            )
        values = unwrap(source)
        try:
            self._array[unwrap(index)] = values
        except ValueError as error:
            raise ShapeError(
                f"cannot write values of shape {np.shape(values)} to shape {self.shape}: {error}"
            ) from None
        self.bump_version()
        return self


class Context:
    """What a Function keeps from forward to backward; free attributes hold everything that is not an array."""

    def __init__(self, needs_input_grad: tuple[bool, ...]):
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[np.ndarray | None, ...] = ()
        self._watched: list[tuple[Version, int]] = []
        self._checksums: list[int] = []

    def save(self, *saved: np.ndarray | None) -> None:
        """Keep arrays for backward; None where one is not needed."""
        self._saved = saved

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
        for tensor in tensors:
            if any(array is not None and np.may_share_memory(array, tensor._array) for array in self._saved):
                self._watched.append((tensor._version, tensor._version.count))
        if os.environ.get("FASTCONV_DEBUG"):
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
        tensors = [item for item in inputs if isinstance(item, Tensor)]
        recording = _grad_enabled.get() and any(tensor._requires_grad for tensor in tensors)
        needs = tuple(recording and isinstance(item, Tensor) and item._requires_grad for item in inputs)
        ctx = Context(needs)
        outputs = cls.forward(ctx, *map(unwrap, inputs))
        if not tensors:
            return outputs
        several = isinstance(outputs, tuple)
        wrapped = tuple(_output_tensor(array, tensors) for array in (outputs if several else (outputs,)))
        if recording:
            node = Node(cls, ctx, inputs, wrapped)
            for position, tensor in enumerate(wrapped):
                if tensor.dtype.kind == "f":
                    tensor._requires_grad, tensor._node, tensor._output = True, node, position
            ctx.watch([*tensors, *wrapped])
        return wrapped if several else wrapped[0]


class Node:
    """One recorded call: where its gradients go, and what its outputs looked like."""

    __slots__ = ("context", "edges", "function", "outputs")

    def __init__(self, function, context, inputs, outputs):
        self.function = function
        self.context: Context | None = context
        self.edges = tuple(_Edge(item) if needed else None for item, needed in zip(inputs, context.needs_input_grad))
        self.outputs = tuple((tensor.shape, tensor.dtype) for tensor in outputs)

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

    def gradients(self, grads: list) -> tuple:
        """Call backward with zeros for outputs that nobody used; check what it returns."""
        filled = [
            arrays.zeros(shape, dtype) if grad is None and dtype.kind == "f" else grad
            for grad, (shape, dtype) in zip(grads, self.outputs)
        ]
        results = self.function.backward(self.context, *filled)
        results = results if isinstance(results, tuple) else (results,)
        for edge, result in zip(self.edges, results, strict=True):
            if edge is not None and (result is None or result.shape != edge.shape or result.dtype != edge.dtype):
                raise ShapeError(f"backward of {self} returned a gradient that does not fit its input {edge.shape}")
        return results


class _Edge:
    """Where one input's gradient goes: to a leaf Tensor or to an output of another node."""

    __slots__ = ("dtype", "leaf", "node", "output", "shape")

    def __init__(self, tensor: Tensor):
        self.node, self.output = tensor._node, tensor._output
        self.leaf = tensor if tensor._node is None else None
        self.shape, self.dtype = tensor.shape, tensor.dtype


def backward(root: Tensor, gradient=None, *, retain_graph: bool = False) -> None:
    """Walk the tape from ``root`` to the leaves; raises ShapeError, DTypeError or RuntimeError before any change."""
    if not root._requires_grad:
        raise RuntimeError("this Tensor does not require grad and was not made by a recorded operation")
    seed = _seed(root, gradient)
    if root._node is None:
        _accumulate_leaf(root, seed, owned=False)
        return
    pending = {root._node: [None] * len(root._node.outputs)}
    pending[root._node][root._output] = seed
    owned: set[tuple[Node, int]] = set()
    order = _topological(root._node)
    for node in order:
        node.check()
    for node in order:
        grads = pending.pop(node, None)
        if grads is None:
            continue
        results = node.gradients(grads)
        for edge, result in zip(node.edges, results):
            if edge is not None:
                _deliver(edge, result, _is_fresh(result, results, grads), pending, owned)
        if not retain_graph:
            node.context = None


def tensor(data, dtype=None, requires_grad: bool = False) -> Tensor:
    """A Tensor with a copy of the data; lists and numbers become float32 unless ``dtype`` says otherwise.

    >>> tensor([[1, 2], [3, 4]]).dtype
    dtype('float32')
    """
    if isinstance(data, (list, tuple, int, float)) and not isinstance(data, bool):
        array = np.array([unwrap(item) for item in data] if isinstance(data, (list, tuple)) else data)
        array = arrays.as_array(array, "data")
        dtype = np.float32 if dtype is None else dtype
    else:
        array = arrays.as_array(unwrap(data), "data")
    array = np.array(array, dtype=dtype, copy=True, order="K")
    if array.dtype.kind not in "biu" and not dtypes.is_supported(array.dtype):
        raise DTypeError(f"data has dtype {array.dtype}; supported are {dtypes.SUPPORTED}, integers and bool")
    return Tensor(array, requires_grad)


def unwrap(value):
    """The array of a Tensor; anything else as it is."""
    if isinstance(value, Tensor):
        return value._array
    return tuple(map(unwrap, value)) if isinstance(value, tuple) else value


def _seed(root, gradient):
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError(f"grad can be implicitly created only for scalar outputs, got shape {root.shape}")
        return np.ones(root.shape, root.dtype)
    gradient = arrays.as_array(unwrap(gradient), "gradient")
    if gradient.shape != root.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, the Tensor has shape {root.shape}")
    if gradient.dtype != root.dtype:
        raise DTypeError(f"mixed dtypes: gradient is {gradient.dtype}, the Tensor is {root.dtype}")
    return gradient


def _topological(root: Node) -> list[Node]:
    """Every node reachable from root, users before what they use."""
    order, seen, stack = [], {root}, [(root, iter(root.edges))]
    while stack:
        node, edges = stack[-1]
        child = next((e.node for e in edges if e is not None and e.node is not None and e.node not in seen), None)
        if child is None:
            order.append(stack.pop()[0])
        else:
            seen.add(child)
            stack.append((child, iter(child.edges)))
    return order[::-1]


def _deliver(edge, grad, fresh, pending, owned):
    if edge.leaf is not None:
        _accumulate_leaf(edge.leaf, grad, fresh)
        return
    slots = pending.setdefault(edge.node, [None] * len(edge.node.outputs))
    key = (edge.node, edge.output)
    present = slots[edge.output]
    if present is None:
        slots[edge.output] = grad
        if fresh:
            owned.add(key)
        return
    if key not in owned:
        slots[edge.output] = present = present.copy(order="K")
        owned.add(key)
    arrays.accumulate_(present, grad)


def _accumulate_leaf(leaf, grad, owned):
    if leaf.grad is None:
        leaf.grad = Tensor(grad if owned else grad.copy(order="K"))
    else:
        arrays.accumulate_(leaf.grad._array, grad)
        leaf.grad.bump_version()


def _is_fresh(result, results, grads):
    """Whether nobody else holds this array: not an incoming gradient, not a view, not returned twice."""
    shared = result.base is not None or not result.flags.writeable or any(result is grad for grad in grads)
    return not shared and sum(result is other for other in results) == 1


def _output_tensor(array, inputs):
    """Wrap an output; one that shows an input's memory shares its version."""
    array = np.asarray(array)
    for tensor in inputs:
        if np.may_share_memory(array, tensor._array):
            return Tensor(array, version=tensor._version)
    return Tensor(array)


def _checksums(saved):
    return [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in saved if array is not None]
