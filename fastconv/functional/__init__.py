"""Operations on arrays and Tensors: arrays in, arrays out; a Tensor among the inputs gives a Tensor."""

import numpy as np

from fastconv.autograd import Tensor, walk
from fastconv.functional import passes
from fastconv.functional.adaptive_avg_pool2d import adaptive_avg_pool2d
from fastconv.functional.adaptive_max_pool2d import adaptive_max_pool2d
from fastconv.functional.arithmetic import add, div, in_place, mul, neg, pow, sub
from fastconv.functional.avg_pool2d import avg_pool2d
from fastconv.functional.batch_norm import batch_norm
from fastconv.functional.cat import cat
from fastconv.functional.compare import comparison
from fastconv.functional.conv2d import conv2d
from fastconv.functional.conv_transpose2d import conv_transpose2d
from fastconv.functional.cross_entropy import cross_entropy
from fastconv.functional.dropout import dropout, dropout2d
from fastconv.functional.hardtanh import hardtanh, relu6
from fastconv.functional.leaky_relu import leaky_relu
from fastconv.functional.linear import linear
from fastconv.functional.local_response_norm import local_response_norm
from fastconv.functional.locally_connected2d import locally_connected2d
from fastconv.functional.log_softmax import log_softmax
from fastconv.functional.matmul import matmul
from fastconv.functional.max_pool2d import max_pool2d
from fastconv.functional.max_unpool2d import max_unpool2d
from fastconv.functional.pad import pad
from fastconv.functional.place import cpu, cuda, to
from fastconv.functional.reduce import argmax, mean, sum
from fastconv.functional.relu import add_relu, relu
from fastconv.functional.shape import cast, flatten, getitem, permute, reshape, transpose
from fastconv.functional.sigmoid import sigmoid
from fastconv.functional.softmax import softmax
from fastconv.functional.tanh import tanh

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "add_relu",
    "argmax",
    "avg_pool2d",
    "batch_norm",
    "cast",
    "cat",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "div",
    "dropout",
    "dropout2d",
    "flatten",
    "getitem",
    "hardtanh",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "locally_connected2d",
    "log_softmax",
    "matmul",
    "max_pool2d",
    "max_unpool2d",
    "mean",
    "mul",
    "neg",
    "pad",
    "permute",
    "pow",
    "relu",
    "relu6",
    "reshape",
    "sigmoid",
    "softmax",
    "sub",
    "sum",
    "tanh",
    "transpose",
]


def _reflected(operation):
    return lambda self, other: operation(other, self)


# Gradients are added up by kernels, of which the tape knows nothing.
walk.accumulate_ = passes.accumulate_

# Tensor's operators are operations, and operations need Tensor: this is the one place where the two meet.
_METHODS = {
    "__add__": add,
    "__radd__": _reflected(add),
    "__sub__": sub,
    "__rsub__": _reflected(sub),
    "__mul__": mul,
    "__rmul__": _reflected(mul),
    "__truediv__": div,
    "__rtruediv__": _reflected(div),
    "__iadd__": in_place(add),
    "__isub__": in_place(sub),
    "__imul__": in_place(mul),
    "__itruediv__": in_place(div),
    "__matmul__": matmul,
    "__rmatmul__": _reflected(matmul),
    "__neg__": neg,
    "__pow__": pow,
    "__getitem__": getitem,
    "__eq__": comparison(np.equal),
    "__ne__": comparison(np.not_equal),
    "__lt__": comparison(np.less),
    "__le__": comparison(np.less_equal),
    "__gt__": comparison(np.greater),
    "__ge__": comparison(np.greater_equal),
    "argmax": argmax,
    "flatten": flatten,
    "mean": mean,
    "permute": permute,
    "relu": relu,
    "reshape": reshape,
    "sum": sum,
    "transpose": transpose,
    "T": property(lambda self: permute(self, *reversed(range(self.ndim)))),
}
_METHODS |= {_operation.__name__: _operation for _operation in (cpu, cuda, to)}
for _name, _operation in _METHODS.items():
    setattr(Tensor, _name, _operation)
