"""What contestants are given and what they are checked against."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from fastconv import arrays
from fastconv.bench.cases import RECTIFIED, SUBNORMAL, SUBNORMAL_WEIGHTS, WIDE, Case
from fastconv.dtypes import FLOAT_TYPES

# The user's names of the memory formats.
LAYOUTS = {"nchw": arrays.CONTIGUOUS, "channels_last": arrays.CHANNELS_LAST}
ACTIVATIONS = ("x", "grad_out", "residual")
# NumPy's names of the padding modes.
NUMPY_MODES: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
# Zero-mean data stays within 16 u forward and 32 u in grad_weight, transforms within 64 u; a missing term does not.
TOLERANCE = 64.0
# Sums of integers are exact below this, unless something less exact than "high" was asked for.
INTEGER_SUMS = 1 << 18
_LARGEST_INTEGER = 16
# Wide data is multiplied by 2 to a power up to this, or down to its negative.
_OCTAVES = 12.0


@dataclass(frozen=True, slots=True)
class Workload:
    """One case in one direction: its data, the answer in float64, and what it costs.

    ``scale`` is the sum of the magnitudes of what each element of ``exact`` sums; errors are counted in units of
    u · scale, and more than ``tolerance`` of them are a wrong result. Inputs named in ``saved`` were read before: what
    is kept of them is not counted; those in ``read_twice`` must be seen whole before the first result can be computed.
    Where results are written over inputs, ``in_place``, no further memory holds them. ``flops`` are multiplications and
    additions, or, where the multiply-add peak is no limit and nothing ``multiplies``, comparisons, additions alone or,
    of a pass, its values.
    """

    measures_memory: ClassVar[bool] = False
    case: Case
    direction: str
    dtype: str
    geometry: Any
    inputs: Mapping[str, np.ndarray]
    exact: np.ndarray
    scale: np.ndarray
    flops: int
    multiplies: bool = True
    tolerance: float = TOLERANCE
    saved: tuple[str, ...] = ()
    read_twice: tuple[str, ...] = ()
    in_place: bool = False
    layout: str = "nchw"

    @property
    def op(self) -> str:
        """What contestants are asked for: conv2d_forward, max_pool2d_grad_input, ..."""
        return f"{self.case.kind}_{self.direction}"

    @property
    def read(self) -> int:
        """Bytes of the inputs that must be read, as often as they must be."""
        return self._input_bytes + sum(self.inputs[name].nbytes for name in self.read_twice)

    @property
    def written(self) -> int:
        """Bytes of the output."""
        return self.exact.size * FLOAT_TYPES[self.dtype].storage.itemsize

    @property
    def held(self) -> int:
        """Bytes of all arrays, each once: a cache that holds these may serve every read and write."""
        return self._input_bytes + (0 if self.in_place else self.written)

    @property
    def _input_bytes(self) -> int:
        return sum(array.nbytes for name, array in self.inputs.items() if name not in self.saved)

    @property
    def gives_activations(self) -> bool:
        """Whether the result has a layout, as the gradient of a weight has not."""
        return self.exact.ndim == 4 and self.direction != "grad_weight"

    @property
    def is_spatial(self) -> bool:
        """Whether the data has a layout at all."""
        return any(self.inputs[name].ndim == 4 for name in ACTIVATIONS if name in self.inputs)

    def in_layout(self, layout: str) -> Workload:
        """The same work with activations in another layout, there and back; weights stay as they are."""
        inputs = {
            name: arrays.to_format(array, LAYOUTS[layout])
            if array.ndim == 4 and not name.startswith("weight")
            else array
            for name, array in self.inputs.items()
        }
        return replace(self, inputs=inputs, layout=layout)


def draw(case: Case, dtype: str, rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Standard normal data by name; of a case of subnormal numbers the first array, or the weight, is scaled below.

    Activations of other cases are rectified, or wide: scaled by 2 to a random power each.
    """
    storage = FLOAT_TYPES[dtype].storage
    found = {name: rng.standard_normal(shape, storage) for name, shape in shapes.items()}
    for name in filter(ACTIVATIONS.__contains__, found):
        if case.values == RECTIFIED:
            np.maximum(found[name], 0, out=found[name])
        elif case.values == WIDE:
            found[name] *= np.exp2(rng.uniform(-_OCTAVES, _OCTAVES, shapes[name])).astype(storage)
    scaled = {SUBNORMAL: next(iter(found), ""), SUBNORMAL_WEIGHTS: "weight"}.get(case.values)
    if scaled in found:
        found[scaled] *= np.finfo(storage).tiny / 8
    return found


def draw_integers(
    dtype: str, rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]], terms: int
) -> dict[str, np.ndarray]:
    """Integers by name, so small that sums of ``terms`` products stay below INTEGER_SUMS, if there are such."""
    most = min(max(math.isqrt(INTEGER_SUMS // terms), 1), _LARGEST_INTEGER)
    storage = FLOAT_TYPES[dtype].storage
    return {name: rng.integers(-most, most, shape, endpoint=True).astype(storage) for name, shape in shapes.items()}


def widened(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data in float64, in which the answer is computed."""
    return {name: array.astype(np.float64) for name, array in inputs.items()}


def magnitudes(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data without signs: the same computation then gives the sum of magnitudes."""
    return {name: np.abs(array) for name, array in inputs.items()}
