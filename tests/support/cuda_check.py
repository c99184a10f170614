"""Kernels for GPUs: ``python -m support.cuda_check NAME``; in Numba's simulator with ``NUMBA_ENABLE_CUDASIM=1``.

Without a name it prints all of them.
"""

import itertools
import sys

import numpy as np

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, nn
from fastconv._kernels import numba_cuda
from fastconv._kernels.contract import Kernel
from fastconv._kernels.numba_cuda import (
    conv2d_grads,
    conv2d_sum,
    conv2d_sums,
    conv2d_weight_sums,
    launch,
    machine,
    tiles,
)
from fastconv._kernels.numba_cuda.settings import SIMULATED
from fastconv.dtypes import FLOAT_TYPES
from support.cuda_arrays import HAS_GPU, DeviceAligned, DeviceFenced, a_gpu
from support.cuda_cases import CONVS, LOCALS, ORDERED, POOLS, TILED, VARIANTS, conv
from support.data import FORMATS, assert_same_bits, in_format, named_rng, on_host
from support.kernel_calls import (
    CONV_CASES,
    CONV_OPERATIONS,
    LOCAL_OPERATIONS,
    POOL_CASES,
    POOL_OPERATIONS,
    activations,
    assert_exact,
    geometry_of,
    problem_of,
    reference_outputs,
    run_fenced,
)

_OPTIONS = {"bias", "offsets"}


def exact(op, case, dtype, formats, activation=None, changed=None, fence=DeviceFenced, variant=None):
    """One kernel call gives the reference's bits; ``changed`` replaces some inputs."""
    inputs, expected = reference_outputs(case, dtype, op, activation)
    present = _OPTIONS if getattr(case, "bias", True) else {"offsets"}
    problem = problem_of(op, geometry_of(case), dtype, formats, present, variant, activation)
    if changed:
        inputs = inputs | changed
        plain = problem_of(op, geometry_of(case), dtype, FORMATS[:1] * len(formats), present, activation=activation)
        expected = run_fenced("reference", op, plain, inputs)
    outputs = run_fenced("cuda", op, problem, inputs, fence)
    assert outputs is not None, (op, case.name)
    for name, found in outputs.items():
        if changed:  # NaN is NaN, whatever its sign
            np.testing.assert_array_equal(np.asarray(found), expected[name], err_msg=f"{op} {name}")
        else:
            assert_same_bits(found, expected[name], (op, case.name, dtype, formats, name))


def all_cases(op):
    """Every case, each in another combination of formats than the one before; float64 and the rectifier in turn."""
    several = list(itertools.product(FORMATS, repeat=len(activations(op))))
    for index, case in enumerate(CONVS):
        activation = (None, "relu", "relu6")[index % 3] if op.endswith("forward") else None
        exact(op, case, "float64" if index % 3 == 2 else "float32", several[index % len(several)], activation)


def pools():
    """Both directions in both formats."""
    for case, layout in itertools.product(POOLS, FORMATS):
        for op in ("max_pool2d_forward", "max_pool2d_grad_input"):
            exact(op, case, "float32", (layout, layout))


def unshared():
    """Weights that are not shared: every direction in mixed formats, with and without what is special."""
    several = list(itertools.product(FORMATS, repeat=2))
    for (index, case), op in itertools.product(enumerate(LOCALS), LOCAL_OPERATIONS):
        activation = "relu" if op.endswith("forward") and index % 2 else None
        exact(op, case, tuple(FLOAT_TYPES)[index % 2], several[index % len(several)], activation)
    case = LOCALS[0]
    for op in LOCAL_OPERATIONS:
        inputs = reference_outputs(case, "float32", op)[0]
        for name in ("x", "weight", "grad_out"):
            special = inputs[name].copy()
            special.flat[:: 1 + special.size // 3] = np.nan, np.inf, -np.inf
            with np.errstate(invalid="ignore"):
                exact(op, case, "float32", FORMATS[:1] * 2, changed={name: special})


def every_tile():
    """Large tiles, which small problems do not ask for, and their vectors."""
    for dtype in FLOAT_TYPES:
        for index, tile in enumerate(tiles.TILES[dtype]):
            conv2d_sums.tile_for = conv2d_grads.tile_for = lambda *sizes, tile=tile: tile
            for op, layout in zip(("conv2d_forward", "conv2d_grad_weight"), (FORMATS * 2)[index % 2 :], strict=False):
                exact(op, TILED[0], dtype, (layout, layout), fence=DeviceAligned, variant="tiled")


def variant(name):
    """A variant in every direction that has it, on what it is for, with vectors and without them."""
    shorten_runs()
    for op, case in itertools.product(CONV_OPERATIONS, VARIANTS[name]):
        if name not in [variant.name for variant in numba_cuda.VARIANTS[op]]:
            continue
        activation = "relu" if op.endswith("forward") else None
        for fence, layout in zip((DeviceAligned, DeviceFenced), FORMATS, strict=True):
            formats = (layout,) * len(activations(op))
            exact(op, case, "float32", formats, activation, fence=fence, variant=name)


def split_sums():
    """A sum that several blocks share has the bits of one that a single block takes, rounding errors included."""
    shorten_runs()
    for op in CONV_OPERATIONS[:2]:
        for case in VARIANTS["split"]:
            inputs = normal(named_rng("split sums"), reference_outputs(case, "float32", op)[0])
            assert_same_bits(*(result(op, case, inputs, name) for name in ("split", "tiled")), (op, case.name))


def grouped_sums():
    """Sums of groups of few channels have the order, and the bits, of those of tiles."""
    for op, case in itertools.product(CONV_OPERATIONS[:2], VARIANTS["grouped"]):
        inputs = normal(named_rng("grouped sums"), reference_outputs(case, "float32", op)[0])
        assert_same_bits(*(result(op, case, inputs, name) for name in ("grouped", "tiled")), (op, case.name))


def long_sums():
    """Sums have the order of ``replayed``, in which rounding errors of zero-mean data are few units of u |W| |X|."""
    run_terms = conv2d_sum.RUN_TERMS
    shorten_runs()
    conv2d_grads._LEAST_PIXELS = 1 << 20  # one part, so that its sums are as long as they get
    rng, (forward, grad_weight) = named_rng("long sums"), ORDERED
    inputs = normal(rng, reference_outputs(forward, "float32", "conv2d_forward")[0])
    left, right = (inputs[name].transpose(2, 3, 1, 0).reshape(-1, len(inputs[name])) for name in ("weight", "x"))
    expected = replayed(left[:, None, :], right[:, :, None], conv2d_sum.RUN_TERMS)
    assert_same_bits(result("conv2d_forward", forward, inputs).reshape(expected.shape), expected)
    inputs = normal(rng, reference_outputs(grad_weight, "float32", "conv2d_grad_weight")[0])
    left, right = (inputs[name][0].reshape(inputs[name].shape[1], -1).T for name in ("grad_out", "x"))
    expected = replayed(left[:, :, None], right[:, None, :], conv2d_weight_sums.RUN_TERMS)
    assert_same_bits(result("conv2d_grad_weight", grad_weight, inputs).reshape(expected.shape), expected)
    for terms, most in ((4608, 16), (1 << 15, 32)):
        left, right = (rng.standard_normal((terms, *shape), np.float32) for shape in ((8, 1), (1, 8)))
        wide, size = (
            np.einsum("tmn,tnk->mk", left.astype(float), right.astype(float)),
            abs(left.T[0]) @ abs(right[:, 0]),
        )
        worst = np.max(np.abs(replayed(left, right, run_terms) - wide) / size) / FLOAT_TYPES["float32"].unit_roundoff
        assert 0 < worst <= most, (terms, worst)


def replayed(left, right, run_terms):
    """Σ left[t] * right[t] as kernels add it up: run by run of so many terms, each from zero."""
    total, runs = np.float32(0), []
    for t in range(len(left)):
        if t % run_terms == 0 and t:
            runs.append(total)
            total = np.float32(0)
        # A GPU rounds a product and the sum that it joins once.
        product = left[t].astype(float) * right[t] if HAS_GPU else left[t] * right[t]
        total = (total + product).astype(np.float32)
    return sum([*runs[1:], total], runs[0]) if runs else total


def normal(rng, inputs):
    """Other values for inputs: zero-mean ones, whose sums are rounded."""
    return {name: rng.standard_normal(values.shape, np.float32) for name, values in inputs.items()}


def result(op, case, inputs, variant=None):
    """The output of one call without a bias."""
    problem = problem_of(op, geometry_of(case), "float32", FORMATS[:1] * 2, (), variant)
    (found,) = run_fenced("cuda", op, problem, inputs, DeviceFenced).values()
    return np.asarray(found)


def shorten_runs():
    """Small sums have several runs."""
    conv2d_sum.RUN_TERMS = conv2d_sums.RUN_TERMS = conv2d_weight_sums.RUN_TERMS = 2 * tiles.DEPTH


def short_runs():
    """Sums of several runs: what was left in the target is added to, once each."""
    shorten_runs()
    conv2d_grads._LEAST_PIXELS, conv2d_grads.BLOCKS = 8, 2
    for op, (index, layout) in itertools.product(CONV_OPERATIONS[:3], enumerate(FORMATS)):
        exact(op, CONVS[2 * index], "float32", (layout, layout))


def vectors():
    """Runs that are short, of vectors: what was left in the target is read by vectors, too."""
    conv2d_sum.RUN_TERMS = tiles.DEPTH
    conv2d_sums.tile_for = lambda *sizes: tiles.FLAT
    for formats in itertools.product(FORMATS, repeat=2):
        exact("conv2d_forward", TILED[0], "float32", formats, "relu", fence=DeviceAligned, variant="tiled")


def infinite_weights():
    """Padding is not summed, so that it makes no NaN."""
    shorten_runs()
    cases = CONVS[0], VARIANTS["depthwise"][0], VARIANTS["grouped"][1]
    for case, op in itertools.product(cases, CONV_OPERATIONS[:3]):
        inputs, _ = reference_outputs(case, "float32", "conv2d_forward")
        weight, grad_out = inputs["weight"].copy(), inputs["grad_out"].copy()
        weight[::2, :, 0], weight[1, -1, 2, 2] = np.inf, np.nan
        grad_out[0, 0, 0, 0] = np.inf
        changed = {"grad_out": grad_out} if op.endswith("weight") else {"weight": weight}
        problem = problem_of(op, geometry_of(case), "float32", FORMATS)
        takers = [each.name for each in numba_cuda.VARIANTS[op] if isinstance(each.prepare(problem), Kernel)]
        for name in takers[:1] if case is not CONVS[0] else takers:
            with np.errstate(invalid="ignore"):
                exact(op, case, "float32", FORMATS, changed=changed, variant=name)


def special_maxima():
    """The last NaN wins, else the first of equal values; all -inf has an index inside the input."""
    rng = named_rng("special maxima")
    x = rng.choice(np.array([np.nan, -np.inf, 0.0, -0.0, 1.0], np.float32), geometry_of(POOLS[0]).x_shape)
    for layout in FORMATS:
        exact("max_pool2d_forward", POOLS[0], "float32", (layout, layout), changed={"x": x})


def rounded_once():
    """A bias' gradient, whatever the number of pixels: of one sign, the sum is off by its own rounding alone."""
    op, case = "conv2d_grad_bias", conv("long row", (1, 1, 1, 1 << 13), (1, 1, 1, 1))
    grad_out = named_rng(op).random(case.x_shape, np.float32)
    problem = problem_of(op, geometry_of(case), "float32", FORMATS[:1], _OPTIONS)
    (found,) = run_fenced("cuda", op, problem, {"grad_out": grad_out}, DeviceFenced).values()
    np.testing.assert_allclose(np.asarray(found), grad_out.sum(dtype=np.float64), rtol=2.0**-24)


def limits():
    """The loops that read what a GPU can do: every element is copied, every thread has done its sums."""
    with a_gpu() as gpu:
        source = arrays.moved(np.arange(1030, dtype=np.float32), gpu)
        blocks = 130 // launch.THREADS or 1
        target, out = (arrays.zeros((size,), source.dtype, near=source) for size in (1030, blocks * launch.THREADS + 2))
        machine.copy(source, target)
        assert_same_bits(on_host(target), np.append(on_host(source)[:1028], np.float32([0, 0])))
        sums = blocks * launch.THREADS
        assert machine.multiply_add(out, 2) == 2 * sums * machine.CHAINS * machine.STEPS * 2
        # total = total / 2 + 1 comes to 2, from wherever it began.
        assert_same_bits(on_host(out), np.append(np.full(sums, 2 * machine.CHAINS), [0, 0]).astype(np.float32))


def users():
    """Arrays of a device in, arrays of that device out, and the gradients of Tensors."""
    rng = named_rng("users")
    x, weight = rng.integers(-3, 4, (2, 2, 5, 4)), rng.integers(-3, 4, (3, 2, 3, 2))
    host = [array.astype(np.float32) for array in (x, weight, np.arange(3))]
    host[0] = in_format(host[0], FORMATS[1])
    with a_gpu() as gpu:
        given = [arrays.moved(array, gpu) for array in host]
        found = F.conv2d(*given, padding=1, activation="relu")
        assert arrays.device_of(found) == gpu
        assert found.strides == F.conv2d(*host, padding=1).strides
        assert_same_bits(on_host(found), F.conv2d(*host, padding=1, activation="relu"))
        for expected, result in zip(
            F.max_pool2d(host[0], 2, return_indices=True), F.max_pool2d(given[0], 2, return_indices=True), strict=True
        ):
            assert_same_bits(on_host(result), expected)
        assert_same_bits(on_host(F.conv2d(given[0][0], given[1])), F.conv2d(host[0][0], host[1]))
        assert F.conv2d(given[0][:0], given[1]).shape == (0, 3, 3, 3)
        leaves, others = ([fc.tensor(array, requires_grad=True) for array in each] for each in (given, host))
        for tensors in (leaves, others):
            pooled = F.max_pool2d(F.conv2d(*tensors), 2)
            pooled.backward(arrays.moved(np.ones(pooled.shape, np.float32), pooled.device))
        for leaf, other in zip(leaves, others, strict=True):
            assert leaf.grad.device == gpu
            assert_same_bits(leaf.grad.cpu().numpy(), other.grad.numpy())
        steps = fc.explain(F.conv2d, *given[:2]).steps
        assert [(step.backend, step.variant) for step in steps] == [("cuda", "first_layer")]


def networks():
    """A model on the last GPU: every kernel finds its arrays there, and gives the bits of the host."""
    rng = named_rng("networks")
    x = rng.integers(-3, 4, (2, 2, 6, 5)).astype(np.float32)
    weight, bias = rng.integers(-3, 4, (4, 2, 3, 3)).astype(np.float32), np.arange(4, dtype=np.float32)
    found = []
    with a_gpu() as gpu:
        for device in ("cpu", gpu):
            model = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2))
            model.load_state_dict({"0.weight": weight, "0.bias": bias})
            model.to(device)
            out = model(fc.tensor(x).to(device))
            assert out.device == device
            (out * out).sum().backward()
            found.append([out, *(parameter.grad for parameter in model.parameters())])
        for expected, result in zip(*found, strict=True):
            assert_same_bits(result.cpu().numpy(), expected.numpy())


def case_list(op):
    """Every case of the CPU's kernels, in all variants, formats and dtypes, with vectors and without: for real GPUs."""
    cases = POOL_CASES if op in POOL_OPERATIONS else CONV_CASES
    for case, dtype, fence in itertools.product(cases, FLOAT_TYPES, (DeviceFenced, DeviceAligned)):
        assert_exact("cuda", op, case, dtype, fence)


CHECKS = {op: lambda op=op: all_cases(op) for op in CONV_OPERATIONS}
CHECKS |= {f"variant {name}": lambda name=name: variant(name) for name in VARIANTS}
CHECKS |= {
    check.__name__: check
    for check in (
        *(pools, unshared, long_sums, split_sums, grouped_sums, every_tile, short_runs),
        *(vectors, infinite_weights, special_maxima, rounded_once, limits, users, networks),
    )
}
CHECKS |= {f"cases {op}": lambda op=op: case_list(op) for op in (*CONV_OPERATIONS, *POOL_OPERATIONS)}


def main():
    assert HAS_GPU or SIMULATED
    assert set(VARIANTS) == {variant.name for op in CONV_OPERATIONS for variant in numba_cuda.VARIANTS[op]}
    if not sys.argv[1:]:
        print(*CHECKS, sep="\n")
    for name in sys.argv[1:]:
        CHECKS[name]()
        print("checked:", name)


if __name__ == "__main__":
    main()
