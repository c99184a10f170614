"""The engine, with false contestants of known cost: it checks, then times, and computes what it says."""

import ast
import contextlib
import math
import re
from pathlib import Path

import numpy as np
import pytest
from support.false_clock import FalseClock

from fastconv._kernels import BACKENDS
from fastconv._kernels.contract import Declined
from fastconv.bench import engine, session, workloads
from fastconv.bench.cases import AdamCase, BatchNormCase, ChainCase, ConvCase, LinearCase, PoolCase
from fastconv.bench.contestant import Prepared
from fastconv.bench.engine import Engine, Plan
from fastconv.bench.limits import Bandwidth, Limits
from fastconv.bench.peers import PEERS
from fastconv.bench.records import DECLINED, FAILED, TIMED, WRONG, Record
from fastconv.bench.report import text
from fastconv.bench.timing import Budget

CASE = ConvCase("layer", "suite", (1, 3, 6, 5), (4, 3, 3, 3), padding=1, count=3)
POOL = PoolCase("pool", "suite", (1, 2, 6, 6), 2)
LINEAR = LinearCase("linear", "suite", (1, 7), (5, 7))
CHAIN = ChainCase("chain", "suite", (ConvCase("a", "suite", (1, 2, 5, 5), (2, 2, 3, 3), padding=1),) * 2)
NORM = BatchNormCase("norm", "suite", (1, 2, 6, 6))
SPEEDS = (("L2", 1e7), ("memory", 1e6))
STEP = AdamCase("step", "suite", (1, 72))
FLOPS = 2 * 4 * 6 * 5 * 3 * 9
BYTES = 4 * (3 * 30 + 4 * 3 * 9 + 4 + 4 * 30)


def run(clock, contestants, cases=(CASE,), **settings):
    limits, peak = settings.pop("limits", {}), settings.pop("peak", lambda dtype, seconds=None: None)
    plan = Plan(cases, contestants, **settings)
    return [record for job in Engine(plan, limits, peak, clock.clock).run() for record in job]


def test_a_record_says_what_was_measured():
    clock = FalseClock()
    (record,) = run(clock, [clock.contestant("fastconv:a", 0.01)])
    assert (record.case, record.suite, record.count, record.direction) == ("layer", "suite", 3, "forward")
    assert (record.batch, record.layout, record.dtype, record.threads) == (1, "nchw", "float32", 1)
    assert (record.contestant, record.status, record.variant, record.rounds) == ("fastconv:a", TIMED, "false", 20)
    assert (record.time_median, record.time_min, record.time_first) == pytest.approx((0.01, 0.01, 0.01))
    assert record.samples == pytest.approx([0.01] * 20)
    assert (record.flops, record.bytes) == (FLOPS, BYTES)
    assert record.gflops == pytest.approx(FLOPS / 0.01 / 1e9)
    assert record.gbytes_per_s == pytest.approx(BYTES / 0.01 / 1e9)
    assert 0 < record.max_error < 1e-5
    assert 0 < record.error_ulp <= 1
    assert (record.peak_fraction, record.roofline_fraction, record.ratio_to_best_peer) == (None, None, None)


def test_fractions_of_the_limits():
    clock, peaks = FalseClock(), iter([1e6, 2e6])

    def peak(dtype, seconds=None):
        return 1e12 if seconds == 0 else next(peaks)

    memory = Bandwidth("memory", 1 << 30, read=1e6, write=1e6, copy=2e6, streaming=4e6)
    limits = {1: Limits(1, {"float32": 1e12}, (memory,))}
    (record,) = run(clock, [clock.contestant("a", 0.01)], limits=limits, peak=peak)
    assert record.peak_gflops == pytest.approx(2e-3)
    assert record.peak_fraction == pytest.approx(FLOPS / 0.01 / 2e6)
    read = BYTES - 4 * 120
    assert record.roofline_fraction == pytest.approx(max(read / 1e6, BYTES / 4e6) / 0.01)


def test_samples_of_a_disturbed_machine_are_taken_again():
    """A neighbour takes half of the machine for a while of each second, and then nobody's sample counts."""
    clock = FalseClock(slowness=lambda now: 2.0 if now % 1.0 < 0.15 else 1.0)
    contestants = [clock.contestant("a", 0.01), clock.contestant("b", 0.02)]
    limits = {1: Limits(1, {"float32": 1e12}, ())}

    def peak(dtype, seconds=None):
        return 1e12 / clock.slowness(clock.time)

    for records, disturbed in ((run(clock, contestants, limits=limits, peak=peak), 0), (run(clock, contestants), None)):
        slow = [sum(sample > 1.5 * record.time_min for sample in record.samples) for record in records]
        assert (slow == [0, 0]) == (disturbed == 0)
        assert [record.disturbed for record in records] == [0, 0]


def test_a_machine_that_never_comes_to_rest_is_measured_all_the_same():
    clock = FalseClock()
    limits = {1: Limits(1, {"float32": 1e12}, ())}
    (record,) = run(clock, [clock.contestant("a", 0.01)], limits=limits, peak=lambda dtype, seconds=None: 0.8e12)
    assert record.rounds == record.disturbed == 20
    assert "(20 of 20 samples disturbed)" in str(text.jobs([record]))


@pytest.mark.parametrize("direction", POOL.directions)
def test_what_multiplies_nothing_has_no_share_of_the_multiply_add_peak(direction):
    clock = FalseClock()
    memory = Bandwidth("memory", 1 << 30, read=1e6, write=1e6, copy=1e6, streaming=1e6)
    limits = {1: Limits(1, {"float32": 1.0}, (memory,))}
    contestants = [clock.contestant("a", 0.01)]
    (record,) = run(
        clock, contestants, [POOL], directions=[direction], limits=limits, peak=lambda dtype, seconds=None: 1.0
    )
    assert record.peak_fraction is None
    assert record.flops > 0
    assert record.roofline_fraction == pytest.approx(4 * (72 + 18 if direction == "forward" else 18 + 72) / 1e6 / 0.01)


@pytest.mark.parametrize(
    ("case", "direction", "read", "written"),
    [(NORM, "forward", 2 * 72 + 4, 72), (NORM, "grad_input", 4 * 72 + 4, 72), (STEP, "step", 4 * 72, 3 * 72)],
)
def test_what_is_read_twice_or_written_over_counts_again_but_needs_no_room(case, direction, read, written):
    """The cache just holds one copy of each array, and moves bytes ten times as fast."""
    clock = FalseClock()
    held = 4 * {"forward": 2 * 72 + 4, "grad_input": 3 * 72 + 4, "step": 4 * 72}[direction]
    near, far = (
        Bandwidth(level, held, read=speed, write=speed, copy=speed, streaming=speed) for level, speed in SPEEDS
    )
    limits = {1: Limits(1, {"float32": 1.0}, (near, far))}
    (record,) = run(clock, [clock.contestant("a", 0.01)], [case], batches=[1], directions=[direction], limits=limits)
    assert record.bytes == 4 * (read + written)
    assert record.roofline_fraction == pytest.approx(record.bytes / 1e7 / 0.01)
    assert (record.peak_fraction, record.flops) == (None, 72)


def test_beside_what_only_moves_bytes_the_moving_itself_is_timed():
    """The memory becomes slower and slower: only the same round's moving says what a pass could have reached."""
    clock = FalseClock(slowness=lambda now: 1.0 + now)
    asked = []

    def movers(*nbytes):
        asked.append(nbytes)
        return [clock.work(0.003), clock.work(0.002)]

    plan = Plan([STEP, LINEAR], [clock.contestant("a", 0.004)], ["step", "forward"])

    def measured(peak):
        memory = Bandwidth("memory", 1 << 30, read=1e6, write=1e6, copy=1e6, streaming=1e6)
        limits = {1: Limits(1, {"float32": peak}, (memory,))}
        return [record for (record,) in Engine(plan, limits, clock=clock.clock, movers=movers).run()]

    # 70 FLOP and about 200 bytes: the one or the other limits it.
    assert [record.roofline_fraction for record in measured(1e9)] == pytest.approx([0.5, 0.5], rel=0.1)
    assert len(asked) == 2
    step, linear = measured(1e3)
    assert asked[2:] == [(4 * 4 * 72, 4 * 3 * 72, 4 * 4 * 72)]
    assert step.roofline_fraction == pytest.approx(0.5, rel=0.1)
    assert linear.roofline_fraction == pytest.approx(70 / 1e3 / linear.time_median)


def test_without_memory_for_the_movers_the_limits_serve():
    def movers(*nbytes):
        raise MemoryError

    clock = FalseClock()
    memory = Bandwidth("memory", 1 << 30, read=1e6, write=1e6, copy=1e6, streaming=1e6)
    limits = {1: Limits(1, {"float32": 1.0}, (memory,))}
    plan = Plan([STEP], [clock.contestant("a", 0.004)], ["step"])
    ((record,),) = Engine(plan, limits, clock=clock.clock, movers=movers).run()
    assert (record.status, record.roofline_fraction) == (TIMED, pytest.approx(4 * 7 * 72 / 1e6 / 0.004))


@pytest.mark.parametrize(
    ("read", "written", "held"), [(4 << 20, 1 << 20, 5 << 20), (3 << 20, 2 << 20, 3 << 20), (50000, 0, 50000)]
)
def test_real_movers_move_what_a_pass_moves(read, written, held):
    pytest.importorskip("fastconv._kernels.cython_cpu.machine")
    from fastconv.bench import limits

    for mover in limits.movers(read, written, held):
        assert mover.moved == pytest.approx((read, written), rel=0.05)
        assert mover.memory.nbytes == pytest.approx(held, rel=0.05)
        mover()
        is_written = mover.memory.view(np.float32) == 1
        assert 4 * np.count_nonzero(is_written) == mover.moved[1]
        assert is_written[-1] == (0 < written <= held - read)


def test_ratios_are_to_the_fastest_peer():
    clock = FalseClock()
    contestants = [
        clock.contestant("fastconv:slow", 0.03),
        clock.contestant("fastconv:fast", 0.005),
        clock.contestant("peer:slow", 0.02, is_peer=True),
        clock.contestant("peer:fast", 0.01, is_peer=True),
    ]
    records = {record.contestant: record for record in run(clock, contestants)}
    assert {record.best_peer for record in records.values()} == {"peer:fast"}
    ratios = {name: record.ratio_to_best_peer for name, record in records.items()}
    expected = {"fastconv:slow": 1 / 3, "fastconv:fast": 2.0, "peer:slow": 0.5, "peer:fast": 1.0}
    assert ratios == pytest.approx(expected)
    assert all(record.ratio_low <= record.ratio_to_best_peer <= record.ratio_high for record in records.values())


def test_one_disturbed_peer_does_not_become_the_best_of_its_rounds():
    """The steady peer is faster in most rounds, but a stall in the others gives it the larger median."""
    times = {"steady": [1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0], "slower": [2.0] * 4 + [18.0] * 3}
    records = [
        Record("c", "s", 1, "forward", 1, "nchw", "float32", 1, name, TIMED, time_median=median, samples=tuple(samples))
        for (name, samples), median in zip(times.items(), (3.0, 2.0), strict=True)
    ]
    found = engine._compared(records, set(times))
    assert {record.best_peer for record in found} == {"steady"}
    assert [record.ratio_to_best_peer for record in found] == [1.0, 0.5]


def _with_nan(answer):
    answer = answer.copy()
    answer.flat[-1] = np.nan
    return answer


def _off_by(amount):
    def change(answer):
        answer = answer.copy()
        answer.flat[7] += amount
        return answer

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_off_by(0.01), r"differs from float64 at \(0, 0, 1, 2\)"),
        (_with_nan, "not finite"),
        (lambda answer: answer[..., :-1], "has shape"),
        (lambda answer: answer.astype(np.float64), "has dtype float64"),
        (lambda answer: np.ascontiguousarray(answer.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), "not in layout nchw"),
    ],
)
def test_a_wrong_result_is_reported_and_never_timed(change, words):
    clock = FalseClock()
    contestants = [
        clock.contestant("wrong", 0.001, is_peer=True, result=change),
        clock.contestant("right", 0.01, is_peer=True),
        clock.contestant("fastconv:a", 0.02),
    ]
    wrong, right, ours = run(clock, contestants)
    assert wrong.status == WRONG
    assert re.search(words, wrong.reason)
    assert (wrong.time_median, wrong.samples, wrong.rounds, wrong.ratio_to_best_peer) == (None, (), 0, None)
    assert clock.calls.count("wrong") == 1
    assert (right.status, ours.best_peer, ours.ratio_to_best_peer) == (TIMED, "right", pytest.approx(0.5))


def test_a_result_in_the_other_layout_is_wrong_the_other_way_round_too():
    clock = FalseClock()
    contestants = [clock.contestant("a", 0.01, result=np.ascontiguousarray), clock.contestant("b", 0.01)]
    wrong, right = run(clock, contestants, layouts=["channels_last"])
    assert (wrong.status, wrong.reason, right.status) == (WRONG, "is not in layout channels_last", TIMED)


def test_who_declines_says_why_and_is_not_timed():
    clock = FalseClock()
    declining = clock.contestant("a", 1.0, prepare=lambda workload: Declined(f"no {workload.op} today"))
    (record, other) = run(clock, [declining, clock.contestant("b", 0.01)])
    assert (record.status, record.reason, record.time_median) == (DECLINED, "no conv2d_forward today", None)
    assert other.status == TIMED


def test_every_combination_is_a_job():
    clock = FalseClock()
    plan = Plan(
        (CASE, POOL, LINEAR, CHAIN, NORM),
        [clock.contestant("a", 0.01), clock.contestant("b", 0.01)],
        directions=("forward", "grad_input", "grad_weight"),
        batches=(1, 2),
        layouts=("nchw", "channels_last"),
        dtypes=("float32", "float64"),
        threads=(1, 2),
        budget=Budget(rounds=1, least=1),
    )
    jobs = list(Engine(plan, clock=clock.clock).run())
    # Layouts mean nothing to the linear layer; a pooling and a pass have no weight, a chain is measured forward.
    assert len(jobs) == plan.job_count() == 8 * (3 * 2 + 2 * 2 + 3 * 1 + 1 * 2 + 2 * 2)
    assert plan.record_count() == sum(len(job) for job in jobs)
    assert len({job[0].job for job in jobs}) == len(jobs)
    assert {record.status for job in jobs for record in job} == {TIMED}


def test_everybody_works_with_the_threads_of_the_job():
    clock, seen = FalseClock(), []

    @contextlib.contextmanager
    def environment(threads):
        seen.append(threads)
        yield
        seen.append(-threads)

    run(clock, [clock.contestant("a", 0.01, environment=environment)], threads=(1, 4))
    assert seen == [1, -1, 4, -4]


def test_after_the_deadline_no_job_begins():
    clock = FalseClock()
    cases = [CASE] * 5
    found = run(clock, [clock.contestant("a", 0.1)], cases, budget=Budget(rounds=5), deadline=2.5)
    assert len(found) == 3


def test_a_job_that_is_not_ready_in_time_is_dropped():
    clock = FalseClock()
    contestants = [clock.contestant("a", 1.0), clock.contestant("b", 1.0)]
    assert run(clock, contestants, end=0.5) == []
    assert clock.calls == ["a"]


def _session(plan, monkeypatch, on_job=lambda job: None):
    monkeypatch.setattr(session.limits, "measure", lambda: Limits(1, {}, ()))
    monkeypatch.setattr(session.limits, "fma_peak", lambda dtype, seconds=None: None)
    return session.run(plan, {"rounds": 3}, on_job)


def test_a_session_describes_the_machine(monkeypatch):
    clock = FalseClock()
    plan = Plan([CASE], [clock.contestant("a", 0.0)], budget=Budget(rounds=1, least=1, pause=0.0, sample=0.0))
    found = _session(plan, monkeypatch)
    assert found.complete
    assert found.machine["stopped_by"] is None
    assert {"cpu", "instruction_set", "cores", "versions", "commit", "limits", "load_before", "load_after"} <= set(
        found.machine
    )
    assert found.machine["versions"]["numpy"] == np.__version__
    assert found.settings == {"rounds": 3}


def test_ctrl_c_keeps_the_jobs_that_ended(monkeypatch):
    clock = FalseClock()

    def interrupt(workload):
        if workload.case.x_shape[0] == 3:
            raise KeyboardInterrupt
        return clock.contestant("a", 0.0).prepare(workload)

    contestant = clock.contestant("a", 0.0, prepare=interrupt)
    plan = Plan([CASE], [contestant], batches=(1, 2, 3, 4), budget=Budget(rounds=1, pause=0.0, sample=0.0))
    heard = []
    found = _session(plan, monkeypatch, heard.append)
    assert not found.complete
    assert found.machine["stopped_by"] == "Ctrl-C"
    assert [record.batch for record in found.records] == [1, 2]
    assert [len(run.records) for run in heard] == [1, 2]


def test_an_error_in_the_middle_keeps_the_jobs_that_ended(monkeypatch):
    make = workloads.make

    def failing(case, *rest):
        if case.x_shape[0] == 3:
            raise MemoryError("no room")
        return make(case, *rest)

    monkeypatch.setattr(workloads, "make", failing)
    clock = FalseClock()
    plan = Plan([CASE], [clock.contestant("a", 0.0)], batches=(1, 2, 3), budget=Budget(rounds=1, pause=0.0, sample=0.0))
    found = _session(plan, monkeypatch)
    assert (len(found.records), found.complete) == (2, False)
    assert found.machine["stopped_by"] == "MemoryError: no room"


@pytest.mark.parametrize("when", ["prepare", "call"])
def test_what_a_contestant_raises_is_its_result_and_stops_nobody(when):
    clock = FalseClock()

    def broken(workload):
        if when == "prepare":
            raise RuntimeError("broken")
        return Prepared(lambda: 1 / 0)

    failed, right = run(clock, [clock.contestant("a", 1.0, prepare=broken), clock.contestant("b", 0.01)])
    words = {"prepare": "raised RuntimeError: broken", "call": "raised ZeroDivisionError: division by zero"}
    assert (failed.status, failed.reason, failed.time_median) == (FAILED, words[when], None)
    assert right.status == TIMED


def _worsening(clock, name, after, worse):
    """A contestant whose call number ``after`` and later go wrong."""

    def prepare(workload):
        right = workload.exact.astype(workload.dtype)

        def call():
            clock.work(0.01, name)()
            return worse(right) if clock.calls.count(name) >= after else right

        return Prepared(call)

    return clock.contestant(name, 0.01, prepare=prepare)


def _broken(answer):
    raise RuntimeError("out of luck")


def test_a_result_that_becomes_wrong_later_is_wrong():
    clock = FalseClock()
    later, right = run(clock, [_worsening(clock, "a", 8, lambda answer: answer + 1), clock.contestant("b", 0.01)])
    assert later.status == WRONG
    assert later.reason.startswith("right at first, after many calls: differs from float64")
    assert (later.time_median, later.samples) == (None, ())
    assert right.status == TIMED


@pytest.mark.parametrize("after", [2, 9, 24])
def test_an_error_while_timing_takes_only_that_contestant_out(after):
    """While warming up, in the middle of the rounds, and in the look at the last result."""
    clock = FalseClock()
    failed, right = run(clock, [_worsening(clock, "a", after, _broken), clock.contestant("b", 0.03, is_peer=True)])
    assert failed.status in (FAILED, WRONG)
    assert "raised RuntimeError: out of luck" in failed.reason
    assert (failed.time_median, failed.samples, failed.ratio_to_best_peer) == (None, (), None)
    assert (right.status, right.rounds, right.ratio_to_best_peer) == (TIMED, 20, 1.0)


def test_jobs_that_would_not_fit_are_not_begun():
    clock = FalseClock()
    settings = {"layouts": ("nchw", "channels_last"), "threads": (1, 2), "budget": Budget(rounds=6)}
    found = run(clock, [clock.contestant("a", 1.0), clock.contestant("b", 1.0)], end=40.0, deadline=25.0, **settings)
    assert clock.time <= 45
    assert {record.layout for record in found} == {"nchw"}


def test_turns_differ_from_job_to_job():
    clock = FalseClock()
    contestants = [clock.contestant(name, 0.05) for name in "abc"]
    run(clock, contestants, batches=(1, 2), budget=Budget(warm_up=1))
    first, second = clock.calls[: len(clock.calls) // 2], clock.calls[len(clock.calls) // 2 :]
    assert sorted(first) == sorted(second)
    assert first != second


def test_the_engine_names_no_backend_and_no_peer():

    names = {*BACKENDS, *PEERS, "conv2d", "max_pool2d", "linear", "chain"}
    folder = Path(engine.__file__).parent
    for name in ("engine", "timing", "check", "session", "contestant", "summary", "ratios", "comparison", "limits"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        values = [getattr(node, "value", None) for node in ast.walk(tree)]
        words = {value for value in values if isinstance(value, str)}
        assert not words & names, name
        assert not [word for word in words if any(word.startswith(f"{peer}:") for peer in names)], name


def test_limits_choose_the_level_that_holds_the_data():
    near = Bandwidth("L2", 1000, read=100.0, write=100.0, copy=100.0, streaming=50.0)
    far = Bandwidth("memory", 10**6, read=10.0, write=10.0, copy=10.0, streaming=20.0)
    limits = Limits(1, {"float32": 1000.0}, (near, far))
    assert limits.roofline_seconds("float32", 0, 800, 200) == pytest.approx(10.0)
    assert limits.roofline_seconds("float32", 0, 800, 1200) == pytest.approx(100.0)
    assert limits.roofline_seconds("float32", 0, 1500, 500) == pytest.approx(150.0)
    assert limits.roofline_seconds("float32", 10**6, 800, 200) == pytest.approx(1000.0)
    assert limits.roofline_seconds("float32", 0, 800, 1200, held=1000) == pytest.approx(20.0)
    assert Limits(1, {}, ()).roofline_seconds("float32", 1, 1, 1) is None
    assert near.best == 100.0


def test_real_limits_are_plausible_and_ordered():
    pytest.importorskip("fastconv._kernels.cython_cpu.machine")
    from fastconv.bench import limits

    found = limits.measure(seconds=0.02)
    assert all(1e8 < peak < 1e16 for peak in found.peaks.values())
    assert found.bandwidths[-1].level == "memory"
    assert [entry.nbytes for entry in found.bandwidths] == sorted(entry.nbytes for entry in found.bandwidths)
    assert all(1e8 < speed < 1e14 for e in found.bandwidths for speed in (e.read, e.write, e.copy, e.streaming))
    assert math.isfinite(found.roofline_seconds("float64", 10**9, 10**6, 10**6))
