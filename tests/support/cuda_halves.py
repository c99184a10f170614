"""Arrays of 16 bits a number in Numba's simulator: ``NUMBA_ENABLE_CUDASIM=1 python -m support.cuda_halves NAME``.

They are computed in float32: results are those of the reference on the same values, rounded once.
"""

import itertools
import sys

import ml_dtypes
import numpy as np
import pytest

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, nn
from fastconv._kernels import numba_cuda
from fastconv._kernels.contract import Kernel
from fastconv._kernels.numba_cuda import conv2d_sum, storage, tiles
from fastconv._kernels.numba_cuda.settings import SIMULATED
from fastconv.errors import DTypeError
from fastconv.geometry import ElementsGeometry
from support.cuda_arrays import HAS_GPU, DeviceAligned, DeviceFenced, a_gpu
from support.cuda_cases import CONVS, POOLS, TILED, VARIANTS
from support.cuda_check import shorten_runs
from support.data import FORMATS, assert_same_bits, integers, named_rng, on_host
from support.kernel_calls import (
    CONV_OPERATIONS,
    activations,
    geometry_of,
    integer_inputs,
    operand_shape,
    problem_of,
    run_fenced,
)

HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
FENCES = (DeviceAligned, DeviceFenced)
PASSES = {
    "relu_forward": ("x",),
    "relu_grad_input": ("grad_out", "out"),
    "add_relu_forward": ("x", "residual"),
    "accumulate_": ("addend", "total"),
}
# Beside what is representable: halfway between two numbers, to the even one; the largest; below the smallest normal.
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 1.0, 65504.0, 6e-8, -6.2e-5)
TO_ROUND = (2049.0, 2051.0, 257.0, 259.0, 65519.9, 65520.0, 3.4e38, 3e-8, 1e-40, 1 / 3, *SPECIAL)


def check(op, geometry, dtype, formats, inputs, fence=DeviceFenced, present=("bias", "offsets"), **asked):
    """One kernel call gives the bits of the reference's call in float32, rounded."""
    half = HALVES[dtype]
    given = {name: values if values.dtype.kind == "u" else values.astype(half) for name, values in inputs.items()}
    same = {name: values if values.dtype.kind == "u" else values.astype(np.float32) for name, values in given.items()}
    plain = problem_of(op, geometry, "float32", FORMATS[:1] * len(formats), present, activation=asked.get("activation"))
    expected = run_fenced("reference", op, plain, same)
    outputs = run_fenced("cuda", op, problem_of(op, geometry, dtype, formats, present, **asked), given, fence)
    assert outputs is not None, (op, geometry)
    for name, found in outputs.items():
        wanted = expected[name]
        wanted = wanted.astype(half) if wanted.dtype.kind == "f" else wanted
        assert_same_bits(one_nan(np.asarray(found)), one_nan(wanted), (op, dtype, formats, name))


def one_nan(array):
    """NaN is NaN, whatever its bits."""
    return np.where(array == array, array, array.dtype.type(np.nan)) if array.dtype.kind in "fV" else array


def present_in(case):
    return ("bias",) if case.bias else ()


def convolutions():
    """Each direction of each variant, in one dtype or the other, by vectors and without them."""
    shorten_runs()
    turns = itertools.cycle(itertools.product(HALVES, zip(FENCES, FORMATS, strict=True)))
    for op, (name, cases) in itertools.product(CONV_OPERATIONS, VARIANTS.items()):
        if name not in [variant.name for variant in numba_cuda.VARIANTS[op]]:
            continue
        activation = "relu" if op.endswith("forward") else None
        case, (dtype, (fence, layout)) = cases[0], next(turns)
        formats, inputs = (layout,) * len(activations(op)), integer_inputs(case, "float32")
        asked = {"present": present_in(case), "variant": name, "activation": activation}
        check(op, geometry_of(case), dtype, formats, inputs, fence, **asked)


def padding_modes():
    """Padding that repeats inputs: gradients are folded before they are rounded."""
    for case, dtype in zip(CONVS[-3:], ("float16", "bfloat16", "float16"), strict=True):
        for op in CONV_OPERATIONS[:2]:
            inputs, present = integer_inputs(case, "float32"), present_in(case)
            check(op, geometry_of(case), dtype, FORMATS[:1] * 2, inputs, present=present)


def runs():
    """Runs of terms are added up in float32: between them sums are larger than a half type has integers."""
    conv2d_sum.RUN_TERMS = tiles.DEPTH
    shorten_runs()
    geometry, rng = geometry_of(TILED[0]), named_rng("runs of halves")
    for (dtype, half), layout in itertools.product(HALVES.items(), FORMATS):
        largest = 60 if half == np.float16 else 15
        inputs = {
            name: integers(rng, operand_shape("conv2d_forward", geometry, name), "float32", largest)
            for name in ("x", "weight", "bias", "grad_out")
        }
        for op in CONV_OPERATIONS[:2]:
            check(op, geometry, dtype, (layout, layout), inputs, DeviceAligned, variant="tiled")


def infinite_weights():
    """Padding is not summed, so that it makes no NaN."""
    for case, (op, dtype) in itertools.product(
        (CONVS[0], VARIANTS["depthwise"][0]), zip(CONV_OPERATIONS[:2], HALVES, strict=True)
    ):
        inputs = dict(integer_inputs(case, "float32"))
        inputs["weight"] = inputs["weight"].copy()
        inputs["weight"][::2, :, 0] = np.inf
        problem = problem_of(op, geometry_of(case), dtype, FORMATS)
        taker = next(each.name for each in numba_cuda.VARIANTS[op] if isinstance(each.prepare(problem), Kernel))
        with np.errstate(invalid="ignore"):
            check(op, geometry_of(case), dtype, FORMATS[:1] * 2, inputs, variant=taker)


def pools():
    """Both directions in both formats."""
    for (case, layout), dtype in zip(itertools.product(POOLS, FORMATS), itertools.cycle(HALVES), strict=False):
        for op in ("max_pool2d_forward", "max_pool2d_grad_input"):
            check(op, geometry_of(case), dtype, (layout, layout), integer_inputs(case, "float32"))


def passes():
    """Rectifiers and sums of gradients, of any value."""
    rng = named_rng("passes over halves")
    for op, (dtype, fence) in itertools.product(PASSES, zip(HALVES, FENCES, strict=True)):
        geometry = ElementsGeometry((37,))
        inputs = {name: rng.choice(np.float32(SPECIAL), geometry.shape) for name in PASSES[op]}
        with np.errstate(over="ignore", invalid="ignore"):
            check(op, geometry, dtype, FORMATS[:1] * len(activations(op)), inputs, fence)


def rounding():
    """To the nearest number, of two the even one; what is too large is infinite, NaN stays NaN."""
    values = np.float32([*TO_ROUND, *(-value for value in TO_ROUND)])
    values = np.append(values, np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32))
    for dtype, half in HALVES.items():
        words = np.zeros(len(values), np.uint16)
        # In the simulator these are functions of Python.
        put, get = (getattr(storage.stored(dtype), name).py_func for name in ("put", "get"))
        for index, value in enumerate(values):
            put(words, index, value)
        with np.errstate(over="ignore", invalid="ignore"):
            expected = values.astype(half)
        np.testing.assert_array_equal(words.view(half).astype(float), expected.astype(float))
        numbers = np.float32([get(words, index) for index in range(len(words))])
        np.testing.assert_array_equal(numbers, expected.astype(np.float32))
        # All words are numbers that come back as they were, NaN apart.
        every = np.arange(1 << 16, dtype=np.uint16)[:: 1 if half == np.float16 else 7]
        for word in every[np.isfinite(every.view(half).astype(np.float32))][::11]:
            put(words, 0, get(np.array([word]), 0))
            assert words[0] == word


def users():
    """Arrays of a device in, arrays of that dtype out, and the gradients of Tensors, each rounded once."""
    rng = named_rng("users of halves")
    host = [rng.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (4,))]
    with a_gpu() as gpu:
        for half in HALVES.values():
            given = [arrays.moved(array.astype(half), gpu) for array in host]
            found = F.conv2d(*given, padding=1, activation="relu")
            assert arrays.device_of(found) == gpu
            assert_same_bits(on_host(found), F.conv2d(*host, padding=1, activation="relu").astype(half))
            pooled = (F.max_pool2d(x, 2, return_indices=True) for x in (host[0], given[0]))
            for expected, result in zip(*pooled, strict=True):
                np.testing.assert_array_equal(on_host(result).astype(float), expected.astype(float))
            (step,) = fc.explain(F.conv2d, *given[:2]).steps
            assert (step.dtype, step.nbytes) == (half.name, 2 * (host[0].size + host[1].size + 2 * 4 * 4 * 3))
            with pytest.raises(
                DTypeError, match=f"input has dtype {half.name}; supported are float32 and float64; float16"
            ):
                F.conv2d(*(array.astype(half) for array in host))


def networks():
    """A model in half types: results and gradients are those of float32, rounded where they are stored."""
    rng = named_rng("networks of halves")
    x = rng.integers(-3, 4, (1, 2, 4, 4)).astype(np.float32)
    weight, bias = rng.integers(-1, 2, (3, 2, 3, 3)).astype(np.float32), np.arange(3, dtype=np.float32)
    with a_gpu() as gpu:
        for dtype, half in HALVES.items():
            found = []
            for device, kind in (("cpu", "float32"), (gpu, dtype)):
                model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 1))
                model.load_state_dict({"0.weight": weight, "0.bias": bias})
                image = fc.tensor(x).to(device, kind).requires_grad_()
                out = model.to(device, kind)(image)
                assert (out.device, out.dtype.name) == (device, kind)
                out.backward(fc.tensor(np.ones(out.shape, np.float32)).to(device, kind))
                found.append([out, image.grad, *(parameter.grad for parameter in model.parameters())])
            for expected, result in zip(*found, strict=True):
                assert_same_bits(result.cpu().numpy(), expected.numpy().astype(half))
        assert_same_bits(fc.fuse(model)(image).cpu().numpy(), out.cpu().numpy())


CHECKS = {
    each.__name__: each
    for each in (convolutions, padding_modes, runs, infinite_weights, pools, passes, rounding, users, networks)
}


def main():
    assert HAS_GPU or SIMULATED
    if not sys.argv[1:]:
        print(*CHECKS, sep="\n")
    for name in sys.argv[1:]:
        CHECKS[name]()
        print("checked:", name)


if __name__ == "__main__":
    main()
