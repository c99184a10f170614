"""What a backend is: the operations, their operands, the descriptors that cross the border.

A backend is a plain module with one function, ``prepare(op, problem) -> Kernel | Declined``. It is asked once per
problem and the kernel is then called many times: ``kernel(*inputs, *outputs) -> status``.

Preconditions, checked by the caller: arrays on the backend's device (``settings`` in the memory of the host), dense in
one of the two memory formats (weights and biases in C order), one supported dtype, no overlap, exact shapes, no zero
extent. A kernel overwrites its outputs (copy_part a part of it), raises nothing, validates nothing and allocates no
output; ``bias`` and ``offsets`` are passed only where the problem says that they are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastconv.geometry import Pool2dGeometry

OK = 0
OUT_OF_MEMORY = 1
RELU = "relu"  # what is below zero becomes zero; NaN and -0.0 stay
RELU6 = "relu6"  # and what is above 6 becomes 6
ACTIVATIONS = (None, RELU, RELU6)
OFFSETS_DTYPES = ("uint8", "uint16", "uint32")
# Rows of the (rows, C) ``coefficients`` of batch normalisation: out = (x - mean) * scale + shift, and with statistics
# of its own grad_input = grad_out * scale - offset - (x - mean) * slope. Without ``x``, grad_input = grad_out * scale.
NORM_COEFFICIENTS = ("mean", "scale", "shift", "offset", "slope")
# Rows of the (rows, C) ``sums`` in float64: of grad_out, and of grad_out * (x - mean). A problem with an activation has
# grad_out pass where the output was not rectified.
NORM_SUMS = ("grad", "grad_times_distance")
# What passes are told is float64.
# An element stays where mix(mix(low ^ seed_low) + seed_high + MIX_HIGH * high), of the two words of its position in C
# order, is not below the threshold. In 32 bits mix(h) is h ^= h >> 16; h *= MIX_FIRST; h ^= h >> 15; h *= MIX_SECOND;
# h ^= h >> 16 (C. Wellons, "Prospecting for Hash Functions", 2018).
MIX_FIRST, MIX_SECOND, MIX_HIGH = 0x7FEB352D, 0x846CA68B, 0x9E3779B9
DROPOUT_SETTINGS = ("threshold", "scale", "seed_low", "seed_high")
# A value below the first becomes the first, one above the second the second; gradients pass where ``out`` is between.
HARDTANH_SETTINGS = ("min_val", "max_val")
# out = x / (k + alpha * s) ** beta, with s the sum of the squares over the channels that a channel sees.
RESPONSE_SETTINGS = ("alpha", "beta", "k")
# ``out`` of cross_entropy is that of log_softmax. A sample of class t has the loss -sum over c of share[c] * out[c],
# with share[c] = ((1 - smoothing) * (c == t) + smoothing / C) * class_weight[c], or, where t is no class, none.
CROSS_ENTROPY_SETTINGS = ("smoothing",)
# ``begins``: momentum_buffer is to be the gradient, whatever it holds.
SGD_SETTINGS = ("lr", "weight_decay", "momentum", "share", "nesterov", "begins")
ADAM_SETTINGS = ("step_size", "weight_decay", "shrink", "share", "keep_square", "share_square", "root", "eps")


@dataclass(frozen=True, slots=True)
class Operation:
    """Operand names in calling order."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional: tuple[str, ...] = ()


OPERATIONS = {
    "conv2d_forward": Operation(("x", "weight", "bias"), ("out",), optional=("bias",)),
    "conv2d_grad_input": Operation(("grad_out", "weight"), ("grad_input",)),
    "conv2d_grad_weight": Operation(("grad_out", "x"), ("grad_weight",)),
    "conv2d_grad_bias": Operation(("grad_out",), ("grad_bias",)),
    "locally_connected2d_forward": Operation(("x", "weight", "bias"), ("out",), optional=("bias",)),
    "locally_connected2d_grad_input": Operation(("grad_out", "weight"), ("grad_input",)),
    "locally_connected2d_grad_weight": Operation(("grad_out", "x"), ("grad_weight",)),
    "max_pool2d_forward": Operation(("x",), ("out", "offsets"), optional=("offsets",)),
    "max_pool2d_grad_input": Operation(("grad_out", "offsets"), ("grad_input",)),
    "avg_pool2d_forward": Operation(("x", "row_counts", "col_counts"), ("out",)),
    "avg_pool2d_grad_input": Operation(("grad_out", "row_counts", "col_counts"), ("grad_input",)),
    "batch_norm_statistics": Operation(("x",), ("mean", "variance")),
    "batch_norm_forward": Operation(("x", "coefficients", "residual"), ("out",), optional=("residual",)),
    "batch_norm_grad_sums": Operation(("grad_out", "x", "coefficients"), ("sums",)),
    "batch_norm_grad_input": Operation(("grad_out", "x", "coefficients"), ("grad_input",), optional=("x",)),
    "relu_forward": Operation(("x",), ("out",)),
    "relu_grad_input": Operation(("grad_out", "out"), ("grad_input",)),
    "add_relu_forward": Operation(("x", "residual"), ("out",)),
    "hardtanh_forward": Operation(("x", "settings"), ("out",)),
    "hardtanh_grad_input": Operation(("grad_out", "out", "settings"), ("grad_input",)),
    "local_response_norm_forward": Operation(("x", "settings"), ("out",)),
    "local_response_norm_grad_input": Operation(("grad_out", "x", "settings"), ("grad_input",)),
    "log_softmax_forward": Operation(("x",), ("out",)),
    "log_softmax_grad_input": Operation(("grad_out", "out"), ("grad_input",)),
    "cross_entropy_forward": Operation(("x", "target", "class_weight", "settings"), ("out", "losses")),
    "cross_entropy_grad_input": Operation(
        ("grad_losses", "out", "target", "class_weight", "settings"), ("grad_input",)
    ),
    "dropout": Operation(("x", "settings"), ("out",)),
    "copy_part": Operation(("x",), ("out",)),
    "accumulate_": Operation(("addend",), ("total",)),
    "sgd_step_": Operation(("grad", "settings"), ("parameter", "momentum_buffer"), optional=("momentum_buffer",)),
    "adam_step_": Operation(
        ("grad", "settings"), ("parameter", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"), optional=("max_exp_avg_sq",)
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """All that a kernel may specialise on.

    ``formats`` are the memory formats of the four-dimensional activations in operand order; ``offsets`` of a pooling
    have the format of its ``out``. ``row_counts`` (OH) and ``col_counts`` (OW) of an average have the dtype of its
    ``out``, which is divided by their products. ``optional`` names the optional operands that are present.
    ``activation``, None, RELU or (of conv2d_forward alone) RELU6, is applied to the result of conv2d_forward and
    batch_norm_forward before it is stored; in gradients of batch normalisation it says what followed forward.
    ``precision`` is one of fastconv.precision's.
    """

    geometry: Any  # one of those of fastconv.geometry, as the operation's name says
    dtype: str
    formats: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    variant: str | None = None
    activation: str | None = None
    precision: str = "strict"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One prepared computation.

    ``pack`` reorders a weight where the variant wants it packed; ``run_unpacked`` takes it as it is and gives the same
    result, for a weight that is used once. Kernels of one ``packing`` pack alike, and may share what one has packed.
    ``keeps`` holds what ``run`` knows by address only. ``precision`` is the strictest at which it is chosen unasked.
    ``choice`` says by what rule it runs, and why none does that is meant for such problems and was asked before it.
    """

    variant: str
    run: Callable[..., int]
    pack: Callable | None = None
    workspace_bytes: int = 0
    keeps: tuple = ()
    run_unpacked: Callable[..., int] | None = None
    packing: Any = None
    precision: str = "strict"
    choice: tuple[str, ...] = ()

    def __call__(self, *operands) -> int:
        """Run on inputs and outputs; returns OK or the code of what failed."""
        return self.run(*operands)


class Transformed(np.ndarray):
    """A packed weight that holds the ``weight`` itself, which its kernel reads where it must."""

    weight: np.ndarray

    @classmethod
    def of(cls, packed: np.ndarray, weight: np.ndarray) -> Transformed:
        """The same memory, with the weight."""
        made = packed.view(cls)
        made.weight = weight
        return made


@dataclass(frozen=True, slots=True)
class Declined:
    """This backend or variant will not run the problem; whether problems of its kind are what it is ``meant`` for."""

    reason: str
    meant: bool = False


@dataclass(frozen=True, slots=True)
class Variant:
    """One algorithm of an operation, callable by name."""

    name: str
    prepare: Callable[[Problem], Kernel | Declined]


def planned(variant: str, made: Any, build: Callable[[], Any]) -> Kernel | Declined:
    """The kernel of a plan: what ``build`` gives, which knows its ``scratch_bytes``; a text says why there is none."""
    if isinstance(made, str):
        return Declined(made)
    run = build()
    return Kernel(variant, run, workspace_bytes=run.scratch_bytes)


def first_accepting(variants: tuple[Variant, ...], problem: Problem) -> Kernel | Declined:
    """The kernel of the first variant in the ordered table that takes the problem."""
    reasons: list[str] = []
    told: list[str] = []
    for variant in variants:
        if problem.variant not in (None, variant.name):
            continue
        answer = variant.prepare(problem)
        if isinstance(answer, Kernel):
            return replace(answer, choice=(*told, *answer.choice)) if told else answer
        reasons.append(f"{variant.name}: {answer.reason}")
        if answer.meant:
            told.append(f"{variant.name} declines: {answer.reason}")
    known = ", ".join(variant.name for variant in variants)
    return Declined("; ".join(reasons) or f"no variant named {problem.variant!r}, there are: {known}")


def offsets_dtype(geometry: Pool2dGeometry) -> str:
    """The smallest unsigned dtype that counts the taps of a window."""
    if geometry.taps <= 1 << 8:
        return "uint8"
    return "uint16" if geometry.taps <= 1 << 16 else "uint32"
