"""Whole networks in the benchmark: the answers, who takes part, and what a step of training is."""

import argparse
import operator
import sys
from functools import partial

import numpy as np
import pytest
from support import networks
from support.false_clock import FalseClock

import fastconv as fc
from fastconv import cli, models, nn
from fastconv._kernels.contract import Declined
from fastconv.bench import apart, blas, lineup, records, workloads
from fastconv.bench.cases import SUITES, ConvCase
from fastconv.bench.check import examine
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.engine import Engine, Plan
from fastconv.bench.records import TIMED
from fastconv.bench.report import tables, text
from fastconv.bench.timing import Budget
from fastconv.bench.workloads import LAYOUTS, network, network_exact, parts
from fastconv.cli import bench

IMAGES = {"lenet5": (1, 28, 28), "cifar_small": (3, 32, 32), "residual": (3, 16, 16), "features": (3, 15, 14)}
CASES = [make(name, image, 3) for name, image in IMAGES.items() for make in (networks.step, networks.forward)]
SHORT = Budget(rounds=2, seconds=0.0, least=2, warm_up=1, pause=0.0, sample=0.0)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.suite}: {case.name}")


@pytest.fixture(autouse=True)
def _made_up_networks(monkeypatch):
    monkeypatch.setattr(models, "residual", networks.Residual, raising=False)
    monkeypatch.setattr(models, "features", networks.Features, raising=False)


def _contestants():
    """Those that work in this process."""
    ours = lineup.backends([*lineup.compiled_backends(), "reference"])
    found = [*ours, *lineup.peers(lineup.usable_peers())]
    return [c for c in found if c.takes_part(CASES[0]) and not c.name.endswith("keeping")]


def _made(case, **settings):
    return workloads.make(case, *case.directions, "float32", **settings)


def test_layers_come_in_the_order_in_which_they_run():
    found = [layer.name for layer in parts.layers(parts.of(models.lenet5()))]
    assert found[:3] == ["conv1", "relu1", "pool1"]
    assert found[-1] == "fc3"
    *_, avgpool, flatten, fc = parts.of(networks.Residual())
    assert (avgpool.name, flatten.kind, fc.key("weight")) == ("avgpool", "Flatten", "fc.weight")
    assert [part.name for part in parts.of(networks.Features())][2:5] == ["features.2", "avgpool", "flatten"]


def test_residual_blocks_have_two_branches():
    blocks = [part for part in parts.of(networks.Residual()) if isinstance(part, parts.Residual)]
    assert [[part.name for part in block.shortcut] for block in blocks[:3]] == [
        [],
        [],
        ["layer2.0.downsample.0", "layer2.0.downsample.1"],
    ]
    assert [part.name for part in blocks[0].main] == [f"layer1.0.{n}" for n in ("conv1", "bn1", "relu", "conv2", "bn2")]


def test_an_order_that_nobody_knows_is_refused():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.ReLU(), nn.ReLU()

    with pytest.raises(TypeError, match="nobody knows in which order Strange runs one, other"):
        parts.of(Strange())


class BatchNorm2d(nn.Module):
    """A layer as other libraries have it."""

    def __init__(self, C):
        super().__init__()
        self.num_features, self.eps, self.momentum = C, 1e-5, 0.1


class AdaptiveAvgPool2d(nn.Module):
    """A layer as other libraries have it."""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size


@pytest.mark.oracle
@pytest.mark.parametrize("is_training", [True, False])
def test_the_answer_is_torch_s_in_float64(is_training):
    """Of every layer, also of those with statistics; in training on both ways through the network."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    layers = (nn.Conv2d(3, 6, 3), BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1), AdaptiveAvgPool2d((3, 2)))
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.AdaptiveAvgPool2d((3, 2)),
        torch.nn.Flatten(),
        torch.nn.Linear(36, 5),
    )
    theirs.double().train(is_training)
    with torch.no_grad():
        for tensor in (*theirs.parameters(), theirs[1].running_mean, theirs[1].running_var):
            tensor.copy_(torch.from_numpy(random.uniform(0.5, 1.5, tensor.shape)))
    state = {name: tensor.numpy().copy() for name, tensor in theirs.state_dict().items()}
    ours = tuple(parts.Layer(str(i), layer) for i, layer in enumerate((*layers, nn.Flatten(), nn.Linear(36, 5))))
    x, labels = random.standard_normal((4, 3, 9, 8)), np.array([0, 3, 3, 4])
    given = torch.from_numpy(x).requires_grad_()
    outputs = theirs(given)
    run = network_exact.Pass(state, is_training=is_training)
    logits, back = run.through(ours, x)
    np.testing.assert_allclose(logits, outputs.detach(), rtol=1e-12)
    if not is_training:
        return
    expected = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(labels))
    expected.backward()
    loss, grad = network_exact.cross_entropy(logits, labels)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(back(grad), given.grad, rtol=1e-9, atol=1e-12)
    assert set(run.grads) == set(dict(theirs.named_parameters()))
    for name, weight in theirs.named_parameters():
        np.testing.assert_allclose(run.grads[name], weight.grad, rtol=1e-9, atol=1e-12)


@every_case
@pytest.mark.parametrize("contestant", _contestants(), ids=lambda contestant: contestant.name)
def test_every_contestant_is_right_at_first_and_after_some_steps(contestant, case):
    workload = _made(case)
    with contestant.environment(1):
        for layout in LAYOUTS:
            prepared = contestant.prepare(workload.in_layout(layout))
            if not isinstance(prepared, Prepared):
                assert prepared.reason == "offers no network_step"
                continue
            for _ in range(3):
                verdict = examine(prepared.result(prepared.call()), workload)
                assert verdict.reason == ""
                assert 0 < verdict.error_ulp < network.TOLERANCE_OF_GRADIENTS / 64
            assert prepared.variant()


def test_costs_of_a_network():
    case = networks.step("lenet5", (1, 28, 28), 3)
    step, forward = _made(case), workloads.make(case, "forward", "float32")
    layers = [2 * 6 * 28 * 28 * 25, 2 * 16 * 10 * 10 * 150, 2 * 400 * 120, 2 * 120 * 84, 2 * 84 * 10]
    assert forward.flops == 3 * sum(layers)
    assert step.flops == 3 * (3 * sum(layers) - layers[0])
    weights = 4 * sum(parameter.numel() for parameter in models.lenet5().parameters())
    given = 4 * 3 * 28 * 28 + 8 * 3
    assert (forward.read, forward.written) == (given + weights, 4 * 3 * 10)
    assert (step.read, step.written) == (given + 2 * weights, 2 * weights)


def test_making_a_workload_draws_nothing_from_the_process():
    from fastconv import rng

    before = rng.get_state()
    first, second = (_made(networks.step("cifar_small", (3, 32, 32), 1)) for _ in range(2))
    assert rng.get_state() == before
    assert all(np.array_equal(first.state[name], second.state[name]) for name in first.state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda grads: grads | {"loss": grads["loss"] * np.float32(1.01)},
            "^loss is .* u of its length away .* 1024",
        ),
        (lambda grads: grads | {"conv2.bias": 0.9 * grads["conv2.bias"]}, "conv2.bias is 1.*e.06 u of its length"),
        (lambda grads: grads | {"fc1.weight": grads["fc1.weight"].T}, r"fc1.weight has shape \(400, 120\)"),
        (lambda grads: {name: grads[name] for name in grads if name != "conv1.bias"}, "other parts .*: conv1.bias"),
        (lambda grads: grads | {"fc3.bias": np.full(10, np.nan, np.float32)}, "fc3.bias is not finite"),
        (lambda grads: grads | {"fc3.bias": grads["fc3.bias"].astype("float64")}, "fc3.bias has dtype float64"),
    ],
)
def test_a_wrong_gradient_is_found(change, words):
    workload = _made(networks.step("lenet5", (1, 28, 28), 2))
    right = {name: np.asarray(array, np.float32) for name, array in workload.exact.items()}
    assert examine(right, workload).is_right
    verdict = examine(change(right), workload)
    assert not verdict.is_right
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(verdict.reason)


def _losses(name, case, count=6):
    """Of one step after the other."""
    (contestant,) = (lineup.peers if name.startswith("torch") else lineup.backends)([name])
    with contestant.environment(1):
        prepared = contestant.prepare(_made(case))
        return [prepared.call().item() for _ in range(count)]


@pytest.mark.oracle
def test_steps_of_both_libraries_lead_the_same_way():
    """The optimiser too does the same: after some steps with momentum the losses still agree."""
    pytest.importorskip("torch")
    case = networks.step("lenet5", (1, 28, 28), 8)
    ours, theirs = (_losses(name, case) for name in ("reference", "torch:channels_last"))
    assert ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("name", ["reference", pytest.param("torch:nchw", marks=pytest.mark.oracle)])
def test_a_step_drops_out_and_its_check_does_not(name):
    if name.startswith("torch"):
        pytest.importorskip("torch").manual_seed(0)
    fc.manual_seed(0)
    case = networks.step("cifar_small", (3, 32, 32), 4)
    assert abs(_losses(name, case, 1)[0] / float(_made(case).exact["loss"]) - 1) > 1e-3


def _failing(**settings):
    """Raises TypeError where it prepares; other processes find it by its name."""
    return Contestant("failing", partial(operator.truediv, 1), blas.threads, is_peer=False, **settings)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_counts_gradients_and_momentum():
    (contestant,) = lineup.backends(["reference"])
    found = apart.peak_bytes(contestant, _made(networks.step("cifar_small", (3, 32, 32), 8)), 1)
    assert 4 * 32 * 32 * 32 * 8 < found < 1 << 30


def test_a_peak_that_cannot_be_read_is_none():
    assert apart.peak_bytes(_failing(), _made(networks.forward("lenet5", (1, 28, 28), 1)), 1) is None


@pytest.mark.oracle
@pytest.mark.skipif(sys.platform != "linux", reason="tunes glibc")
def test_a_process_of_its_own_gives_the_same_answers():
    pytest.importorskip("torch")
    workload = _made(networks.step("lenet5", (1, 28, 28), 4))
    (contestant,) = lineup.peers(["torch:nchw:keeping"])
    with contestant.environment(1):
        prepared = apart.prepared(contestant, workload, 1)
        for _ in range(2):
            assert examine(prepared.result(prepared.call()), workload).reason == ""
        assert prepared.variant()
    assert apart.peak_bytes(contestant, workload, 1) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="tunes glibc")
def test_what_is_raised_in_a_process_of_its_own_is_said():
    workload = _made(networks.forward("lenet5", (1, 28, 28), 1))
    with pytest.raises(RuntimeError, match="in its process: TypeError: unsupported operand"):
        apart.prepared(_failing(allocator="keeping"), workload, 1)


def _exact(clock, name, **settings):
    def prepare(workload):
        answers = {name: np.asarray(array, np.float32) for name, array in workload.exact.items()}
        return Prepared(clock.work(0.5, name), lambda _: answers)

    return clock.contestant(name, 0.5, prepare=prepare, **settings)


def test_memory_is_read_for_networks_of_those_that_were_timed():
    clock, asked = FalseClock(), []

    def memory(contestant, workload, threads):
        asked.append((contestant.name, workload.case.name, threads))
        return 1 << 20

    def broken(workload):
        raise RuntimeError("broken")

    contestants = [
        _exact(clock, "fastconv:a"),
        clock.contestant("fastconv:b", 1.0, prepare=broken),
        _exact(clock, "peer", is_peer=True),
    ]
    plan = Plan([networks.forward("lenet5", (1, 28, 28), 1)], contestants, threads=(2,), budget=SHORT)
    ((first, second, third),) = Engine(plan, clock=clock.clock, memory=memory).run()
    assert (first.peak_bytes, second.peak_bytes, third.peak_bytes) == (1 << 20, None, 1 << 20)
    assert asked == [("fastconv:a", "lenet5", 2), ("peer", "lenet5", 2)]
    layer = Plan([ConvCase("layer", "suite", (1, 1, 2, 2), (1, 1, 1, 1))], [clock.contestant("a", 1.0)], budget=SHORT)
    assert next(Engine(layer, clock=clock.clock, memory=memory).run())[0].peak_bytes is None
    ((_, (header, (row, _, _))),) = text.jobs([first, second, third])
    assert row[header.index("memory")] == "1 MiB"
    heads = [title for title, _ in tables.records(records.Run({}, {}, (first,))).heads]
    assert "peak memory, MiB" in heads


def test_who_takes_no_part_leaves_no_record():
    names = [contestant.name for contestant in lineup.backends(["reference", "reference:kept"])]
    cases = [networks.forward("lenet5", (1, 28, 28), 1), ConvCase("layer", "suite", (1, 1, 2, 2), (1, 1, 1, 1))]
    plan = Plan(cases, lineup.backends(names_of(names)), budget=SHORT)
    jobs = list(Engine(plan).run())
    assert [[record.contestant for record in job] for job in jobs] == [names[:1], names]
    assert plan.record_count() == 3


@pytest.mark.parametrize("name", ["lenet5", "resnet18"])
def test_a_folded_network_gives_the_answer_of_the_whole_one(name):
    case = networks.forward(name, (1, 28, 28) if name == "lenet5" else (3, 32, 32), 1)
    workload = workloads.make(case, "forward", "float32")
    (contestant,) = lineup.backends(["cython:fused"])
    prepared = contestant.prepare(workload)
    assert examine(prepared.result(prepared.call()), workload).is_right
    training = networks.step(name, case.x_shape[1:], 2)
    assert isinstance(contestant.prepare(workloads.make(training, "step", "float32")), Declined)


def names_of(contestants):
    return [name.removeprefix("fastconv:") for name in contestants]


def _plan(*arguments):
    parser = argparse.ArgumentParser()
    bench.register(parser.add_subparsers())
    return bench._plan(parser.parse_args(["bench", "--peers", "none", "--backends", "reference", *arguments]))


def test_networks_and_passes_have_batches_and_a_direction_of_their_own():
    found = [(case.name, case.x_shape, direction) for case, direction, _ in _plan("--suite", "training").workloads()]
    assert found == [
        ("lenet5", (128, 1, 28, 28), "step"),
        ("cifar_small", (64, 3, 32, 32), "step"),
        ("alexnet", (16, 3, 224, 224), "step"),
        ("vgg11", (4, 3, 224, 224), "step"),
        ("resnet18", (16, 3, 224, 224), "step"),
    ]
    inference = [(case.name, case.x_shape[0]) for case, _, _ in _plan("--suite", "inference").workloads()]
    assert inference == [(case.name, batch) for case in SUITES["inference"] for batch in (1, 16)]
    passes = {(case.kind, case.x_shape[0], direction) for case, direction, _ in _plan("--suite", "passes").workloads()}
    activations = {(kind, 16, "forward") for kind in ("batch_norm", "relu", "add_relu")}
    assert passes == activations | {("sgd", 1, "step"), ("adam", 1, "step")}
    asked = _plan("--suite", "training,digits", "--batch", "2").workloads()
    assert [case.x_shape[0] for case, _, _ in asked] == [2] * 6


@pytest.mark.parametrize("suite", ["training", "inference"])
def test_a_real_run_of_a_network(suite, tmp_path, capsys):
    target = tmp_path / "x.json"
    settings = ["--case", "lenet5", "--batch", "2", "--rounds", "2", "--threads", "1"]
    assert cli.main(["bench", "--suite", suite, *settings, "--peers", "none", "--json", str(target)]) == 0
    out = capsys.readouterr().out
    found = records.load(target)
    assert found.complete
    names = {f"fastconv:{name}" for name in lineup.compiled_backends()}
    names |= {f"{name}:fused" for name in names} if suite == "inference" else set()
    assert {record.contestant for record in found.records} == names
    for record in found.records:
        assert (record.status, record.batch, record.rounds) == (TIMED, 2, 2)
        assert (record.direction == "step") == (suite == "training")
        assert record.peak_bytes is None or record.peak_bytes > 0
        assert f"{record.error_ulp:.1f} u" in out
    assert found.settings["batch"] == [2]
