"""Measuring on a GPU that does not exist: what is copied when, who takes turns, what the clock reads."""

import importlib.util
import itertools
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from support import false_cupy

from fastconv import cli
from fastconv._kernels.contract import Declined
from fastconv.bench import gpu_limits, lineup, rotation, workloads
from fastconv.bench.cases import SUITES, PoolCase
from fastconv.bench.check import examine
from fastconv.bench.contestant import Prepared
from fastconv.bench.gpu_clock import GpuClock
from fastconv.bench.timing import Budget, measure

CASE = PoolCase("tiny", "small", (1, 2, 4, 4), 2)


@pytest.fixture
def gpu(monkeypatch):
    """A queue whose events are milliseconds apart, and a cache of a kilobyte."""
    false_cupy.installed(monkeypatch)
    ticks = itertools.count()

    class Event:
        def record(self):
            self.at = next(ticks)

        def synchronize(self):
            """Nothing is left to wait for."""

    cuda = sys.modules["cupy"].cuda
    cuda.Event, cuda.get_elapsed_time = Event, lambda begin, end: float(end.at - begin.at)
    cuda.Device.attributes = {"L2CacheSize": 1 << 10}
    yield ticks
    del cuda.Device.attributes


def test_the_clock_reads_what_lies_between_two_events(gpu):
    samples = measure({"a": lambda: next(gpu)}, Budget(rounds=6, pause=0.0, sample=0.004), clock=GpuClock())
    assert samples["a"] == pytest.approx([0.0015] * 6)  # of two calls, each a tick, and the tick of the last event


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("nbytes", "expected"), [(1, 64), (100, 42), (1 << 10, 5), (1 << 20, 2)])
def test_copies_are_more_than_a_cache_holds(nbytes, expected):
    assert rotation.copies(nbytes) == expected


@pytest.mark.usefixtures("gpu")
def test_inputs_are_copied_once_and_take_turns():
    workload, given = workloads.make(CASE, "forward", "float32", 0), []

    def prepare(own):
        x, number = own.inputs["x"], len(given)
        assert type(x) is false_cupy.ndarray
        given.append(x)
        return Prepared(lambda: number, lambda returned: x, lambda: "own")

    prepared = rotation.on_gpu(prepare, workload)
    count = rotation.copies(workload.held)
    assert len(given) == count > 2
    assert [prepared.call() for _ in range(count + 1)] == [*range(count), 0]
    assert type(prepared.result(None)) is np.ndarray
    np.testing.assert_array_equal(prepared.result(None), workload.inputs["x"])
    assert prepared.variant() == "own"


@pytest.mark.usefixtures("gpu")
def test_who_declines_is_asked_once():
    asked = []
    declined = rotation.on_gpu(
        lambda own: asked.append(own) or Declined("no"), workloads.make(CASE, "forward", "float32", 0)
    )
    assert declined.reason == "no"
    assert len(asked) == 1


@pytest.mark.usefixtures("gpu")
def test_torch_takes_part_in_both_formats_and_with_tf32_beside_them(monkeypatch):
    torch = pytest.importorskip("torch")
    module = importlib.import_module("fastconv.bench.peers.torch_cuda")
    workload = workloads.make(SUITES["digits"][0], "forward", "float32", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in module.CONTESTANTS[0].prepare(workload).reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(module, "device_arrays", types.SimpleNamespace(GPU="cpu"))
    found = {contestant.name: contestant for contestant in module.CONTESTANTS}
    assert {name: contestant.is_peer for name, contestant in found.items()} == {
        "torch:nchw": True,
        "torch:nchw:tf32": False,
        "torch:channels_last": True,
        "torch:channels_last:tf32": False,
    }
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        for name, contestant in found.items():
            with contestant.environment(1):
                assert torch.backends.cudnn.benchmark
                prepared = contestant.prepare(workload)
                returned = prepared.call()
                assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == ("tf32" in name)
                assert examine(prepared.result(returned), workload).is_right
                assert (prepared.coarseness > 1) == ("tf32" in name)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    assert not torch.backends.cudnn.benchmark


def test_what_rounds_more_coarsely_may_be_wrong_by_more():
    workload = workloads.make(SUITES["digits"][0], "forward", "float32", 0)
    rounded = (workload.exact * (1 + 2.0**-11)).astype(np.float32)
    assert not examine(rounded, workload).is_right
    assert examine(rounded, workload, 2.0**13).is_right
    assert not examine(2 * rounded, workload, 2.0**13).is_right


def test_only_what_computes_in_one_place_is_compared():
    assert lineup.are_on_gpu(["cuda", "cuda:kept"])
    assert not lineup.are_on_gpu(["numba", "cython:kept"])
    assert not lineup.are_on_gpu([])
    with pytest.raises(ValueError, match="of a GPU and of the CPU are measured apart"):
        lineup.are_on_gpu(["cuda", "numba"])
    with pytest.raises(ValueError, match="no peer 'onnxruntime'; there are: torch"):
        lineup.peers(["onnxruntime"], on_gpu=True)


def test_the_limits_are_operations_and_bytes_over_the_time_of_the_queue(gpu, monkeypatch):
    loops = types.SimpleNamespace(
        multiply_add=lambda out, rounds: next(gpu) * 0 + out.size * rounds, copy=lambda source, target: next(gpu)
    )
    monkeypatch.setitem(sys.modules, "fastconv._kernels.numba_cuda.machine", loops)
    cupy = sys.modules["cupy"]
    cupy.empty, cupy.zeros, cupy.empty_like = np.empty, lambda *given: np.empty(8), np.empty_like
    limits = gpu_limits.measure.__wrapped__()
    seconds = 5 / 4 * 1e-3  # four calls, and the tick of the last event
    assert limits.peaks["float32"] == pytest.approx(2**28 / seconds)
    assert limits.bandwidths[0].copy == pytest.approx(2**31 / seconds)


@pytest.fixture
def cuda_all(monkeypatch):
    """The script as a module."""
    place = Path(__file__).parents[1] / "benchmarks" / "cuda_all.py"
    specification = importlib.util.spec_from_file_location("cuda_all", place)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "cuda_all", module)
    specification.loader.exec_module(module)
    return module


def test_the_tests_and_the_kernels_under_a_sanitizer_come_first(cuda_all, monkeypatch):
    ran = []
    monkeypatch.setattr(cuda_all.shutil, "which", lambda name: f"/opt/{name}")
    monkeypatch.setattr(cuda_all, "_names", lambda module: ["pools"])

    def run(command, env, check):
        ran.append(" ".join(command[-4:]))
        return types.SimpleNamespace(returncode=int("racecheck" in command and "support.cuda_check" in command))

    monkeypatch.setattr(cuda_all.subprocess, "run", run)
    tests, memcheck, racecheck = cuda_all.checked()
    assert tests == ("tests of the CUDA backend", 1.0, 1.0)
    assert memcheck == ("compute-sanitizer --tool memcheck", True, 1.0)
    assert racecheck == ("compute-sanitizer --tool racecheck, which failed: pools", False, 1.0)
    assert "test_cuda_kernels.py" in ran[0]
    assert ran[1:] == [f"-P -m {module} pools" for module in cuda_all.MODULES] * 2
    monkeypatch.setattr(cuda_all.shutil, "which", lambda name: None)
    assert list(cuda_all.checked())[1:] == [("compute-sanitizer", 0.0, 1.0)]


def test_one_command_answers_what_is_to_be_reached_losses_first(cuda_all, monkeypatch, tmp_path, capsys):
    def record(case, ratio, flops, **others):
        shares = {"peak_fraction": 0.5, "roofline_fraction": 0.7} | others
        known = {"direction": "forward", "status": "timed", "ratio_to_best_peer": ratio, "flops": flops}
        return types.SimpleNamespace(case=case, **known, **shares)

    found = {
        "dense": [record("64,56->64 k3s1", 0.8, 1e10), record("64,56->64 k1s1", 0.8, 1e6, roofline_fraction=0.1)],
        "first": [record("3,224->64 k3s1", 2.0, 1e9)],
    }
    monkeypatch.setattr(cuda_all, "measure", lambda question, folder: found.get(question.name, []))
    monkeypatch.setattr(cuda_all, "are_same_bits", lambda: True)
    monkeypatch.setattr(cuda_all, "checked", lambda: [("tests", 1.0, 1.0)])
    monkeypatch.setattr(cuda_all.cli, "device", str)
    assert cuda_all.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "LOSS 0.80 (wanted 0.85)  dense forward, 2 cases: over cuDNN, lowest 0.80",
        "ok   1.00 (wanted 1.00)  tests",
        "ok   1.00 (wanted 1.00)  the same bits in two runs",
        "ok   0.70 (wanted 0.65)  dense forward, 2 cases: of the roofline, lowest 0.70",
        "ok   2.00 (wanted 1.00)  first forward, 1 cases: over cuDNN, lowest 2.00",
    ]


@pytest.mark.parametrize("command", [["demo"], ["train", "digits"]])
@pytest.mark.parametrize(("device", "words"), [("cuda:99", "device 'cuda:99' cannot be used"), ("gpu", "expected cpu")])
def test_a_device_that_is_not_there_ends_with_status_2(command, device, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--device", device])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_a_backend_without_its_gpu_ends_with_status_2(capsys, monkeypatch):
    from fastconv._kernels import cuda_driver

    monkeypatch.setattr(cuda_driver, "missing", lambda: "there is no CUDA device")
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--backends", "cuda:kept"])
    assert stop.value.code == 2
    assert "there is no CUDA device" in capsys.readouterr().err
