"""Networks: functions that return modules, with freshly drawn weights or those of a file."""

from fastconv.models.alexnet import alexnet
from fastconv.models.alexnet_2012 import alexnet_2012
from fastconv.models.cifar_small import cifar_small
from fastconv.models.digit_finder import digit_finder
from fastconv.models.digits_net import digits_net
from fastconv.models.googlenet import googlenet
from fastconv.models.inception_v3 import inception_v3
from fastconv.models.lenet5 import lenet5
from fastconv.models.mobilenet_v2 import mobilenet_v2
from fastconv.models.registry import Preprocessing, create, names, preprocessing
from fastconv.models.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from fastconv.models.squeezenet import squeezenet1_0, squeezenet1_1
from fastconv.models.vgg import vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "Preprocessing",
    "alexnet",
    "alexnet_2012",
    "cifar_small",
    "create",
    "digit_finder",
    "digits_net",
    "googlenet",
    "inception_v3",
    "lenet5",
    "mobilenet_v2",
    "names",
    "preprocessing",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "squeezenet1_0",
    "squeezenet1_1",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
]
