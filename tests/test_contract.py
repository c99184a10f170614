"""Every backend against the one table of operations, and the public functions against the promises of the contract."""

import importlib
import itertools
import types

import numpy as np
import pytest
from support.backends import every_backend
from support.data import DTYPES, FORMATS, in_format, integers
from support.kernel_calls import activations, geometry_of, operand_dtype, operand_shape, problem_of

import fastconv as fc
import fastconv.functional as F
from fastconv import _kernels, arrays, optim
from fastconv._kernels import contract
from fastconv._kernels.contract import OPERATIONS, Declined, Kernel, Variant
from fastconv.bench.cases import ConvCase, LocalCase, PoolCase
from fastconv.errors import UnsupportedError
from fastconv.geometry import ChannelsGeometry, ClassesGeometry, ElementsGeometry, PartGeometry, ResponseGeometry

CASES = {
    "conv2d": ConvCase("small", "here", (2, 4, 6, 5), (6, 2, 3, 3), stride=2, padding=1, groups=2),
    "locally_connected2d": LocalCase("small", "here", (2, 4, 6, 5), (6, 2, 3, 3), stride=2, padding=1, groups=2),
    "max_pool2d": PoolCase("small", "here", (2, 4, 6, 5), 3, stride=2, padding=1),
    "avg_pool2d": PoolCase("small", "here", (2, 4, 6, 5), 3, stride=2, padding=1),
}
SMALL = (2, 4, 6, 5)
OPTIMIZERS = [(optim.SGD, {}), (optim.SGD, {"momentum": 0.9}), (optim.Adam, {}), (optim.AdamW, {"amsgrad": True})]
every_operation = pytest.mark.parametrize("op", OPERATIONS)


ALL_OPTIONS = tuple({name for operation in OPERATIONS.values() for name in operation.optional})


def small_geometry(op):
    case = next((case for prefix, case in CASES.items() if op.startswith(prefix)), None)
    if case is not None:
        return geometry_of(case)
    if op.startswith(("log_softmax", "cross_entropy")):
        return ClassesGeometry.of(SMALL, 1)
    if op == "copy_part":
        return PartGeometry(4, 30, 70, 30)
    if op.startswith("local_response_norm"):
        return ResponseGeometry.of(SMALL, 1, 3)
    return ChannelsGeometry.of(SMALL) if op.startswith("batch_norm") else ElementsGeometry(SMALL)


def small_problem(op, variant=None, dtype="float32", present=ALL_OPTIONS):
    given = [name for name in activations(op) if name in present or name not in OPERATIONS[op].optional]
    return problem_of(op, small_geometry(op), dtype, FORMATS[:1] * len(given), present, variant)


@every_backend
def test_a_backend_has_exactly_the_operations_of_the_contract(backend):
    variants = _kernels.load(backend).VARIANTS
    assert set(variants) == set(OPERATIONS)
    for op, table in variants.items():
        assert isinstance(table, tuple), op
        assert table, op
        assert all(isinstance(variant, Variant) for variant in table), op
        assert len({variant.name for variant in table}) == len(table), op


@every_backend
@every_operation
def test_every_variant_answers_by_name(backend, op):
    module = _kernels.load(backend)
    for variant in module.VARIANTS[op]:
        answer = module.prepare(op, small_problem(op, variant.name))
        if isinstance(answer, Declined):
            assert answer.reason.startswith(f"{variant.name}: ")
        else:
            assert isinstance(answer, Kernel)
            assert answer.variant == variant.name
            assert answer.workspace_bytes >= 0


@every_backend
@every_operation
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_general_variant_takes_the_small_problem_with_and_without_options(backend, op, dtype):
    for present in ((), ALL_OPTIONS):
        kernel = _kernels.load(backend).prepare(op, small_problem(op, dtype=dtype, present=present))
        assert isinstance(kernel, Kernel)
        assert kernel.pack is None or "weight" in OPERATIONS[op].inputs


@every_backend
@every_operation
def test_an_unknown_variant_is_declined_with_the_list(backend, op):
    module = _kernels.load(backend)
    answer = module.prepare(op, small_problem(op, "origami"))
    assert isinstance(answer, Declined)
    assert "no variant named 'origami'" in answer.reason
    assert all(variant.name in answer.reason for variant in module.VARIANTS[op])


def test_the_first_variant_that_accepts_is_taken_and_refusals_are_collected():
    kernel = Kernel("second", lambda *operands: contract.OK)
    refusing = [Variant(name, lambda problem, name=name: Declined(f"not {name}")) for name in ("first", "third")]
    table = (refusing[0], Variant("second", lambda problem: kernel), refusing[1])
    problem = small_problem("conv2d_forward")
    assert contract.first_accepting(table, problem) is kernel
    assert contract.first_accepting(tuple(refusing), problem).reason == "first: not first; third: not third"


def test_the_kernel_that_accepts_tells_who_was_meant_for_the_problem_and_declined():
    kernel = Kernel("last", lambda *operands: contract.OK, choice=("last is chosen: it is cheap",))
    refusing = [
        Variant(name, lambda problem, name=name: Declined(f"no {name}", name == "near")) for name in ("near", "far")
    ]
    table = (*refusing, Variant("last", lambda problem: kernel))
    found = contract.first_accepting(table, small_problem("conv2d_forward"))
    assert found.choice == ("near declines: no near", "last is chosen: it is cheap")
    assert found.run is kernel.run


@pytest.mark.parametrize(("taps", "dtype"), [(256, "uint8"), (257, "uint16"), (1 << 16, "uint16"), (65537, "uint32")])
def test_offsets_take_the_smallest_dtype(taps, dtype):
    geometry = geometry_of(PoolCase("window", "here", (1, 1, taps, 1), (taps, 1)))
    assert contract.offsets_dtype(geometry) == dtype


@pytest.fixture
def install(monkeypatch):
    """Puts a fake backend into the table; the name must be used once only, because loading is remembered."""

    def put(name, prepare):
        module = types.ModuleType(f"fake_{name}")
        module.prepare = prepare
        monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
        monkeypatch.setitem(_kernels.BACKENDS, name, _kernels.BackendEntry(module.__name__, "numpy", "none needed"))
        return name

    return put


def test_a_backend_that_declines_is_an_error_and_nothing_else_runs(install):
    name = install("unwilling", lambda op, problem: Declined("round numbers only"))
    x, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(UnsupportedError, match="backend 'unwilling' declines conv2d_forward: round numbers only"):
        F.conv2d(x, weight, backend=name)
    with pytest.raises(NotImplementedError), fc.use_backend(name):
        F.max_pool2d(x, 2)


def test_a_kernel_without_workspace_is_a_memory_error(install):
    kernel = Kernel("greedy", lambda *operands: contract.OUT_OF_MEMORY, workspace_bytes=12345)
    name = install("greedy", lambda op, problem: kernel)
    with pytest.raises(MemoryError, match=r"max_pool2d_forward of an input of shape \(.*\): no memory for 12,345 "):
        F.max_pool2d(np.ones((1, 1, 2, 2)), 2, backend=name)


class Inspector:
    """A backend that checks every precondition of the contract and lets the reference compute."""

    def __init__(self):
        self.seen = set()

    def prepare(self, op, problem):
        kernel = _kernels.load("reference").prepare(op, problem)

        def run(*operands):
            self.inspect(op, problem, operands)
            return kernel(*operands)

        return Kernel("inspected", run)

    def inspect(self, op, problem, operands):
        operation = OPERATIONS[op]
        absent = set(operation.optional) - problem.optional
        names = [name for name in (*operation.inputs, *operation.outputs) if name not in absent]
        with_format = [name for name in activations(op) if name in names]
        formats = dict(zip(with_format, problem.formats, strict=True))
        formats["offsets"] = formats.get("out", formats.get("grad_out"))
        assert len(names) == len(operands)
        for name, array in zip(names, operands, strict=True):
            shape, wanted = operand_shape(op, problem.geometry, name), operand_dtype(problem, name)
            dense = array.transpose(0, 2, 3, 1) if formats.get(name) == arrays.CHANNELS_LAST else array
            assert (type(array), array.shape, array.dtype) == (np.ndarray, shape, np.dtype(wanted)), (op, name)
            assert array.flags.aligned, (op, name)
            assert dense.flags.c_contiguous, (op, name, formats)
            assert 0 not in array.shape, (op, name)
        given = dict(zip(names, operands, strict=True))
        for output in operation.outputs:
            if output in given:
                assert given[output].flags.writeable, (op, output)
                assert not any(np.may_share_memory(given[output], given[other]) for other in given if other != output)
        self.seen.add((op, problem.formats))


def views(rng, shape, dtype):
    """The same kind of array in many layouts."""
    plain = integers(rng, shape, dtype)
    N, C, H, W = shape
    padded = integers(rng, (N, C + 2, H + 3, 2 * W), dtype)
    yield from (plain, in_format(plain, arrays.CHANNELS_LAST), plain[:, :, ::-1], plain.astype(f">f{plain.itemsize}"))
    yield from (padded[:, 1:-1, 2:-1, ::2], in_format(padded, arrays.CHANNELS_LAST)[:, 1:-1, 2:-1, ::2])
    yield from (np.broadcast_to(plain[:, :1], shape), np.asfortranarray(plain), integers(rng, (1, *shape), dtype)[0])


def use_passes(backend, x, rng):
    """Every operation that goes over a whole array, in all its forms."""
    dtype = x.dtype.newbyteorder("=")
    ones = np.ones((2, x.shape[1]), dtype)
    with fc.use_backend(backend):
        for training, residual in itertools.product((True, False), (None, x)):
            leaf, *scale = (fc.tensor(array, requires_grad=True) for array in (x, *ones))
            normalised = [leaf, *ones.copy(), *scale, training]
            rectified = F.batch_norm(*normalised, residual=residual, activation="relu")
            results = [rectified, F.batch_norm(*normalised), leaf.relu(), F.add_relu(leaf, x), F.dropout(leaf)]
            for result in (*results, F.relu6(leaf), F.local_response_norm(leaf, 3)):
                for grad in views(rng, x.shape, dtype):
                    result.backward(grad, retain_graph=True)
        many = fc.tensor(np.ones((1 << 14) + 1, dtype), requires_grad=True)
        for _ in range(2):
            many.relu().backward(np.ones(many.shape, dtype))
        assert set(many.grad.tolist()) == {2.0}
        F.cat((x, x), 1)
        target = np.zeros((x.shape[0], *x.shape[2:]), np.int64)[:, ::-1]
        for result in (F.log_softmax(leaf, 1), F.cross_entropy(leaf, target, reduction="none")):
            result.backward(np.broadcast_to(np.ones((), dtype), result.shape))
        for make, settings in OPTIMIZERS:
            optimizer = make([leaf], **settings)
            optimizer.step()
            optimizer.step()


def use_local_filters(backend, x, rng):
    """A layer without shared weights, of weights and gradients in many layouts."""
    case, dtype = CASES["locally_connected2d"], x.dtype.newbyteorder("=")
    g = geometry_of(case)
    weight = integers(rng, g.weight_shape, dtype)
    for filters in (weight, np.asfortranarray(weight), weight[::-1, :, ::-1]):
        leaves = [fc.tensor(array, requires_grad=True) for array in (x, filters, np.ones(g.bias_shape, dtype))]
        out = F.locally_connected2d(*leaves, **case.parameters, backend=backend)
        for grad in views(rng, out.shape, dtype):
            out.backward(grad, retain_graph=True)
        F.locally_connected2d(x, filters, **case.parameters, backend=backend)


@pytest.mark.parametrize("dtype", DTYPES)
def test_public_functions_keep_the_preconditions_whatever_they_are_given(install, rng, dtype, monkeypatch):
    monkeypatch.setattr(importlib.import_module("fastconv.functional.cat"), "_FEW", 0)
    inspector = Inspector()
    name = install(f"inspector_{dtype}", inspector.prepare)
    case = CASES["conv2d"]
    weight = integers(rng, case.weight_shape, dtype)
    for x in views(rng, case.x_shape, dtype):
        for kernel in (weight, np.asfortranarray(weight), weight[::-1, :, ::-1]):
            leaves = [fc.tensor(array, requires_grad=True) for array in (x, kernel, np.ones(weight.shape[0], dtype))]
            out = F.conv2d(*leaves, stride=2, padding=1, groups=2, backend=name)
            for grad in views(rng, out.shape, dtype):
                out.backward(grad, retain_graph=True)
            F.conv2d(x, kernel, stride=2, padding=1, groups=2, backend=name)
        use_local_filters(name, x, rng)
        for pooling in (F.max_pool2d, F.avg_pool2d):
            leaf = fc.tensor(x, requires_grad=True)
            pooled = pooling(leaf, 3, 2, 1, backend=name)
            for grad in views(rng, pooled.shape, dtype):
                pooled.backward(grad, retain_graph=True)
        F.max_pool2d(x, 3, 2, 1, backend=name)
        use_passes(name, x, rng)
    assert {op for op, _ in inspector.seen} == set(OPERATIONS)
