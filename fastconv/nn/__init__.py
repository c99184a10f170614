"""Layers, containers and losses with torch's names, arguments and state-dict keys."""

from fastconv.nn import init
from fastconv.nn.activation import Hardtanh, LeakyReLU, LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from fastconv.nn.batch_norm import BatchNorm1d, BatchNorm2d
from fastconv.nn.container import Sequential
from fastconv.nn.conv import Conv2d
from fastconv.nn.conv_transpose import ConvTranspose2d
from fastconv.nn.dropout import Dropout, Dropout2d
from fastconv.nn.flatten import Flatten
from fastconv.nn.freezing import freeze, unfreeze
from fastconv.nn.fully_convolutional import fully_convolutional
from fastconv.nn.fusion import fuse
from fastconv.nn.heads import head_names, replace_head
from fastconv.nn.linear import Identity, Linear
from fastconv.nn.local_response_norm import LocalResponseNorm
from fastconv.nn.locally_connected import LocallyConnected2d
from fastconv.nn.loss import CrossEntropyLoss
from fastconv.nn.module import Module
from fastconv.nn.padding import ZeroPad2d
from fastconv.nn.parameter import Parameter
from fastconv.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LocallyConnected2d",
    "LogSoftmax",
    "MaxPool2d",
    "MaxUnpool2d",
    "Module",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "ZeroPad2d",
    "freeze",
    "fully_convolutional",
    "fuse",
    "head_names",
    "init",
    "replace_head",
    "unfreeze",
]
