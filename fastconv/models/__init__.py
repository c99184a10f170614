"""Networks: functions that return modules with freshly drawn weights."""

from fastconv.models.cifar_small import cifar_small
from fastconv.models.digits_net import digits_net
from fastconv.models.lenet5 import lenet5

__all__ = ["cifar_small", "digits_net", "lenet5"]
