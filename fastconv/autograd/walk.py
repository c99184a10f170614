"""backward: the walk over the tape from one Tensor to the leaves."""

from __future__ import annotations

import numpy as np

from fastconv import arrays
from fastconv.autograd.function import Node
from fastconv.autograd.tensor import Tensor, unwrap
from fastconv.errors import DTypeError, ShapeError


def backward(root: Tensor, gradient=None, *, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) * gradient to the ``grad`` of every leaf.

    ``gradient`` may be left out for one element. Before any gradient is changed, raises ShapeError or DTypeError where
    it does not fit, and RuntimeError for a second walk without ``retain_graph`` or a saved Tensor that was changed in
    place.
    """
    if not root._requires_grad:
        raise RuntimeError("this Tensor does not require grad and was not made by a recorded operation")
    seed = _seed(root, gradient)
    if root._node is None:
        _accumulate_leaf(root, seed, owned=False)
        return
    pending = {root._node: [None] * len(root._node.outputs)}
    pending[root._node][root._output] = seed
    owned: set[tuple[Node, int]] = set()
    order = _topological(root._node)
    for node in order:
        node.check()
    for node in order:
        grads = pending.pop(node, None)
        if grads is None:
            continue
        results = node.gradients(grads)
        for edge, result in zip(node.edges, results, strict=True):
            if edge is not None:
                _deliver(edge, result, _is_fresh(result, results, grads), pending, owned)
        if not retain_graph:
            node.context = None


def _seed(root, gradient):
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError(f"grad can be implicitly created only for scalar outputs, got shape {root.shape}")
        return np.ones(root.shape, root.dtype)
    gradient = arrays.as_array(unwrap(gradient), "gradient")
    if gradient.shape != root.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, the Tensor has shape {root.shape}")
    if gradient.dtype != root.dtype:
        raise DTypeError(f"mixed dtypes: gradient is {gradient.dtype}, the Tensor is {root.dtype}")
    return gradient


def _topological(root: Node) -> list[Node]:
    """Every node reachable from root, users before what they use."""
    order, seen, stack = [], {root}, [(root, iter(root.edges))]
    while stack:
        edges = stack[-1][1]
        child = next((e.node for e in edges if e is not None and e.node is not None and e.node not in seen), None)
        if child is None:
            order.append(stack.pop()[0])
        else:
            seen.add(child)
            stack.append((child, iter(child.edges)))
    return order[::-1]


def _deliver(edge, grad, fresh, pending, owned):
    if edge.leaf is not None:
        _accumulate_leaf(edge.leaf, grad, fresh)
        return
    slots = pending.setdefault(edge.node, [None] * len(edge.node.outputs))
    key = (edge.node, edge.output)
    present = slots[edge.output]
    if present is None:
        slots[edge.output] = grad
        if fresh:
            owned.add(key)
        return
    if key not in owned:
        slots[edge.output] = present = present.copy(order="K")
        owned.add(key)
    arrays.accumulate_(present, grad)


def _accumulate_leaf(leaf, grad, owned):
    if leaf.grad is None:
        leaf.grad = Tensor(grad if owned else grad.copy(order="K"))
    else:
        arrays.accumulate_(leaf.grad._array, grad)
        leaf.grad.bump_version()


def _is_fresh(result, results, grads):
    """Whether nobody else holds this array: not an incoming gradient, not a view, not returned twice."""
    shared = result.base is not None or not result.flags.writeable or any(result is grad for grad in grads)
    return not shared and sum(result is other for other in results) == 1
