"""Weights of Keras 2's LocallyConnected2D, which Keras 3 has no more, in the layout of ``nn.LocallyConnected2d``."""

from __future__ import annotations

import numpy as np

from fastconv.errors import ShapeError
from fastconv.geometry import LocalConv2dGeometry
from fastconv.nn import LocallyConnected2d

_DATA_FORMATS = ("channels_last", "channels_first")


def local_state(layer: LocallyConnected2d, kernel, bias=None, data_format: str = "channels_last"):
    """The state dict of a layer from the arrays of a Keras layer with the same sizes, as ``weights.load`` gives them.

    The kernel's axes tell Keras' ``implementation``: (OH·OW, kH·kW·C, K), (H, W, C, OH, OW, K) where only what is
    connected counts, or a vector of that; of ``data_format="channels_first"`` (OH·OW, C·kH·kW, K),
    (C, H, W, K, OH, OW), or a vector in that order. The bias is (OH, OW, K). What Keras calls "same" is, at stride 1,
    ``padding=((kH // 2, (kH - 1) // 2), (kW // 2, (kW - 1) // 2))``. Raises ShapeError for other shapes, ValueError for
    an unknown format and for layers with groups or dilation, which Keras has not.

    >>> layer = LocallyConnected2d(1, 2, (1, 2), bias=False, input_size=(1, 3))
    >>> kernel = np.arange(8.0).reshape(2, 2, 2)
    >>> local_state(layer, kernel)["weight"].reshape(2, 2, 2).tolist()
    [[[0.0, 2.0], [1.0, 3.0]], [[4.0, 6.0], [5.0, 7.0]]]
    """
    if data_format not in _DATA_FORMATS:
        raise ValueError(f"data_format must be one of {', '.join(_DATA_FORMATS)}, got {data_format!r}")
    if layer.groups != 1 or layer.dilation != (1, 1):
        raise ValueError(f"Keras' layers have neither groups nor dilation, but the layer is {layer}")
    g = LocalConv2dGeometry.at(
        (1, layer.in_channels, *layer.input_size),
        (layer.out_channels, layer.in_channels, *layer.kernel_size),
        stride=layer.stride,
        padding=layer.padding,
    )
    kernel, is_last = np.asarray(kernel), data_format == _DATA_FORMATS[0]
    convert = {3: _of_patches, 6: _of_pairs, 1: _of_connections}.get(kernel.ndim)
    if convert is None:
        raise ShapeError(f"a kernel of Keras' LocallyConnected2D has 1, 3 or 6 axes, got shape {kernel.shape}")
    state = {"weight": np.ascontiguousarray(convert(g, kernel, is_last))}
    if bias is not None:
        bias = _checked("bias", np.asarray(bias), g.bias_shape)
        OH, OW, K = g.bias_shape
        # With channels first, Keras adds the same values as (K, OH, OW).
        state["bias"] = np.ascontiguousarray(bias if is_last else bias.reshape(K, OH, OW).transpose(1, 2, 0))
    return state


def _of_patches(g, kernel, is_last):
    """Implementation 1: a matrix for every place."""
    OH, OW, K, C, kH, kW = g.weight_shape
    _checked("kernel", kernel, (OH * OW, g.terms, K))
    if is_last:
        return kernel.reshape(OH, OW, kH, kW, C, K).transpose(0, 1, 5, 4, 2, 3)
    return kernel.reshape(OH, OW, C, kH, kW, K).transpose(0, 1, 5, 2, 3, 4)


def _of_pairs(g, kernel, is_last):
    """Implementation 2: a weight for every pair of input and output, of which those of a window count."""
    (OH, OW, K), (_, C, H, W) = g.bias_shape, g.x_shape
    order = (0, 1, 2, 3, 4, 5) if is_last else (1, 2, 0, 4, 5, 3)
    shape = (H, W, C, OH, OW, K) if is_last else (C, H, W, K, OH, OW)
    pairs = _checked("kernel", kernel, shape).transpose(order)
    weight = np.zeros(g.weight_shape, kernel.dtype)
    for oh, ow, kh, kw in np.argwhere(_connected(g)):
        h, w = g.rows.position(oh, kh), g.cols.position(ow, kw)
        weight[oh, ow, :, :, kh, kw] = pairs[h, w, :, oh, ow].T
    return weight


def _of_connections(g, kernel, is_last):
    """Implementation 3: output after output, the weights of the inputs that are no padding, as these lie in memory."""
    OH, OW, K, C, kH, kW = g.weight_shape
    connected = _connected(g)
    _checked("kernel", kernel, (int(connected.sum()) * C * K,))
    if is_last:
        weight, order = np.zeros((OH, OW, K, kH, kW, C), kernel.dtype), (0, 1, 2, 5, 3, 4)
        mask = connected[:, :, None, :, :, None]
    else:
        weight, order = np.zeros((K, OH, OW, C, kH, kW), kernel.dtype), (1, 2, 0, 3, 4, 5)
        mask = connected[None, :, :, None]
    weight[np.broadcast_to(mask, weight.shape)] = kernel
    return weight.transpose(order)


def _connected(g):
    """Whether there is an input under a tap: (OH, OW, kH, kW)."""
    rows, cols = (axis.position(np.arange(axis.out)[:, None], np.arange(axis.kernel)) for axis in (g.rows, g.cols))
    inside = [(at >= 0) & (at < axis.size) for at, axis in ((rows, g.rows), (cols, g.cols))]
    return inside[0][:, None, :, None] & inside[1][None, :, None, :]


def _checked(name, array, shape):
    if array.shape != shape:
        raise ShapeError(
            f"{name} of Keras' LocallyConnected2D must have shape {shape} for this layer, got {array.shape}"
        )
    return array
