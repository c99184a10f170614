"""Whole networks: the data, the weights that everybody starts from, and the answer in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fastconv import arrays, models, nn, rng
from fastconv.bench.cases import NetworkCase
from fastconv.bench.workloads import network_exact, parts
from fastconv.bench.workloads.workload import LAYOUTS
from fastconv.dtypes import FLOAT_TYPES

LOSS, LOGITS = "loss", "logits"
# Units of u times the length of an answer. Rounding alone gives some ten of them. But in large networks it moves a few
# of a million values over the edge of a rectifier or past one another under a pooling, whose whole gradient then goes
# elsewhere: up to 0.1 % of the length in AlexNet, 0.4 % in VGG-11, in one library or the other, and 1 % where it is a
# unit of a large layer that is fully connected. 3 % are allowed; what is wired wrongly is off by much more.
TOLERANCE, TOLERANCE_OF_GRADIENTS = 2.0**10, 2.0**19
# What a step of training is told; the time does not depend on it, but weights must not grow without bound.
LEARNING_RATE, MOMENTUM = 1e-3, 0.9
# What is run before a peak of memory is read, so that loading code is not counted.
_REHEARSAL = NetworkCase("lenet5", "training", (1, 1, 28, 28), ("step", "forward"), (1,))


@dataclass(frozen=True, slots=True)
class NetworkWorkload:
    """A network in one direction: its images and labels, its weights, the answers by name, and what it costs.

    The answers of a step are the loss and the gradient of every parameter, with nothing dropped out; of inference the
    logits. ``flops`` are those of convolutions and fully connected layers, forward and, in a step, both gradients but
    the one of the images, which nobody computes.
    """

    multiplies: ClassVar[bool] = True
    measures_memory: ClassVar[bool] = True
    is_spatial: ClassVar[bool] = True
    case: NetworkCase
    direction: str
    dtype: str
    inputs: Mapping[str, np.ndarray]
    state: Mapping[str, np.ndarray]
    exact: Mapping[str, np.ndarray]
    flops: int
    layout: str = "nchw"

    @property
    def op(self) -> str:
        """What contestants are asked for: network_step or network_forward."""
        return f"{self.case.kind}_{self.direction}"

    @property
    def read(self) -> int:
        """Bytes of the images and weights, and of the momentum where there is one."""
        return sum(array.nbytes for array in self.inputs.values()) + self._weight_bytes * (1 + self._is_training)

    @property
    def written(self) -> int:
        """Bytes of the new weights and their momentum, or of the logits."""
        itemsize = FLOAT_TYPES[self.dtype].storage.itemsize
        return 2 * self._weight_bytes if self._is_training else self.exact[LOGITS].size * itemsize

    @property
    def held(self) -> int:
        """Bytes that must be moved: no cache holds a network from call to call."""
        return self.read + self.written

    @property
    def _is_training(self) -> bool:
        return self.direction == "step"

    @property
    def _weight_bytes(self) -> int:
        return sum(array.nbytes for array in self.state.values())

    def tolerance_of(self, answer: str) -> float:
        """The largest error of an answer, in units of u times its length."""
        return TOLERANCE if answer in (LOSS, LOGITS) else TOLERANCE_OF_GRADIENTS

    def in_layout(self, layout: str) -> NetworkWorkload:
        """The same work with images in another layout; weights stay as they are."""
        x = arrays.to_format(self.inputs["x"], LAYOUTS[layout])
        return replace(self, inputs={**self.inputs, "x": x}, layout=layout)

    def network(self) -> nn.Module:
        """A network of this package with the weights, in the mode that the direction asks for."""
        made = _model(self.case, self.dtype)
        made.load_state_dict(self.state)
        return made.train(self._is_training)

    def rehearsal(self) -> NetworkWorkload:
        """The same direction of a small network, without an answer."""
        return _drawn(_REHEARSAL, self.direction, self.dtype, np.random.default_rng(0)).in_layout(self.layout)


def make(case: NetworkCase, direction: str, dtype: str, generator: np.random.Generator) -> NetworkWorkload:
    """Data, weights and answers of a network."""
    drawn = _drawn(case, direction, dtype, generator)
    is_training = direction == "step"
    run = network_exact.Pass(drawn.state, is_training=is_training)
    x, labels = drawn.inputs["x"].astype(np.float64), drawn.inputs["labels"]
    logits, back = run.through(parts.of(drawn.network()), x)
    if not is_training:
        return replace(drawn, exact={LOGITS: logits}, flops=sum(run.products))
    loss, grad = network_exact.cross_entropy(logits, labels)
    back(grad)
    flops = 3 * sum(run.products) - run.products[0]
    return replace(drawn, exact={LOSS: np.asarray(loss), **run.grads}, flops=flops)


def _drawn(case, direction, dtype, generator):
    """Without answers."""
    model, storage = _model(case, dtype), FLOAT_TYPES[dtype].storage
    state = {name: _values(name, tensor.numpy(), generator) for name, tensor in model.state_dict().items()}
    last = [layer.module for layer in parts.layers(parts.of(model)) if layer.kind == "Linear"][-1]
    x = generator.standard_normal(case.x_shape, storage)
    labels = generator.integers(last.out_features, size=case.x_shape[0])
    return NetworkWorkload(case, direction, dtype, {"x": x, "labels": labels}, state, {}, 0)


def _model(case, dtype):
    """A network of this package; the weights that it draws leave the process's generator as it was."""
    before = rng.get_state()
    try:
        return getattr(models, case.name)(dtype=FLOAT_TYPES[dtype].storage)
    finally:
        rng.set_state(before)


def _values(name, array, generator):
    """Weights that keep the variance behind a rectifier; statistics and factors near those of fresh layers."""
    if array.ndim == 0:
        return array.copy()
    normal = generator.standard_normal(array.shape, array.dtype)
    if array.ndim > 1:
        return normal * np.sqrt(2 / np.prod(array.shape[1:])).astype(array.dtype)
    shift = 0 if name.endswith(("bias", "running_mean")) else 1
    return (shift + np.float32(0.1) * np.clip(normal, -3, 3)).astype(array.dtype)
