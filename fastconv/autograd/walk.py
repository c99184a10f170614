"""backward: the walk over the tape from one Tensor to the leaves."""

from __future__ import annotations

import threading

import numpy as np

from fastconv import arrays, device_arrays
from fastconv.autograd.function import Context, Node
from fastconv.autograd.tensor import Tensor, unwrap
from fastconv.errors import DTypeError, ShapeError

# ``functional`` puts the pass of its kernels in its place.
accumulate_ = arrays.accumulate_
# Several Python threads may walk to the same leaves.
_committing = threading.Lock()
# Of several walks without ``retain_graph`` over one node, one alone finds what it saved.
_claiming = threading.Lock()


def backward(root: Tensor, gradient=None, *, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf) * gradient to the ``grad`` of every leaf.

    ``gradient`` may be left out for one element. Before any gradient is changed, raises ShapeError, DTypeError or
    DeviceError where it does not fit, and RuntimeError for a second walk without ``retain_graph`` or a saved Tensor
    that was changed in place. What was saved is freed as the walk passes it, unless ``retain_graph``; a walk that fails
    on its way changes no gradient, but only with ``retain_graph`` can it be repeated.
    """
    if not root._requires_grad:
        raise RuntimeError("this Tensor does not require grad and was not made by a recorded operation")
    seed = _seed(root, gradient)
    with device_arrays.beside(root._array):
        if root._node is None:
            _commit([(root, seed, False)], None)
        else:
            _walk(root, seed, retain_graph)


def _walk(root: Tensor, seed, retain_graph: bool) -> None:
    order = _topological(root._node)
    contexts = _claimed(order, retain_graph)
    gradients = _Gradients()
    gradients.add((root._node, root._output), seed, fresh=False)
    leaves: dict[int, Tensor] = {}
    for node in order:
        # What the node before saved is free for the gradients to come.
        context = contexts.pop()
        grads = [gradients.take((node, output)) for output in range(len(node.outputs))]
        if any(grad is not None for grad in grads):
            gradients.add_all(node, context, grads, leaves)
    # No gradient that anyone can see has been changed so far: a kernel that failed leaves them as they were.
    _commit([(leaf, *gradients.with_ownership(key)) for key, leaf in leaves.items()], gradients.kernels)


class _Gradients:
    """Sums of gradients on their way, by where they go; added up in place only where the walk owns the array.

    ``kernels`` are those of the last node that recorded some.
    """

    def __init__(self):
        self.kernels = None
        self._arrays: dict = {}
        self._owned: set = set()

    def add(self, key, grad, fresh):
        present = self._arrays.get(key)
        if present is None:
            self._arrays[key] = grad
            if fresh:
                self._owned.add(key)
            return
        if key not in self._owned:
            self._arrays[key] = present = present.copy(order="K")
            self._owned.add(key)
        accumulate_(present, grad, self.kernels)

    def add_all(self, node, context, grads, leaves):
        """The gradients of a node's inputs, given those of its outputs; enters the leaves among them."""
        results = node.gradients(context, grads)
        self.kernels = context.kernels or self.kernels
        for edge, result in zip(node.edges, results, strict=True):
            if edge is None:
                continue
            if edge.leaf is not None:
                leaves[id(edge.leaf)] = edge.leaf
            key = (edge.node, edge.output) if edge.leaf is None else id(edge.leaf)
            self.add(key, result, _is_fresh(result, results, grads, context))

    def take(self, key):
        return self._arrays.pop(key, None)

    def with_ownership(self, key):
        return self._arrays[key], key in self._owned


def _claimed(order: list[Node], retain_graph: bool) -> list[Context]:
    """What the nodes saved, that of the first one last; without ``retain_graph`` no other walk gets it any more."""
    with _claiming:
        for node in order:
            node.check()
        contexts = [node.context for node in reversed(order) if node.context is not None]
        if not retain_graph:
            for node in order:
                node.context = None
    return contexts


def _commit(gradients, kernels) -> None:
    """Add to every leaf's ``grad``, or to none where one of them holds something else."""
    with _committing:
        for leaf, grad, _ in gradients:
            held = leaf.grad
            if held is None:
                continue
            if not (isinstance(held, Tensor) and held.shape == grad.shape):
                raise ShapeError(
                    f"grad of a Tensor of shape {grad.shape} was set to {type(held).__name__} {np.shape(held)}"
                )
            if not np.can_cast(grad.dtype, held.dtype, "same_kind"):
                raise DTypeError(f"grad of a Tensor of dtype {grad.dtype} was set to a Tensor of dtype {held.dtype}")
            if not arrays.is_writeable(held._array):
                raise ValueError("grad was set to a Tensor that shows a read-only array")
            arrays.common_device(**{"grad of a Tensor": grad, "the Tensor that it was set to": held._array})
        for leaf, grad, owned in gradients:
            if leaf.grad is None:
                leaf.grad = Tensor(grad if owned else grad.copy(order="K"))
            else:
                accumulate_(leaf.grad._array, grad, kernels)
                leaf.grad.bump_version()


def _seed(root, gradient):
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError(f"grad can be implicitly created only for scalar outputs, got shape {root.shape}")
        with device_arrays.beside(root._array):
            return np.ones_like(root._array, order="C")
    gradient = arrays.as_array(unwrap(gradient), "gradient", anywhere=True)
    if gradient.shape != root.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, the Tensor has shape {root.shape}")
    if gradient.dtype != root.dtype:
        raise DTypeError(f"mixed dtypes: gradient is {gradient.dtype}, the Tensor is {root.dtype}")
    arrays.common_device(**{"gradient": gradient, "the Tensor": root._array})
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


def _is_fresh(result, results, grads, context):
    """Whether nobody else holds this memory: no incoming gradient, nothing saved, no other result."""
    if not arrays.is_writeable(result) or sum(result is other for other in results) > 1:
        return False
    others = [other for other in results if other is not None and other is not result]
    held = [other for other in (*grads, *context.saved) if other is not None]
    if any(result is other for other in held) or any(arrays.may_share_memory(result, other) for other in others):
        return False
    # A view shows memory that others may hold, too; arrays from kept memory are views of it.
    return result.base is None or not any(arrays.may_share_memory(result, other) for other in held)
