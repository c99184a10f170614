"""The tape: Tensor, Function, Context, no_grad, backward. It knows no operation and computes nothing of its own."""

from fastconv.autograd.function import Context, Function
from fastconv.autograd.modes import is_grad_enabled, no_grad
from fastconv.autograd.tensor import Tensor, Version, tensor, unwrap
from fastconv.autograd.walk import backward

__all__ = ["Context", "Function", "Tensor", "Version", "backward", "is_grad_enabled", "no_grad", "tensor", "unwrap"]

# The walk needs Tensor, and Tensor offers the walk: bound here, where both are known.
Tensor.backward = backward  # type: ignore[method-assign, assignment]
