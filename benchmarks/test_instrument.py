"""The engine of ``fastconv bench`` measures itself: one contestant under two names is as fast as itself."""

from dataclasses import replace

import pytest

from benchmarks.reported import show, show_reported
from fastconv.bench import lineup
from fastconv.bench.cases import RESNET_LAYER
from fastconv.bench.engine import Engine, Plan

TOLERANCE = 0.03


@show_reported
def test_one_contestant_under_two_names(benchmark, capsys, threads):
    backends = lineup.compiled_backends()
    if not backends:
        pytest.skip("no compiled backend is usable")
    (contestant,) = lineup.backends(backends[:1])
    again = replace(contestant, name=f"{contestant.name} again", is_peer=True)
    plan = Plan([RESNET_LAYER], [contestant, again], batches=[4], layouts=["channels_last"], threads=[threads])
    ((record, _),) = Engine(plan).run()
    show(benchmark, record.samples)
    ratio, low, high = record.ratio_to_best_peer, record.ratio_low, record.ratio_high
    benchmark.extra_info |= {"contestant": contestant.name, "ratio": ratio, "ratio_low": low, "ratio_high": high}
    with capsys.disabled():
        print(f"\n{contestant.name} against itself: {ratio:.4f} [{low:.4f}, {high:.4f}]")
    assert abs(ratio - 1) <= TOLERANCE
