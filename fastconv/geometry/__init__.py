"""The only shape arithmetic: immutable, hashable descriptors of operations, each checked once; one idea per file."""

from fastconv.geometry.axes import AdaptiveAxis, Axis
from fastconv.geometry.convolution import Conv2dGeometry
from fastconv.geometry.local import LocalConv2dGeometry
from fastconv.geometry.padding import PaddedAxis, PadGeometry
from fastconv.geometry.passes import (
    ChannelsGeometry,
    ClassesGeometry,
    ElementsGeometry,
    PartGeometry,
    ResponseGeometry,
)
from fastconv.geometry.pooling import Pool2dGeometry
from fastconv.geometry.shapes import Shape, batched_shape

__all__ = [
    "AdaptiveAxis",
    "Axis",
    "ChannelsGeometry",
    "ClassesGeometry",
    "Conv2dGeometry",
    "ElementsGeometry",
    "LocalConv2dGeometry",
    "PadGeometry",
    "PaddedAxis",
    "PartGeometry",
    "Pool2dGeometry",
    "ResponseGeometry",
    "Shape",
    "batched_shape",
]
