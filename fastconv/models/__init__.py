"""Networks: functions that return modules, with freshly drawn weights or those of a file."""

from fastconv.models.alexnet import alexnet
from fastconv.models.cifar_small import cifar_small
from fastconv.models.digits_net import digits_net
from fastconv.models.lenet5 import lenet5
from fastconv.models.registry import Preprocessing, create, names, preprocessing
from fastconv.models.resnet import resnet18
from fastconv.models.vgg import vgg11

__all__ = [
    "Preprocessing",
    "alexnet",
    "cifar_small",
    "create",
    "digits_net",
    "lenet5",
    "names",
    "preprocessing",
    "resnet18",
    "vgg11",
]
