"""Layers, containers and losses with torch's names, arguments and state-dict keys."""

from fastconv.nn import init
from fastconv.nn.activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from fastconv.nn.batch_norm import BatchNorm1d, BatchNorm2d
from fastconv.nn.container import Sequential
from fastconv.nn.conv import Conv2d
from fastconv.nn.dropout import Dropout
from fastconv.nn.flatten import Flatten
from fastconv.nn.fusion import fuse
from fastconv.nn.linear import Identity, Linear
from fastconv.nn.loss import CrossEntropyLoss
from fastconv.nn.module import Module
from fastconv.nn.parameter import Parameter
from fastconv.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "fuse",
    "init",
]
