"""What a network is made of: ``summary`` follows a pass in which no kernel runs, so that only shapes are computed."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastconv import arrays, backends, device_arrays, parameters
from fastconv.autograd import Tensor, no_grad, unwrap
from fastconv.explain import expected_kind, fused
from fastconv.geometry import Axis, Conv2dGeometry, Pool2dGeometry
from fastconv.nn.module import Module, watching
from fastconv.tables import table

Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a layer, of an operation that a module calls beside its layers, or of a module that computes besides.

    ``filter_size``, ``stride``, ``padding`` (before and behind, of rows and columns) and ``filters`` are F, S, P and K;
    None where there is no such thing. ``volume`` is the shape of the output, None where the layer was not called.
    ``parameters`` are those that no layer before has; ``status`` says whether they are "trainable", "frozen", "mixed"
    or "shared" with a layer before. ``activation_bytes`` are those of outputs in memory of their own.
    """

    name: str
    kind: str
    filter_size: tuple[int, int] | None
    stride: tuple[int, int] | None
    padding: Pads | None
    filters: int | None
    volume: tuple[int, ...] | None
    parameters: int
    trainable_parameters: int
    status: str
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The layers of a model in the order of their calls, and their totals; prints as a table."""

    input_shapes: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Parameters of all layers, each counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable_parameters(self) -> int:
        """Those of them that ask for gradients."""
        return sum(layer.trainable_parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all convolutions and fully connected layers, padded taps counted."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all outputs; inference needs only a few of them at a time."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def totals(self) -> dict[str, int]:
        """The four sums by name."""
        names = ("parameters", "trainable_parameters", "multiply_adds", "activation_bytes")
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """All of it in dictionaries, lists, numbers and texts, for JSON."""
        layers = [asdict(layer) for layer in self.layers]
        return {"input_shapes": list(map(list, self.input_shapes)), "layers": layers, "totals": self.totals}

    def cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The head and the rows of the table, as texts."""
        head = ("layer", "kind", "F", "S", "P", "K", "output", "parameters", "multiply-adds", "activation bytes", "")
        return head, [_cells(layer) for layer in self.layers]

    def closing(self) -> str:
        """The line below the table."""
        shapes = " and ".join(_joined(shape) for shape in self.input_shapes)
        return (
            f"{self.parameters:,} parameters ({self.trainable_parameters:,} trainable), {self.multiply_adds:,} "
            f"multiply-adds and {self.activation_bytes:,} bytes of activations for an input of {shapes}"
        )

    def __str__(self) -> str:
        head, rows = self.cells()
        return f"{table(head, rows, left=(0, 1, len(head) - 1))}\n{self.closing()}"

    __repr__ = __str__


def summary(model: Module, *input_shapes: tuple[int, ...]) -> Summary:
    """List a model's layers: filter size, stride, padding, filters, output, parameters, multiply-adds, bytes.

    Give a shape for each argument of ``forward``; three numbers are one image (C, H, W), and a batch of one. A
    convolution of K filters F x F on D maps (of its group) has F·F·D·K + K parameters, and as many multiply-adds as
    ``fastconv.explain`` tells, half its FLOP: N·OH·OW·F·F·D·K.

    The modules run once, in evaluation mode, on zeros; kernels do not, and fill their outputs with zeros. What they
    call is told, whatever class they are of: a rectifier that runs in the pass of another layer is part of it, and one
    called twice is listed twice, its parameters once. Layers with parameters that are not called come last.

    Raises TypeError for what is no Module or no shape, ValueError, and what ``forward`` raises; the model is as before.

    >>> from fastconv import nn
    >>> found = summary(nn.Sequential(nn.Conv2d(3, 96, 11, 4), nn.ReLU()), (3, 227, 227))
    >>> found.layers[0].volume, found.parameters, found.multiply_adds
    ((1, 96, 55, 55), 34944, 105415200)
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    shapes = tuple(map(_checked, input_shapes))
    dtype, device = expected_kind(model)
    given = [Tensor(arrays.moved(arrays.zeros(shape, dtype), device)) for shape in shapes]
    recorder = _Recorder(model, given)
    unseen = arrays.unread(), np.errstate(all="ignore")
    with backends.listening(recorder), watching(recorder.called), _evaluated(model), unseen[0], unseen[1]:
        model(*given)
    recorder.add_uncalled()
    return Summary(shapes, tuple(recorder.layers))


def _checked(shape) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"an input shape must be a tuple of ints such as (3, 224, 224), got {shape!r}")
    extents = tuple(parameters.positive_int("an extent of an input shape", extent) for extent in shape)
    return (1, *extents) if len(extents) == 3 else extents


@contextmanager
def _evaluated(model: Module) -> Iterator[None]:
    """All modules in evaluation mode; each in that which it had, afterwards."""
    kept = [(module, module.training) for module in model.modules()]
    try:
        with no_grad():
            model.eval()
            yield
    finally:
        for module, training in kept:
            module.training = training


@dataclass(slots=True)
class _Call:
    """A module that runs, and the kernel calls that it makes itself."""

    module: Module
    is_leaf: bool
    tasks: list[backends.Task]


class _Recorder(backends.Listener):
    """Makes layers of what modules call."""

    def __init__(self, model: Module, given: list[Tensor]):
        self.layers: list[Layer] = []
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._modules = list(model.modules())
        self._open: list[_Call] = []
        self._counted: set[int] = set()
        # Of arrays that were given or counted: who holds their memory, as long as they live.
        self._known: dict[int, weakref.ref] = {}
        for tensor in given:
            self._new_bytes(unwrap(tensor))

    def replaced(self, task, operands) -> bool:
        """Zeros instead of a kernel; what changes its operands in place runs."""
        if task.op.endswith("_"):
            return False
        for out in task.outputs(operands):
            with device_arrays.beside(out):
                out[...] = 0
        call = self._open[-1]
        if call.is_leaf:
            call.tasks.append(task)
        else:
            nbytes = sum(map(self._new_bytes, task.outputs(operands)))
            self._add(call.module, task.op.removesuffix("_forward"), [task], _out_shape(task), nbytes)
        return True

    def called(self, module: Module, run):
        """Run a module; a layer is one without modules below it, or which adds parameters or memory of its own."""
        call = _Call(module, not any(True for _ in module.children()), [])
        self._open.append(call)
        try:
            result = run()
        finally:
            self._open.pop()
        outputs = list(_tensors(result))
        nbytes = sum(self._new_bytes(unwrap(tensor)) for tensor in outputs)
        if call.is_leaf or nbytes or self._has_uncounted(module):
            volume = outputs[0].shape if outputs else None
            self._add(module, type(module).__name__, call.tasks, volume, nbytes)
        return result

    def add_uncalled(self) -> None:
        """Layers whose parameters nobody has asked for."""
        for module in self._modules:
            if self._has_uncounted(module):
                self._add(module, type(module).__name__, [], None, 0)

    def _has_uncounted(self, module) -> bool:
        return not self._counted.issuperset(map(id, module.parameters(recurse=False)))

    def _add(self, module, kind, tasks, volume, nbytes) -> None:
        own = list(module.parameters(recurse=False))
        new = [parameter for parameter in own if id(parameter) not in self._counted]
        self._counted.update(map(id, new))
        extras = [extra for task in tasks for extra in fused(task.problem) if extra != "bias"]
        layer = Layer(
            name=self._paths.get(id(module), ""),
            kind=" + ".join((kind, *extras)),
            **_window(tasks, volume),
            volume=volume,
            parameters=sum(math.prod(parameter.shape) for parameter in new),
            trainable_parameters=sum(math.prod(parameter.shape) for parameter in new if parameter.requires_grad),
            status=_status(own, new),
            multiply_adds=sum(map(_multiply_adds, tasks)),
            activation_bytes=nbytes,
        )
        self.layers.append(layer)

    def _new_bytes(self, array: np.ndarray) -> int:
        """Bytes of an array whose memory no array before holds."""
        owner: Any = array
        while isinstance(getattr(owner, "base", None), type(array)):
            owner = owner.base
        known = self._known.get(id(owner))
        if known is not None and known() is owner:
            return 0
        self._known[id(owner)] = weakref.ref(owner)
        return array.nbytes


def _tensors(result) -> Iterator[Tensor]:
    """The Tensors of what a module returns."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, (tuple, list, dict)):
        for item in result.values() if isinstance(result, dict) else result:
            yield from _tensors(item)


def _out_shape(task) -> tuple[int, ...]:
    """The shape of the result; a transposed convolution is the gradient of one."""
    geometry = task.problem.geometry
    return geometry.x_shape if task.op.endswith("_grad_input") else geometry.out_shape


def _multiply_adds(task) -> int:
    return task.problem.geometry.flops // 2 if isinstance(task.problem.geometry, Conv2dGeometry) else 0


def _window(tasks, volume) -> dict[str, Any]:
    """F, S, P and K of a layer that calls one convolution or pooling; of a fully connected one only K."""
    found: dict[str, Any] = dict.fromkeys(("filter_size", "stride", "padding", "filters"))
    windowed = [task for task in tasks if isinstance(task.problem.geometry, (Conv2dGeometry, Pool2dGeometry))]
    if len(windowed) != 1:
        return found
    (task,) = windowed
    geometry = task.problem.geometry
    if isinstance(geometry, Conv2dGeometry):
        found["filters"] = _out_shape(task)[1]
    axes = geometry.rows, geometry.cols
    if volume is not None and volume[-3:] == _out_shape(task)[1:] and all(isinstance(axis, Axis) for axis in axes):
        found["filter_size"] = tuple(axis.kernel for axis in axes)
        found["stride"] = tuple(axis.stride for axis in axes)
        found["padding"] = tuple((axis.low, axis.high) for axis in axes)
    return found


def _status(own, new) -> str:
    if not new:
        return "shared" if own else ""
    asking = {parameter.requires_grad for parameter in new}
    return "mixed" if len(asking) > 1 else "trainable" if True in asking else "frozen"


def _cells(layer: Layer) -> tuple[str, ...]:
    """One row of the table."""
    pads = None if layer.padding is None else tuple(map(_pad, layer.padding))
    return (
        layer.name or "(model)",
        layer.kind,
        "" if layer.filter_size is None else _joined(layer.filter_size),
        _short(layer.stride),
        _short(pads),
        "" if layer.filters is None else f"{layer.filters:,}",
        "not called" if layer.volume is None else _joined(layer.volume),
        f"{layer.parameters:,}" if layer.status else "",
        f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        f"{layer.activation_bytes:,}" if layer.activation_bytes else "",
        layer.status,
    )


def _short(pair) -> str:
    """One number where rows and columns have the same."""
    return "" if pair is None else _joined(pair[:1] if pair[0] == pair[1] else pair)


def _pad(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}+{ends[1]}"


def _joined(extents) -> str:
    return "x".join(map(str, extents))
