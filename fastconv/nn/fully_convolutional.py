"""A classifier of windows as a network that slides over images of any size: its linear layers become convolutions."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from copy import deepcopy

import numpy as np

from fastconv import arrays, parameters
from fastconv.autograd import Tensor, no_grad
from fastconv.errors import ShapeError
from fastconv.nn import init
from fastconv.nn.activation import Hardtanh, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh
from fastconv.nn.batch_norm import BatchNorm2d
from fastconv.nn.container import Sequential
from fastconv.nn.conv import Conv2d
from fastconv.nn.dropout import Dropout, Dropout2d
from fastconv.nn.flatten import Flatten
from fastconv.nn.freezing import freeze
from fastconv.nn.linear import Identity, Linear
from fastconv.nn.local_response_norm import LocalResponseNorm
from fastconv.nn.module import Module
from fastconv.nn.padding import ZeroPad2d
from fastconv.nn.parameter import Parameter
from fastconv.nn.pooling import AvgPool2d, MaxPool2d

Pair = tuple[int, int]
# What does to each pixel the same wherever it lies, or nothing in evaluation mode.
_POINTWISE = (ReLU, ReLU6, LeakyReLU, Hardtanh, Tanh, Sigmoid, BatchNorm2d, LocalResponseNorm)
_WINDOWED = (Conv2d, MaxPool2d, AvgPool2d)
_NOTHING = (Dropout, Dropout2d, Identity)


def fully_convolutional(model: Module, input_shape: tuple[int, int, int], *, dense: bool = True) -> Sequential:
    """A network that gives at every position of an image what ``model`` gives for the window there, in one pass.

    ``model`` is a chain (``Sequential``, also of chains) that classifies windows of ``input_shape``, (C, h, w).
    ``Linear`` layers become convolutions with the same weights: the first behind ``Flatten`` as large as the maps that
    it read, the others 1 × 1. A stride s would place windows s pixels apart only, so with ``dense`` every stride
    becomes 1 and whatever is behind it is dilated by s ("à trous"), which visits every position; ``dense=False`` keeps
    strides, and positions on their grid. The result is a copy in evaluation mode whose parameters are frozen.

    Shapes: (N, C, H, W) -> (N, classes, H − h + 1, W − w + 1) with ``dense``. Windows share what is computed in them,
    so layers that pad cannot be converted: a window would see its neighbours where it was trained to see zeros.

    Raises ValueError, naming the layer, for what pads and what cannot slide, TypeError for what is no chain of layers,
    ShapeError where windows of this shape do not fit.

    >>> from fastconv.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
    >>> net = Sequential(Conv2d(1, 4, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(36, 10))
    >>> fully_convolutional(net, (1, 8, 8))[-1]
    Conv2d(4, 10, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2))
    """
    if not isinstance(model, Module):
        raise TypeError(f"model must be a fastconv.nn.Module, got {type(model).__name__}")
    sliding = _Sliding(_zeros_for(model, input_shape), parameters.flag("dense", dense))
    with no_grad():
        for path, layer in _chain(model):
            sliding.add(path, deepcopy(layer).eval())
    chain = sliding.chain()
    freeze(chain)
    return chain


class _Sliding:
    """The layers that slide so far, and the maps that the original ones make of one window."""

    def __init__(self, window: Tensor, dense: bool):
        self.layers: list[tuple[str, Module]] = []
        self.window: Pair = (window.shape[2], window.shape[3])
        self.maps = window
        self.dense = dense
        # What a step in the maps is in the window, and how many of its rows and columns the maps have read.
        self.stride: Pair = (1, 1)
        self.extent: Pair = (1, 1)
        self.flattened: tuple[int, ...] | None = None

    def add(self, path: str, layer: Module) -> None:
        """Append what slides in the place of a layer."""
        kind, before = type(layer), self.maps
        self.maps = layer(before)
        if kind is Flatten and self.maps.ndim == 2:
            self.flattened = before.shape[1:]
        elif isinstance(layer, Linear) and self.flattened is not None:
            conv = self._slid(path, _as_conv(layer, self.flattened))
            self.layers.append((path, conv))
            self.flattened = (layer.out_features, 1, 1)
        elif kind in _WINDOWED and not getattr(layer, "return_indices", False):
            self.layers.append((path, self._slid(path, layer)))
        elif kind in _POINTWISE:
            self.layers.append((path, layer))
        elif kind not in _NOTHING:
            raise ValueError(f"layer {path!r}, {layer}, has no form that slides over an image")

    def _slid(self, path: str, layer):
        """A convolution or pooling that places its windows at every position, and those of its taps farther apart."""
        if any(map(any, _pads(layer))) or getattr(layer, "ceil_mode", False):
            raise ValueError(
                f"layer {path!r}, {layer}, reads beyond the ends of its input; a window of a larger image has pixels "
                "there that it was not trained to see. Train it without padding and ceil_mode"
            )
        if type(layer) is AvgPool2d and self.dense and self.stride != (1, 1):
            raise ValueError(f"layer {path!r}, {layer}, stands behind a stride and cannot be dilated; pass dense=False")
        kernel, stride = parameters.kernel_size(layer.kernel_size), parameters.stride(layer.stride)
        dilation = parameters.dilation(getattr(layer, "dilation", 1))
        reach = _each(lambda k, d, s: (k - 1) * d * s, kernel, dilation, self.stride)
        self.extent = _each(operator.add, self.extent, reach)
        if self.dense:
            layer.stride = (1, 1)
            layer.dilation = _each(operator.mul, dilation, self.stride)
        self.stride = _each(operator.mul, stride, self.stride)
        return layer

    def chain(self) -> Sequential:
        """The layers, behind one that drops what no window reads at the end: what strides left of this one."""
        left = self.maps.shape[1:] if self.flattened is None else self.flattened
        if left[1:] != (1, 1):
            raise ValueError(f"the model must give one answer for a window, but it ends with maps {left}, (C, h, w)")
        layers = {path.replace(".", "_"): layer for path, layer in self.layers}
        unread = _each(operator.sub, self.window, self.extent)
        cut = {"cut": ZeroPad2d((0, -unread[1], 0, -unread[0]))} if any(unread) else {}
        return Sequential({**cut, **layers})


def _as_conv(linear: Linear, shape: tuple[int, ...]) -> Conv2d:
    """The layer as filters that are as large as the maps that were flattened for it."""
    C, kH, kW = shape
    has_bias, dtype = linear.bias is not None, linear.weight.dtype
    with init.skipped():
        conv = Conv2d(C, linear.out_features, (kH, kW), bias=has_bias, dtype=dtype)
    conv.weight = Parameter(linear.weight.reshape(-1, C, kH, kW))
    conv.bias = Parameter(linear.bias) if has_bias else None
    return conv


def _pads(layer) -> parameters.Pads:
    kernel = parameters.kernel_size(layer.kernel_size)
    if type(layer) is Conv2d:
        return parameters.conv_padding(layer.padding, kernel, layer.stride, layer.dilation)
    return parameters.pool_padding(layer.padding, kernel)


def _each(function, *pairs: Pair) -> Pair:
    """A function of the rows' numbers, and of the columns'."""
    rows, columns = map(function, *pairs)
    return rows, columns


def _zeros_for(model: Module, input_shape) -> Tensor:
    """A window of zeros, of the dtype and on the device of the model's parameters."""
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 3:
        raise ShapeError(f"input_shape must be (C, h, w), the shape of one window, got {input_shape!r}")
    shape = tuple(parameters.positive_int("an extent of input_shape", extent) for extent in input_shape)
    first = next(model.parameters(), None)
    dtype, device = (np.dtype(np.float32), arrays.HOST) if first is None else (first.dtype, first.device)
    return Tensor(arrays.moved(arrays.zeros((1, *shape), dtype), device))


def _chain(model: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """The layers of a chain, and of the chains in it, with their paths."""
    if type(model).forward is not Sequential.forward:
        yield prefix or "0", model
        return
    for name, layer in model.named_children():
        yield from _chain(layer, f"{prefix}.{name}" if prefix else name)
