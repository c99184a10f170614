"""The stopwatch, with a clock that tells it how long everything takes."""

import gc
import math

import numpy as np
import pytest
from support.false_clock import FalseClock

from fastconv.bench import ratios
from fastconv.bench.ratios import Ratio
from fastconv.bench.timing import QUICK, Budget, measure, medians

BUDGET = Budget()


def test_samples_are_the_cost_of_one_call():
    clock = FalseClock()
    samples = measure({"a": clock.work(0.1), "b": clock.work(0.25)}, BUDGET, clock=clock.clock)
    assert samples["a"] == pytest.approx([0.1] * 20)
    assert len(samples["b"]) == 12
    assert samples["b"] == pytest.approx([0.25] * 12)


def test_short_calls_are_repeated_and_divided():
    clock = FalseClock()
    samples = measure({"short": clock.work(1e-5, "short")}, BUDGET, clock=clock.clock)
    assert samples["short"] == pytest.approx([1e-5] * 20)
    # 3 to warm up; a sample of 2 ms holds 200 calls and follows as many uncounted ones.
    assert len(clock.calls) == pytest.approx(3 + 20 * 400, abs=40)


def test_what_a_clock_cannot_resolve_does_not_divide_by_zero():
    clock = FalseClock()
    assert measure({"nothing": clock.work(0.0)}, QUICK, clock=clock.clock)["nothing"] == [0.0] * QUICK.rounds


def test_calls_that_warm_up_are_not_counted():
    clock = FalseClock()
    compiles = iter([5.0] * BUDGET.warm_up)
    call = clock.work(0.1)

    def compiling():
        clock.sleep(next(compiles, 0.0))
        call()

    assert measure({"a": compiling}, BUDGET, clock=clock.clock)["a"] == pytest.approx([0.1] * 20)


def test_everybody_plays_once_a_round_in_changing_order():
    clock = FalseClock()
    names = ["a", "b", "c"]
    measure({name: clock.work(0.05, name) for name in names}, Budget(warm_up=1), clock=clock.clock)
    rounds = [tuple(clock.calls[start : start + 3]) for start in range(3, 3 + 60, 3)]
    assert {frozenset(played) for played in rounds} == {frozenset(names)}
    assert len(set(rounds)) == math.factorial(3)


def test_the_order_is_the_same_for_the_same_seed():
    orders = []
    for seed in (1, 1, 2):
        clock = FalseClock()
        measure({name: clock.work(0.05, name) for name in "abc"}, BUDGET, clock=clock.clock, seed=seed)
        orders.append(tuple(clock.calls))
    assert orders[0] == orders[1] != orders[2]


def test_the_slow_leave_after_their_seconds_but_not_before_their_least_samples():
    clock = FalseClock()
    samples = measure({"slow": clock.work(2.0), "fast": clock.work(0.03)}, BUDGET, clock=clock.clock)
    assert (len(samples["slow"]), len(samples["fast"])) == (BUDGET.least, BUDGET.rounds)


def test_after_the_deadline_only_the_least_rounds_are_done():
    clock = FalseClock()
    samples = measure({"a": clock.work(0.1)}, BUDGET, deadline=0.0, clock=clock.clock)
    assert len(samples["a"]) == BUDGET.least


class _Spinning:
    """A pool of threads that spins for a while after each call and slows down whoever comes in that time."""

    def __init__(self, clock, spin=0.01):
        self.clock, self.spin, self.until = clock, spin, -1.0

    def spinner(self):
        self.clock.time += 0.004
        self.until = self.clock.time + self.spin

    def victim(self):
        self.clock.time += 0.004 * (2 if self.clock.time < self.until else 1)


@pytest.mark.parametrize(("pause", "slowed"), [(0.02, False), (0.0, True)])
def test_the_pause_lets_a_spinning_pool_go_to_sleep(pause, slowed):
    clock = FalseClock()
    pool = _Spinning(clock)
    calls = {"spinner": pool.spinner, "victim": pool.victim}
    samples = measure(calls, Budget(pause=pause, wake=0.0, rounds=40), clock=clock.clock)
    assert (max(samples["victim"]) > 0.005) == slowed


def test_after_one_that_spins_longer_the_pause_is_longer():
    clock = FalseClock()
    pool = _Spinning(clock, spin=0.05)
    calls = {"spinner": pool.spinner, "victim": pool.victim}
    slowed = []
    for rests in ({}, {"spinner": 0.06, "victim": 0.0}):
        samples = measure(calls, Budget(rounds=40, wake=0.0), rests=rests, clock=clock.clock)
        slowed.append(max(samples["victim"]) > 0.005)
    assert slowed == [True, False]


def test_a_drifting_machine_cancels_out_of_paired_ratios():
    clock = FalseClock(slowness=lambda now: 1 + now)
    samples = measure({"a": clock.work(0.01), "b": clock.work(0.02)}, Budget(pause=0.0), clock=clock.clock)
    ratio = ratios.paired(samples["a"], samples["b"])
    assert max(samples["a"]) > 1.5 * min(samples["a"])
    assert ratio.value == pytest.approx(2.0, rel=0.03)
    assert ratio.is_outside_noise


def _is_calm(clock):
    return lambda: clock.slowness(clock.time) == 1.0


def test_what_a_neighbour_spoiled_is_measured_again():
    clock, disturbed = FalseClock(slowness=lambda now: 2.0 if 0.5 < now < 1.0 else 1.0), {}
    settings = {"is_calm": _is_calm(clock), "disturbed": disturbed, "clock": clock.clock}
    samples = measure({"a": clock.work(0.01), "b": clock.work(0.03)}, BUDGET, **settings)
    assert samples == {"a": pytest.approx([0.01] * 20), "b": pytest.approx([0.03] * 20)}
    assert disturbed == {"a": 0, "b": 0}


def test_samples_are_taken_again_a_bounded_number_of_times():
    clock, disturbed, budget = FalseClock(), {}, Budget(retakes=7, warm_up=1, wake=0.0, sample=0.0)
    samples = measure(
        {"a": clock.work(0.01, "a")}, budget, is_calm=lambda: False, disturbed=disturbed, clock=clock.clock
    )
    assert len(clock.calls) == 1 + 20 + 7
    assert (len(samples["a"]), disturbed["a"]) == (20, 20)


def test_nothing_is_taken_again_after_the_seconds():
    clock, budget = FalseClock(), Budget(seconds=1.0, least=3, warm_up=1)
    samples = measure({"a": clock.work(0.6, "a")}, budget, is_calm=lambda: False, clock=clock.clock)
    assert (len(clock.calls), len(samples["a"])) == (1 + 4, 3)


def test_the_garbage_collector_rests_only_while_measuring():
    clock, seen = FalseClock(), []

    def call():
        seen.append(gc.isenabled())
        clock.sleep(1.0)

    measure({"a": call}, QUICK, clock=clock.clock)
    assert not any(seen)
    assert gc.isenabled()


def test_an_interrupt_goes_through_and_leaves_the_collector_on():
    def call():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure({"a": call}, QUICK)
    assert gc.isenabled()


def test_medians():
    clock = FalseClock()
    assert medians({"a": clock.work(0.5)}, QUICK, clock=clock.clock) == {"a": pytest.approx(0.5)}


def test_equal_contestants_are_within_noise(rng):
    times = rng.lognormal(0, 0.1, size=(2, 20))
    ratio = ratios.paired(*times)
    assert ratio.low <= ratio.value <= ratio.high
    assert 0.8 < ratio.value < 1.25


def test_the_interval_covers_the_truth_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        ours, theirs = rng.lognormal(0, 0.1, size=20), 1.5 * rng.lognormal(0, 0.1, size=20)
        ratio = ratios.paired(ours, theirs)
        covered += ratio.low <= 1.5 <= ratio.high
    assert 170 <= covered <= 200


def test_unpaired_ratios_compare_medians(rng):
    ours, theirs = rng.lognormal(0, 0.05, size=30), 3 * rng.lognormal(0, 0.05, size=12)
    ratio = ratios.unpaired(ours, theirs)
    assert ratio.value == pytest.approx(np.median(theirs) / np.median(ours))
    assert 2.5 < ratio.low < ratio.value < ratio.high < 3.5


def test_paired_ratios_use_the_rounds_that_both_have():
    assert ratios.paired([1.0, 1.0, 100.0], [2.0, 2.0]).value == 2.0


@pytest.mark.parametrize("compute", [ratios.paired, ratios.unpaired])
def test_few_samples_leave_no_interval(compute):
    assert compute([1.0] * 5, [2.0] * 9) == Ratio(2.0, None, None)
    assert compute([1.0] * 9, [2.0] * 5) == Ratio(2.0, None, None)
    assert compute([1.0] * 6, [2.0] * 6) == Ratio(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.1, 1.3, ratios.FASTER),
        (0.7, 0.9, ratios.SLOWER),
        (0.9, 1.3, ratios.EVEN),
        (1.0, 1.3, ratios.EVEN),
        (None, None, ratios.UNKNOWN),
    ],
)
def test_the_verdict_of_a_ratio(low, high, verdict):
    ratio = Ratio(1.2, low, high)
    assert ratio.verdict == verdict
    assert ratio.is_outside_noise == (verdict in (ratios.FASTER, ratios.SLOWER))
    assert ratio.is_below(1.0) == (verdict == ratios.SLOWER)


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        cases = [ratios.paired(rng.lognormal(0, 0.1, 20), 1.5 * rng.lognormal(0, 0.1, 20)) for _ in range(4)]
        mean = ratios.mean(cases)
        covered += mean.low <= 1.5 <= mean.high
        assert mean.high / mean.low < max(case.high / case.low for case in cases)
    assert 170 <= covered <= 200


def test_a_mean_with_an_unknown_case_has_no_interval():
    assert ratios.mean([Ratio(2.0, 1.9, 2.1), Ratio(0.5, None, None)]) == Ratio(1.0, None, None)


def test_geometric_mean():
    assert ratios.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
