"""The graphs that come with the package onnx, as descriptions of four networks by somebody else."""

from collections import Counter
from pathlib import Path

import pytest

import fastconv as fc
from fastconv import models, nn

pytestmark = pytest.mark.oracle

# What differs: the only such layers of theirs, and of ours.
LAST_POOL_OF_ALEXNET = (
    ("MaxPool", (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 256, 6, 6)),
    ("MaxPool", (3, 3), (2, 2), ((0, 0), (0, 0)), (1, 256, 5, 5)),
)


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx")


def graph(onnx, name):
    """The nodes, and the shapes of all tensors, of which the weights' are given and the others inferred."""
    from onnx.backend.test import __file__ as package

    path = Path(package).parent / "data" / "light" / f"light_{name}.onnx"
    found = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    told = [*found.value_info, *found.input, *found.output]
    shapes = {item.name: tuple(extent.dim_value for extent in item.type.tensor_type.shape.dim) for item in told}
    return found.node, shapes


def described(onnx, nodes, shapes):
    """What layers are: kind, weight, bias or none, groups, stride, pads, output."""
    layers = Counter()
    for node in nodes:
        volume = shapes.get(node.output[0])
        given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        stride, pads = tuple(given.get("strides", ())), given.get("pads", [0, 0, 0, 0])
        padding = (pads[0], pads[2]), (pads[1], pads[3])
        if node.op_type == "Conv":
            sizes = shapes[node.input[1]], len(node.input) == 3, given.get("group", 1)
            layers["Conv", *sizes, stride, padding, volume] += 1
        elif node.op_type == "Gemm":
            layers["Gemm", shapes[node.input[1]], len(node.input) == 3, volume] += 1
        elif node.op_type == "MaxPool":
            layers["MaxPool", tuple(given["kernel_shape"]), stride, padding, volume] += 1
        elif node.op_type == "BatchNormalization":
            layers["BatchNormalization", shapes[node.input[1]], round(given["epsilon"], 9), volume] += 1
    return layers


def described_by_summary(name, image):
    """The same of ours."""
    with nn.init.skipped():
        model = models.create(name)
    modules, layers = dict(model.named_modules()), Counter()
    for layer in fc.summary(model, image).layers:
        module = modules[layer.name]
        if isinstance(module, nn.Conv2d):
            sizes = module.weight.shape, module.bias is not None, module.groups
            layers["Conv", *sizes, layer.stride, layer.padding, layer.volume] += 1
        elif isinstance(module, nn.Linear):
            layers["Gemm", module.weight.shape, module.bias is not None, layer.volume] += 1
        elif isinstance(module, nn.MaxPool2d):
            layers["MaxPool", layer.filter_size, layer.stride, layer.padding, layer.volume] += 1
        elif isinstance(module, nn.BatchNorm2d):
            layers["BatchNormalization", module.weight.shape, module.eps, layer.volume] += 1
    return layers


@pytest.mark.parametrize(
    ("name", "file", "count", "differing"),
    [
        ("resnet50", "resnet50", 53 + 53 + 1 + 1, None),
        ("vgg19", "vgg19", 16 + 5 + 3, None),
        ("squeezenet1_1", "squeezenet", 26 + 3, None),
        # Theirs is given images of 224, without padding, and pads the last pooling instead.
        ("alexnet_2012", "bvlc_alexnet", 5 + 3 + 3, LAST_POOL_OF_ALEXNET),
    ],
)
def test_layers_are_those_of_the_graph(onnx, name, file, count, differing):
    theirs, ours = described(onnx, *graph(onnx, file)), described_by_summary(name, (3, 224, 224))
    assert theirs.total() == ours.total() == count
    if differing is not None:
        only_theirs, only_ours = differing
        theirs -= Counter([only_theirs])
        ours -= Counter([only_ours])
        assert theirs.total() == ours.total() == count - 1
    assert theirs == ours


def test_normalisation_of_the_alexnet_in_the_graph_differs_from_the_papers(onnx):
    nodes, _ = graph(onnx, "bvlc_alexnet")
    theirs = [
        {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        for node in nodes
        if node.op_type == "LRN"
    ]
    with nn.init.skipped():
        model = models.alexnet_2012()
    ours = [module for module in model.modules() if isinstance(module, nn.LocalResponseNorm)]
    assert [(given["size"], given["beta"]) for given in theirs] == [(module.size, module.beta) for module in ours]
    # Caffe's k is 1, and it divides an alpha by 5 that the paper does not divide.
    assert {(given["bias"], round(given["alpha"], 7)) for given in theirs} == {(1.0, 1e-4)}
    assert {(module.k, module.alpha) for module in ours} == {(2.0, 5e-4)}
