"""The errors of every algorithm: what data they are measured in, how they are counted, and what the command shows."""

import itertools
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from support.backends import compiled_backends
from support.false_clock import FalseClock

import fastconv.bench
from fastconv import _kernels, cli
from fastconv._kernels.contract import Declined
from fastconv.bench import accuracy, lineup, records, workloads
from fastconv.bench.cases import INTEGERS, NORMAL, RECTIFIED, WIDE, ConvCase
from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.engine import Engine, Plan
from fastconv.bench.records import FAILED, TIMED
from fastconv.bench.report import text
from fastconv.dtypes import FLOAT_TYPES

ROUNDOFF = FLOAT_TYPES["float32"].unit_roundoff
DIRECTIONS = ("forward", "grad_input", "grad_weight")
CASE = ConvCase("layer", "suite", (2, 5, 7, 6), (4, 5, 3, 3), padding=1)
DEEP = ConvCase("deep", "suite", (1, 512, 4, 4), (8, 512, 3, 3), padding=1)
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def workload(values, direction="forward", case=CASE):
    named = ConvCase(case.name, case.suite, case.x_shape, case.weight_shape, padding=1, values=values)
    return workloads.make(named, direction, "float32")


def contestant(name, result, *, grows=False):
    """Gives what ``result`` makes of a workload."""

    def prepare(given):
        return Prepared(lambda: result(given), variant=lambda: name, grows=grows)

    return Contestant(name, prepare, lambda threads: nullcontext(), is_peer=False)


def rounded(given):
    return given.exact.astype(given.dtype)


def off_by(units):
    """The answer, and at one place as many u of the sum of magnitudes more."""

    def result(given):
        found = given.exact.copy()
        place = np.unravel_index(given.scale.argmin(), found.shape)
        found[place] += units * ROUNDOFF * given.scale[place]
        return found.astype(given.dtype)

    return result


@every_direction
def test_data_is_of_its_kind_and_the_same_every_time(direction):
    plain, rectified, wide, integers = (workload(kind, direction).inputs for kind in accuracy.KINDS)
    for name in plain.keys() & {"x", "grad_out"}:
        assert (rectified[name] >= 0).all()
        assert 0.3 < (rectified[name] == 0).mean() < 0.7
        spread = np.log2(np.abs(wide[name]))
        assert spread.min() < -8
        assert 8 < spread.max() < 15
    for name in plain.keys() & {"weight", "bias"}:
        np.testing.assert_array_equal(rectified[name], plain[name])
        assert np.abs(wide[name]).max() < 6
    for array in integers.values():
        np.testing.assert_array_equal(array, np.rint(array))
        assert len(np.unique(array)) > 2
    for kind, inputs in zip(accuracy.KINDS, (plain, rectified, wide, integers), strict=True):
        for name, array in workload(kind, direction).inputs.items():
            np.testing.assert_array_equal(array, inputs[name])


@every_direction
@pytest.mark.parametrize("case", [CASE, DEEP], ids=lambda case: case.name)
def test_sums_of_integers_stay_below_what_is_promised(direction, case):
    assert 1000 < workload(INTEGERS, direction, case).scale.max() < 2**18


@pytest.mark.parametrize("direction", ["forward", "grad_input"])
def test_a_grown_window_counts_the_largest_sum_at_most_one_row_and_column_away(direction):
    given = workload(NORMAL, direction)
    found = accuracy.grown_scale(given)
    for n, k, row, col in np.ndindex(given.scale.shape):
        near = given.scale[n, k, max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2]
        assert found[n, k, row, col] == near.max()


def test_a_grown_window_of_a_tap_reaches_taps_that_the_kernel_does_not_have():
    given = workload(NORMAL, "grad_weight")
    found = accuracy.grown_scale(given)
    grad_out, x = (np.abs(given.inputs[name].astype(np.float64)) for name in ("grad_out", "x"))
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for k, c, row, col in np.ndindex(found.shape):
        sums = [
            (grad_out[:, k] * padded[:, c, row + down : row + down + 7, col + right : col + right + 6]).sum()
            for down, right in itertools.product(range(3), repeat=2)
        ]
        assert found[k, c, row, col] == pytest.approx(max(sums))
        assert sums[4] == pytest.approx(given.scale[k, c, row, col])


def test_errors_are_counted_in_both_ways_where_the_bound_needs_it():
    windows, grown = (contestant(str(grows), off_by(100), grows=grows) for grows in (False, True))
    found = accuracy.measure([windows, grown], workload(NORMAL))
    assert [errors.values for errors in found["True"]] == list(accuracy.KINDS)
    for plain, both in zip(found["False"], found["True"], strict=True):
        assert plain.error_ulp == both.error_ulp == pytest.approx(100, abs=2)
        assert plain.grown_ulp is None
        assert 0 < both.grown_ulp < 95
        assert not plain.is_exact
    smallest, *_, largest = sorted(errors.largest_sum for errors in found["True"])
    assert smallest > 10
    assert largest > 1000


def test_only_what_equals_float64_is_exact():
    (errors,) = accuracy.measure([contestant("rounded", rounded)], workload(NORMAL)).values()
    assert [entry.is_exact for entry in errors] == [False, False, False, True]
    assert errors[-1].error_ulp == 0
    (errors,) = accuracy.measure([contestant("one more", lambda given: rounded(given) + 1)], workload(NORMAL)).values()
    assert not errors[-1].is_exact


def raising(given):
    if given.case.values == WIDE:
        raise ArithmeticError("overflow")
    return rounded(given)


def infinite(given):
    return rounded(given) * (np.inf if given.case.values == RECTIFIED else 1)


def test_who_fails_in_one_kind_of_data_is_not_timed_and_the_others_are():
    clock = FalseClock()
    players = [contestant("a", raising), clock.contestant("b", 0.01), contestant("c", infinite)]
    (job,) = Engine(Plan([CASE], players, accuracy=True), clock=clock.clock).run()
    assert [record.status for record in job] == [FAILED, TIMED, FAILED]
    assert job[0].reason == "raised ArithmeticError: overflow"
    assert "rectified data: is not finite" in job[2].reason
    assert job[0].accuracy == job[2].accuracy == ()
    assert [errors.values for errors in job[1].accuracy] == list(accuracy.KINDS)


def test_errors_are_measured_only_where_they_were_asked_for():
    clock = FalseClock()
    (job,) = Engine(Plan([CASE], [clock.contestant("fastconv:b", 0.01)]), clock=clock.clock).run()
    assert job[0].accuracy == ()


TILES = ConvCase("tiles", "suite", (1, 32, 16, 16), (64, 32, 3, 3), padding=1)


@compiled_backends
def test_every_algorithm_that_takes_a_layer_has_its_name_and_a_precision_leaves_some_out(backend):
    jobs = list(itertools.product(DIRECTIONS, ["channels_last"], ["float32"]))
    tables = _kernels.load(backend).VARIANTS
    known = {variant.name for direction in DIRECTIONS for variant in tables[f"conv2d_{direction}"]}

    def taking(precision, case=TILES, jobs=jobs):
        found = lineup.algorithms([backend], jobs, None, precision)
        assert {entry.name for entry in found} == {f"fastconv:{backend}:{name}" for name in known}
        return {entry.name.split(":")[-1] for entry in found if entry.takes_part(case)}

    assert taking("strict") < taking("high") < taking("fast") <= known
    assert taking("fast") - taking("high") == {"winograd4"}
    assert taking("high") - taking("strict") == {"winograd2"}
    assert "direct" in taking("strict")
    assert "winograd2" not in taking("fast", jobs=[("forward", "channels_last", "float64")])
    assert not taking("fast", jobs=[("step", "nchw", "float32")])
    (only,) = lineup.algorithms([backend], jobs, "winograd4", "fast")
    prepared = only.prepare(workloads.make(TILES, "forward", "float32").in_layout("channels_last"))
    assert prepared.grows
    prepared.call()
    assert prepared.variant() == "winograd4"


@compiled_backends
@every_direction
def test_errors_of_every_algorithm_keep_its_bound(backend, direction):
    given = workloads.make(TILES, direction, "float32").in_layout("channels_last")
    found = lineup.algorithms([backend], [(direction, "channels_last", "float32")], None, "fast")
    playing = [entry for entry in found if entry.takes_part(TILES) and not isinstance(entry.prepare(given), Declined)]
    errors = accuracy.measure(playing, given)
    assert f"fastconv:{backend}:direct" in errors
    for player in playing:
        normal, *_, integers = errors[player.name]
        is_fast = player.prepare(given).coarseness > 1
        assert (normal.grown_ulp or normal.error_ulp) <= (64 if is_fast else 32 if direction == "grad_weight" else 16)
        assert integers.is_exact or is_fast


def run_command(tmp_path, *arguments):
    target = tmp_path / "errors.json"
    settings = ("--rounds", "2", "--threads", "1", "--json", str(target))
    assert cli.main(["bench", "--accuracy", "--suite", "cifar", "--case", "32,16", *settings, *arguments]) == 0
    return records.load(target)


def test_the_command_shows_every_algorithm_beside_its_speed(tmp_path, capsys):
    found = run_command(tmp_path, "--peers", "im2col")
    printed = capsys.readouterr().out
    assert found.complete
    assert found.settings["accuracy"]
    assert (found.settings["direction"], found.settings["layout"]) == ([*DIRECTIONS], ["channels_last"])
    timed = [record for record in found.records if record.status == TIMED]
    assert "im2col" in {record.contestant for record in timed}
    assert all(len(record.accuracy) == len(accuracy.KINDS) and record.gflops > 0 for record in timed)
    for name in lineup.compiled_backends():
        assert {f"fastconv:{name}:{variant}" for variant in ("direct", "winograd2", "winograd4")} <= {
            record.contestant for record in timed if record.direction == "forward"
        }
    header, rows = text.worst(found.records)
    assert all(row[-1] for row in rows)
    for row in rows:
        assert [cell in printed for cell in row] == [True] * len(header)
    assert "window grown by one pixel" in printed
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(fastconv.bench.__file__).with_name("record.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((tmp_path / "errors.json").read_text(encoding="utf-8")), schema)


def test_a_variant_and_a_direction_can_be_asked_for_alone(tmp_path, capsys):
    who = lineup.compiled_backends()[0]
    found = run_command(tmp_path, "--variant", "winograd2", "--direction", "grad_input", "--backends", who)
    assert [(record.contestant, record.direction) for record in found.records] == [
        (f"fastconv:{who}:winograd2", "grad_input")
    ]
    assert capsys.readouterr().out.count(f"fastconv:{who}:winograd2") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "pool"], "errors are those of convolutions; pool has none of that name"),
        (["--suite", "cifar", "--case", "zebra"], "cifar has none of that name"),
        (["--backends", "reference:kept"], "name it 'reference' alone"),
        (["--backends", "cuda9"], "no backend 'cuda9'"),
        (["--backends", "reference", "--variant", "magic"], "no chosen backend has a variant 'magic'"),
        (["--variant", "winograd2", "--precision", "strict"], "nobody takes part: no algorithm"),
        (["--variant", "winograd2", "--dtype", "float64"], "nobody takes part: no algorithm"),
        (["--peers", "tensorflow"], "no peer 'tensorflow'"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments, words, capsys):
    assert cli.main(["bench", "--accuracy", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_the_layers_are_the_3x3_ones_of_two_networks_unless_others_are_named(capsys):
    assert cli.main(["bench", "--accuracy", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "vgg16: 512,14->512 k3s1" in listed
    assert "resnet50: 64,56->64 k3s1" in listed
    assert all("k3s1" in line for line in listed)
    assert cli.main(["bench", "--accuracy", "--suite", "alexnet", "--list"]) == 0
    assert "alexnet: 96,27->256 k5s1g2" in capsys.readouterr().out.splitlines()
