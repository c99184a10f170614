"""The answers that contestants are checked against, and the contestants: backends and peers on awkward shapes."""

import contextlib
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.kernel_calls import POOL_OPERATIONS, activations, problem_of, run_fenced

import fastconv as fc
import fastconv.functional as F
from fastconv import arrays, backends
from fastconv._kernels.contract import Declined
from fastconv.bench import lineup, ours, ours_passes, workloads
from fastconv.bench.cases import (
    AWKWARD_CONVS,
    AWKWARD_LOCALS,
    AWKWARD_POOLS,
    NORMAL,
    SUBNORMAL,
    SUBNORMAL_WEIGHTS,
    SUITES,
    ChainCase,
    ConvCase,
    NetworkCase,
    StepCase,
)
from fastconv.bench.check import examine
from fastconv.bench.contestant import Prepared
from fastconv.bench.peers import PEERS
from fastconv.bench.timing import Budget
from fastconv.bench.workloads import LAYOUTS, passes
from fastconv.errors import BackendUnavailableError

AWKWARD = (*AWKWARD_CONVS, *AWKWARD_POOLS, *AWKWARD_LOCALS)
# Small planes, windows of every kind.
POOLINGS = tuple(case for case in SUITES["pool"] if case.x_shape[2] <= 17 or case.x_shape[1] == 6)
# A small one of every kind.
PASSES = tuple(
    replace(case, x_shape=(2, 1037) if isinstance(case, StepCase) else (3, 5, 7, 6))
    for case in {case.kind: case for case in SUITES["passes"]}.values()
)
SMALL = (*AWKWARD, *SUITES["small"], *SUITES["lenet"], *SUITES["digits"], SUITES["linear"][1], *POOLINGS, *PASSES)
# onnxruntime pads a pooling with the lowest finite number: a window without any input gives that instead of -inf.
# SciPy chooses the Fourier transform for wide planes: a window of padding alone gives its rounding error instead of 0.
KNOWN_TO_BE_WRONG = {
    ("onnxruntime", "pool, no input at all"),
    ("onnxruntime", "pool, windows without input"),
    ("onnxruntime", "pool, one pixel in, more out"),
    ("scipy", "rows of padding alone"),
}


@pytest.mark.parametrize("case", AWKWARD, ids=lambda case: case.name)
def test_the_answer_is_the_reference_s(case):
    for direction in case.directions:
        workload = workloads.make(case, direction, "float64")
        inputs = dict(workload.inputs)
        if workload.op in POOL_OPERATIONS and direction != "forward":
            forward = problem_of("max_pool2d_forward", workload.geometry, "float64", ["contiguous"] * 2, {"offsets"})
            inputs["offsets"] = run_fenced("reference", "max_pool2d_forward", forward, inputs)["offsets"]
        formats = ["contiguous"] * len(activations(workload.op))
        problem = problem_of(workload.op, workload.geometry, "float64", formats, inputs)
        (found, *_) = run_fenced("reference", workload.op, problem, inputs).values()
        np.testing.assert_allclose(workload.exact, found, rtol=1e-12, atol=1e-12)
        assert (workload.scale >= np.abs(workload.exact) * (1 - 1e-12)).all()


@pytest.mark.parametrize("case", PASSES, ids=lambda case: case.kind)
def test_the_answer_of_a_pass_is_the_reference_s(case):
    (reference,) = lineup.backends(["reference"])
    for direction in case.directions:
        workload = workloads.make(case, direction, "float64")
        prepared = reference.prepare(workload)
        np.testing.assert_allclose(prepared.result(prepared.call()), workload.exact, rtol=1e-12, atol=1e-12)
        assert (workload.scale >= np.abs(workload.exact) * (1 - 1e-12)).all()


@pytest.mark.oracle
@pytest.mark.parametrize("case", PASSES, ids=lambda case: case.kind)
def test_the_answer_of_a_pass_is_torch_s(case):
    pytest.importorskip("torch")
    (peer,) = lineup.peers(["torch:nchw"])
    with peer.environment(1):
        for direction in case.directions:
            workload = workloads.make(case, direction, "float64")
            prepared = peer.prepare(workload)
            np.testing.assert_allclose(prepared.result(prepared.call()), workload.exact, rtol=1e-12, atol=1e-12)


def test_data_is_normal_without_zeros_and_the_same_for_a_seed():
    case = SUITES["cifar"][1]
    first, second, other = (workloads.make(case, "forward", "float32", seed) for seed in (1, 1, 2))
    for name, array in first.inputs.items():
        assert array.dtype == np.float32
        assert np.array_equal(array, second.inputs[name])
        assert not np.array_equal(array, other.inputs[name])
        assert (np.abs(array) > np.finfo(np.float32).tiny).all()
    assert abs(first.inputs["weight"].std() - 1) < 0.05


def test_the_subnormal_cases_are_subnormal_and_only_those():
    cases = {case.values: case for suite in SUITES.values() for case in suite if case.values != NORMAL}
    for values, scaled, other in ((SUBNORMAL, "x", "weight"), (SUBNORMAL_WEIGHTS, "weight", "x")):
        case = cases.pop(values)
        for dtype in ("float32", "float64"):
            workload = workloads.make(case, "forward", dtype)
            assert 0 < np.abs(workload.inputs[scaled]).max() < np.finfo(dtype).tiny
            assert (np.abs(workload.inputs[other]) > 1e-6).all()
            assert workload.scale.max() > 0
    assert not cases


def test_layouts_change_strides_alone():
    case = SUITES["cifar"][0]
    workload = workloads.make(case, "grad_weight", "float32")
    for layout, wanted in LAYOUTS.items():
        other = workload.in_layout(layout)
        assert other.layout == layout
        for name, array in other.inputs.items():
            assert np.array_equal(array, workload.inputs[name])
            assert arrays.memory_format(array) == wanted


def test_costs_of_a_convolution():
    workload = workloads.make(ConvCase("a", "b", (2, 3, 8, 8), (5, 3, 3, 3)), "forward", "float64")
    assert workload.flops == 2 * 2 * 5 * 36 * 27
    assert workload.read == 8 * (2 * 3 * 64 + 5 * 27 + 5)
    assert workload.written == 8 * 2 * 5 * 36


# Arrays as large as the data that are read, as often as they are, and written, and how many there are.
COSTS = {
    "batch_norm_forward": (2, 1, 2),
    "batch_norm_grad_input": (4, 1, 3),
    "relu_forward": (1, 1, 2),
    "relu_grad_input": (2, 1, 3),
    "add_relu_forward": (2, 1, 3),
    "sgd_step": (3, 2, 3),
    "adam_step": (4, 3, 4),
}


def test_costs_of_passes():
    found = {}
    for case in PASSES:
        elements = np.prod(case.x_shape)
        for direction in case.directions:
            workload = workloads.make(case, direction, "float32")
            assert not workload.multiplies
            assert workload.flops == elements
            per_channel = sum(array.nbytes for array in workload.inputs.values() if array.ndim == 1)
            read, held = workload.read - per_channel, workload.held - per_channel
            found[workload.op] = tuple(nbytes / (4 * elements) for nbytes in (read, workload.written, held))
    assert found == COSTS


def test_no_gradient_depends_on_how_an_output_near_zero_was_rounded():
    case = replace(PASSES[0], x_shape=(16, 64, 28, 28))
    workload = workloads.make(case, "grad_input", "float32")
    without = workload.inputs["grad_out"] == 0
    assert 0 < without.sum() < 1e-3 * without.size
    wide = {name: array.astype(np.float64) for name, array in workload.inputs.items() if name != "grad_out"}
    for moved in (-1e-7, 1e-7):  # the bias, and with it every output
        out, _ = passes._Parts(**{**wide, "bias": wide["bias"] + moved}).out()
        exact, _ = passes._Parts(**wide).grad_input(np.where(out > 0, workload.inputs["grad_out"], 0.0))
        assert np.array_equal(exact, workload.exact)


@pytest.mark.parametrize(
    ("case", "forgotten"), [(PASSES[-2], ["momentum_buffer"]), (PASSES[-1], ["exp_avg", "exp_avg_sq"])]
)
def test_a_step_that_forgets_what_was_kept_is_found(case, forgotten):
    workload = workloads.make(case, "step", "float32")
    for name in (None, *forgotten):
        inputs = {key: np.zeros_like(array) if key == name else array for key, array in workload.inputs.items()}
        prepared = getattr(ours_passes, workload.op)(replace(workload, inputs=inputs), "reference", None)
        for _ in range(3):  # what is checked does not depend on the steps that were timed
            prepared.call()
        found = prepared.result(None)
        assert examine(found, workload).is_right == (name is None)
        assert not name or np.abs(found[0] - workload.exact[0]).max() > 1e-4


def test_statistics_of_another_kind_are_found():
    """The variance that running statistics have is that of a sample."""
    workload = workloads.make(PASSES[0], "forward", "float32")
    x, count = workload.inputs["x"].astype(np.float64), 3 * 7 * 6
    for share, is_right in ((1.0, True), (count / (count - 1), False)):
        factor = workload.inputs["weight"][:, None, None] / np.sqrt(share * x.var(axis=(0, 2, 3), keepdims=True) + 1e-5)
        out = (x - x.mean(axis=(0, 2, 3), keepdims=True)) * factor + workload.inputs["bias"][:, None, None]
        assert examine(np.maximum(out, 0).astype(np.float32), workload).is_right == is_right


def test_the_place_of_an_error_is_named_in_pieces_of_a_large_answer(monkeypatch):
    workload = workloads.make(ConvCase("a", "b", (5, 3, 8, 8), (4, 3, 3, 3)), "forward", "float32")
    found = workload.exact.astype(np.float32)
    found[3, 2, 1, 4] += 1
    for elements in (1 << 16, 300, 50, 1):
        monkeypatch.setattr("fastconv.bench.check._PIECE", elements)
        verdict = examine(found, workload)
        assert "differs from float64 at (3, 2, 1, 4)" in verdict.reason
        assert verdict.max_error == pytest.approx(1, rel=1e-4)
        assert examine(workload.exact.astype(np.float32), workload).is_right


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_a_missing_tap_is_found_in_the_largest_sum(error):
    """Sums of thousands of terms must not hide one of them."""
    workload = workloads.make(ConvCase("a", "b", (1, 512, 3, 3), (4, 512, 3, 3), bias=False), "forward", "float32")
    found = workload.exact.astype(np.float32)
    found[0, 2] -= error * workload.inputs["x"][0, 77, 1, 2] * workload.inputs["weight"][2, 77, 1, 2]
    assert examine(found, workload).is_right == (error == 0.0)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_missing_tap_in_a_chain_is_found(layer):
    case = SUITES["chain"][2]
    workload = workloads.make(case, "forward", "float32")
    damaged = dict(workload.inputs)
    damaged[f"weight{layer}"] = damaged[f"weight{layer}"].copy()
    damaged[f"weight{layer}"][3, 77, 1, 2] = 0
    for inputs, is_right in ((workload.inputs, True), (damaged, False)):
        x = inputs["x"]
        for i, one in enumerate(case.layers):
            x = F.conv2d(x, inputs[f"weight{i}"], inputs[f"bias{i}"], **one.parameters)
        assert examine(x, workload).is_right == is_right


def test_less_precise_arithmetic_is_found():
    """Inputs rounded to the eight bits of bfloat16 are no float32 arithmetic."""
    workload = workloads.make(SUITES["resnet50"][2], "forward", "float32")
    rounded = {
        name: (array.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32) for name, array in workload.inputs.items()
    }
    found = F.conv2d(rounded["x"], rounded["weight"], **workload.case.parameters)
    assert not examine(found, workload).is_right


def _contestants():
    compiled = [name for backend in lineup.compiled_backends() for name in (backend, f"{backend}:{ours.KEPT}")]
    found = lineup.backends([*compiled, "reference"]) + lineup.peers(lineup.usable_peers())
    return [contestant for contestant in found if contestant.takes_part(SMALL[0])]


@pytest.mark.parametrize("contestant", _contestants(), ids=lambda contestant: contestant.name)
def test_every_contestant_is_right_or_says_why_not(contestant):
    """On every small case, direction and layout; who declines gives a reason."""
    timed, wrong = set(), set()
    with contestant.environment(2):
        for case in SMALL:
            for direction in case.directions:
                workload = workloads.make(case, direction, "float32")
                for layout in LAYOUTS:
                    prepared = contestant.prepare(workload.in_layout(layout))
                    if not isinstance(prepared, Prepared):
                        assert prepared.reason
                        continue
                    verdict = examine(prepared.result(prepared.call()), workload.in_layout(layout))
                    timed.add(workload.op)
                    if not verdict.is_right:
                        wrong.add((contestant.name, case.name))
    assert "conv2d_forward" in timed
    assert wrong <= KNOWN_TO_BE_WRONG


def test_backends_offer_everything():
    layers = [case for suite in SUITES.values() for case in suite if not isinstance(case, NetworkCase)]
    ops = {f"{case.kind}_{direction}" for case in layers for direction in case.directions}
    for contestant in lineup.backends(lineup.compiled_backends()):
        for case in SMALL:
            for direction in case.directions:
                assert isinstance(contestant.prepare(workloads.make(case, direction, "float32")), Prepared)
    assert ops == {f"{case.kind}_{d}" for case in (*SMALL, *SUITES["chain"]) for d in case.directions}


@pytest.mark.parametrize("contestant", _contestants(), ids=lambda contestant: contestant.name)
def test_chains_agree(contestant):
    layers = (ConvCase("a", "b", (1, 5, 9, 8), (5, 5, 3, 3), padding=1),) * 3
    workload = workloads.make(ChainCase("chain", "suite", layers), "forward", "float32")
    with contestant.environment(1):
        for layout in LAYOUTS:
            prepared = contestant.prepare(workload.in_layout(layout))
            if isinstance(prepared, Prepared):
                assert examine(prepared.result(prepared.call()), workload.in_layout(layout)).is_right


@pytest.mark.parametrize("backend", lineup.compiled_backends())
def test_kept_weights_are_kept(backend):
    case = next(case for case in AWKWARD_CONVS if case.name == "channels above 64")
    (contestant,) = lineup.backends([f"{backend}:kept"])
    prepared = contestant.prepare(workloads.make(case, "forward", "float32"))
    with backends.recording() as records:
        for _ in range(Budget().warm_up):
            prepared.call()
        assert [record.weight for record in records][2:] == ["kept"]
    for direction in ("grad_input", "grad_weight"):
        assert isinstance(contestant.prepare(workloads.make(case, direction, "float32")), Declined)


# One case for each algorithm.
VARIED = ("distinct primes", "depthwise", "groups that share vectors", "few outputs", "planes of whole vectors")
VARIED += ("first layer, rows of vectors", "few pixels", "images of small planes", "small maps of many images")
VARIED += ("pool, kernel is input", "pool, overlapping", "pool, distinct primes", "pool, channels above 64")


@pytest.mark.parametrize("backend", lineup.compiled_backends())
def test_a_forced_variant_runs_where_it_does_not_decline(backend):
    cases = [case for case in AWKWARD if case.name in VARIED]
    jobs = [(case, direction, layout) for case in cases for direction in case.directions for layout in LAYOUTS]
    for variant in ours.variants(backend):
        (contestant,) = lineup.backends([backend], variant)
        ran = 0
        for case, direction, layout in jobs:
            prepared = contestant.prepare(workloads.make(case, direction, "float32").in_layout(layout))
            if isinstance(prepared, Declined):
                assert variant in prepared.reason
                continue
            prepared.call()
            assert prepared.variant() == variant
            ran += 1
        assert ran, variant


@pytest.mark.parametrize("backend", lineup.compiled_backends())
def test_every_precision_is_a_contestant_of_its_own(backend):
    levels = {"strict": "direct", "high": "winograd2", "fast": "winograd4"}
    found = lineup.backends([backend, f"{backend}:kept"], None, tuple(levels))
    suffixes = [":strict", "", ":fast"]
    assert [c.name for c in found] == [f"fastconv:{backend}{part}{s}" for part in ("", ":kept") for s in suffixes]
    case = ConvCase("tiles", "here", (1, 32, 13, 14), (32, 32, 3, 3), padding=1)
    for direction in ("forward", "grad_input", "grad_weight"):
        workload = workloads.make(case, direction, "float32").in_layout("channels_last")
        for contestant, variant in zip(found[:3], levels.values(), strict=True):
            prepared = contestant.prepare(workload)
            verdict = examine(prepared.result(prepared.call()), workload, prepared.coarseness)
            assert (verdict.reason, prepared.variant()) == ("", variant)
            assert prepared.coarseness == (4 if variant == "winograd4" else 1)


@pytest.mark.oracle
def test_torch_says_which_implementation_ran(capfd):
    pytest.importorskip("torch")
    (contestant,) = lineup.peers(["torch:nchw"])
    with contestant.environment(1):
        prepared = contestant.prepare(workloads.make(SUITES["cifar"][1].with_batch(2), "forward", "float32"))
        prepared.call()
        assert prepared.variant() not in ("", "ATen")
    assert "onednn_verbose" not in capfd.readouterr().out


@pytest.mark.oracle
def test_onnxruntime_says_what_became_of_its_graph():
    pytest.importorskip("onnxruntime")
    (contestant,) = lineup.peers(["onnxruntime"])
    with contestant.environment(1):
        prepared = contestant.prepare(workloads.make(SUITES["chain"][2], "forward", "float32"))
        assert prepared.variant().count("Conv") == 3


def test_names_choose_flavours():
    assert [c.name for c in lineup.backends(["reference"])] == ["fastconv:reference"]
    assert [c.name for c in lineup.backends(["reference:kept"])] == ["fastconv:reference:kept"]
    if "torch" in lineup.usable_peers():
        names = ["torch:nchw", "torch:channels_last"]
        assert [c.name for c in lineup.peers(["torch"])] == [*names, *(f"{name}:keeping" for name in names)]
        assert [c.name for c in lineup.peers(["torch:channels_last"])] == ["torch:channels_last"]
    assert all(c.is_peer for c in lineup.peers(lineup.usable_peers()))
    assert not any(c.is_peer for c in lineup.backends(["reference"]))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lineup.backends(["cuda9"]), BackendUnavailableError, "no backend 'cuda9'; there are: reference"),
        (lambda: lineup.backends(["reference:quick"]), ValueError, "there are: fastconv:reference, fastconv:ref"),
        (lambda: lineup.backends(["reference"], "magic"), ValueError, "no chosen backend has a variant 'magic'"),
        (lambda: lineup.peers(["keras"]), ValueError, "no peer 'keras'; there are: torch"),
    ],
)
def test_wrong_names(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("peer", PEERS)
def test_a_missing_peer_is_named_with_the_pip_line(peer, monkeypatch):
    monkeypatch.setattr(lineup.importlib.util, "find_spec", lambda name: None)
    package = PEERS[peer].packages[0]
    with pytest.raises(BackendUnavailableError, match=rf"{package}.*pip install 'fastconv\[bench\]'"):
        lineup.peers([peer])
    assert lineup.usable_peers() == []


def test_a_broken_peer_is_left_out_of_what_nobody_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, PEERS["im2col"].module, None)
    with pytest.raises(BackendUnavailableError, match="peer 'im2col' is installed but cannot be used"):
        lineup.peers(["im2col"])
    with pytest.warns(UserWarning, match="peer 'im2col' is installed but cannot be used"):
        assert "im2col" not in lineup.usable_peers()


def test_nobody_takes_part_twice():
    assert len(lineup.backends(["reference", "reference"])) == 1
    assert len(lineup.peers(["im2col", "im2col"])) == 1


def test_threads_are_set_and_put_back():

    before = fc.get_num_threads()
    with contextlib.ExitStack() as stack:
        for contestant in _contestants():
            stack.enter_context(contestant.environment(1))
        assert fc.get_num_threads() == 1
    assert fc.get_num_threads() == before
