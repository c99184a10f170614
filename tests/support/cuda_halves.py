"""Arrays of 16 bits a number: ``python -m support.cuda_halves NAME``; simulated with ``NUMBA_ENABLE_CUDASIM=1``.

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
from fastconv._kernels.numba_cuda.settings import SIMULATED
from fastconv.errors import DTypeError
from fastconv.geometry import Conv2dGeometry, ElementsGeometry
from support.cuda_arrays import HAS_GPU, DeviceAligned, DeviceFenced, a_gpu
from support.cuda_cases import CONVS, POOLS, TILED, VARIANTS
from support.cuda_check import shorten_runs
from support.data import FORMATS, assert_same_bits, integers, named_rng, on_host
from support.kernel_calls import (
    CONV_CASES,
    CONV_OPERATIONS,
    POOL_CASES,
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
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 1.0, 65504.0, 6e-8, -6.2e-5)
# Two numbers whose sum is halfway between two others, or beside that, too large, or too small for a normal number.
TO_ROUND = (
    *((2048, 1), (2048, 3), (256, 1), (256, 3), (1, 2.0**-11), (1, 2.0**-8), (1, 3 * 2.0**-8), (1, 2.0**-7), (3, 0.01)),
    *((65504, 15), (65504, 16), (3.38e38, 1e36), (3.38e38, 3e36), (2.0**-24, 2.0**-23), (1e-40, 1e-38), (1 / 3, 1e-4)),
    *((np.nan, 1), (np.inf, 1), (np.inf, -np.inf), (-0.0, -0.0)),
)


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
        assert_same_bits(one_nan(on_host(found)), one_nan(wanted), (op, dtype, formats, name))


def one_nan(array):
    """NaN is NaN, whatever its bits."""
    return np.where(array == array, array, array.dtype.type(np.nan)) if array.dtype.kind in "fV" else array


def present_in(case):
    """The optional operands of a case."""
    return ("bias", "offsets") if getattr(case, "bias", True) else ("offsets",)


def convolutions():
    """Each direction of each variant, in one dtype or the other, by vectors and without them."""
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
    """To the nearest number, of two the even one; what is too large is infinite, and every number stays what it is."""
    for dtype, half in HALVES.items():
        with np.errstate(over="ignore"):
            pairs = np.concatenate([np.float32(TO_ROUND), -np.float32(TO_ROUND)]).astype(half)
        x = pairs.T.reshape(1, 2, 1, -1)
        geometry = Conv2dGeometry.of(x.shape, (1, 2, 1, 1))
        inputs = {"x": x, "weight": np.ones(geometry.weight_shape, np.float32)}
        with np.errstate(over="ignore", invalid="ignore"):
            check("conv2d_forward", geometry, dtype, FORMATS[:1] * 2, inputs, present=())
            words = np.arange(0, 1 << 16, 97 if SIMULATED else 1, dtype=np.uint16)
            check("relu_forward", ElementsGeometry(words.shape), dtype, FORMATS[:1] * 2, {"x": words.view(half)})


def users():
    """Arrays of a device in, arrays of that dtype out, and the gradients of Tensors, each rounded once."""
    rng = named_rng("users of halves")
    host = [rng.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (4,))]
    for half in HALVES.values():
        with a_gpu() as gpu:
            given = [arrays.moved(array.astype(half), gpu) for array in host]
            found = F.conv2d(*given, padding=1, activation="relu")
            assert arrays.device_of(found) == gpu
            assert_same_bits(on_host(found), F.conv2d(*host, padding=1, activation="relu").astype(half))
            (out, indices), expected = (F.max_pool2d(array[0], 2, return_indices=True) for array in (given, host))
            assert_same_bits(on_host(out), expected[0].astype(half))
            assert_same_bits(on_host(indices), expected[1])
            (step,) = fc.explain(F.conv2d, *given[:2]).steps
        assert (step.dtype, step.nbytes) == (half.name, 2 * (host[0].size + host[1].size + 2 * 4 * 4 * 3))
        with pytest.raises(DTypeError, match=f"input has dtype {half.name}; supported are float32 and .*; float16"):
            F.conv2d(*(array.astype(half) for array in host))


def networks():
    """A model in half types: results and gradients are those of float32, rounded where they are stored."""
    rng = named_rng("networks of halves")
    x = rng.integers(-3, 4, (1, 2, 4, 4)).astype(np.float32)
    weight, bias = rng.integers(-1, 2, (3, 2, 3, 3)).astype(np.float32), np.arange(3, dtype=np.float32)
    with a_gpu() as gpu:
        for dtype, half in HALVES.items():
            found = []
            for device, kind in ((arrays.HOST, "float32"), (gpu, dtype)):
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


def cases():
    """Every case of the CPU's kernels, in every variant and both formats, with vectors and without: for real GPUs."""
    operations = [*itertools.product(CONV_OPERATIONS, CONV_CASES)]
    operations += itertools.product(("max_pool2d_forward", "max_pool2d_grad_input"), POOL_CASES)
    for (op, case), dtype, layout in itertools.product(operations, HALVES, FORMATS):
        formats, inputs, present = (layout,) * len(activations(op)), integer_inputs(case, "float32"), present_in(case)
        for variant, fence in itertools.product((each.name for each in numba_cuda.VARIANTS[op]), FENCES):
            problem = problem_of(op, geometry_of(case), dtype, formats, present, variant)
            if isinstance(numba_cuda.prepare(op, problem), Kernel):
                check(op, geometry_of(case), dtype, formats, inputs, fence, present, variant=variant)


CHECKS = {
    check.__name__: check
    for check in (
        *(convolutions, padding_modes, runs, infinite_weights),
        *(pools, passes, rounding, users, networks, cases),
    )
}


def main():
    assert HAS_GPU or SIMULATED
    if sys.argv[1:] != [cases.__name__]:
        # Before the first kernel is made, which has the length of runs in its code.
        shorten_runs()
    for name in sys.argv[1:]:
        CHECKS[name]()
        print("checked:", name)


if __name__ == "__main__":
    main()
