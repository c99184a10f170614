"""``fastconv bench`` and ``fastconv compare`` as a user types them."""

import argparse
import importlib.util
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from support.bench_runs import MACHINE, record, run

from fastconv import cli
from fastconv.bench import comparison, records, session, summary
from fastconv.bench.cases import SUITES
from fastconv.bench.records import DECLINED, FAILED, TIMED, WRONG
from fastconv.bench.report import text
from fastconv.cli import bench

QUICK = ["bench", "--suite", "digits", "--quick", "--rounds", "3"]


@pytest.fixture
def _no_measuring(monkeypatch):
    """Whatever is wrong must be found before this is called."""
    monkeypatch.setattr(session, "run", lambda *arguments: pytest.fail("something was measured"))


@pytest.mark.usefixtures("_no_measuring")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suite", "imagenet"], "unknown: imagenet; there are lenet, cifar"),
        (["--suite", "lenet,,cifar"], "names separated by commas"),
        (["--direction", "sideways"], "there are forward, grad_input, grad_weight, step and all"),
        (["--layout", "nhcw"], "there are nchw, channels_last and all"),
        (["--dtype", "float16"], "there are float32, float64 and all"),
        (["--batch", "0"], "positive integer"),
        (["--threads", "1,two"], "positive integer"),
        (["--rounds", "-3"], "positive integer"),
        (["--allocator", "mine"], "invalid choice"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", *arguments])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("_no_measuring")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backends", "cuda9"], "no backend 'cuda9'; there are: reference, numba, cython"),
        (["--backends", "reference:fast"], "no contestant 'fastconv:reference:fast'"),
        (["--backends", "reference", "--variant", "magic"], "no chosen backend has a variant 'magic'"),
        (
            ["--backends", "reference:fused", "--peers", "none"],
            "nobody takes part: fastconv:reference:fused takes part in whole networks forward only: --suite inference",
        ),
        (
            ["--suite", "inference", "--backends", "reference:kept", "--peers", "none"],
            "reference:kept takes part in single operations and layers only: --suite lenet,cifar",
        ),
        (
            ["--suite", "inference", "--backends", "reference:fused", "--variant", "direct"],
            "variant 'direct' is an algorithm of one operation; 'reference:fused' runs whole networks",
        ),
        (["--peers", "tensorflow"], "no peer 'tensorflow'; there are: torch"),
        (["--suite", "digits", "--case", "zebra"], "no case of digits has 'zebra' in its name"),
        (["--suite", "chain", "--direction", "grad_weight"], "no case of chain has direction grad_weight"),
        (["--json", "{folder}/absent/x.json"], "does not exist"),
        (["--json", "{folder}/x.txt"], "must end in .json"),
        (["--html", "{folder}/absent/x.html"], "does not exist"),
        (["--plot", "{folder}/x.pdf"], "must end in .png"),
        (["--json", "{folder}/folder.json"], "is a folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_measuring(arguments, words, capsys, tmp_path):
    (tmp_path / "folder.json").mkdir()
    assert cli.main(["bench", *(argument.format(folder=tmp_path) for argument in arguments)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv: ")
    assert words in error


def test_who_is_named_and_does_not_take_part_is_told(capsys):
    assert cli.main(["bench", "--backends", "reference,reference:fused", "--peers", "none", "--list"]) == 0
    assert "fastconv:reference:fused takes part in whole networks forward only" in capsys.readouterr().err


@pytest.mark.usefixtures("_no_measuring")
def test_a_folder_that_cannot_be_written(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what the system says to everybody but root
    assert cli.main(["bench", "--json", str(tmp_path / "x.json")]) == 1
    assert "not writable" in capsys.readouterr().err


@pytest.mark.usefixtures("_no_measuring")
@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_package_for_the_report(package, monkeypatch, capsys, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    assert cli.main(["bench", "--html", str(tmp_path / "x.html")]) == 1
    assert "pip install 'fastconv[bench]'" in capsys.readouterr().err


def test_a_missing_peer_is_named_before_any_measuring(monkeypatch, capsys):
    monkeypatch.setattr(session, "run", lambda *arguments: pytest.fail("something was measured"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    assert cli.main(["bench", "--peers", "torch"]) == 1
    assert "pip install 'fastconv[bench]'" in capsys.readouterr().err


def test_list_prints_cases(capsys):
    assert cli.main(["bench", "--suite", "all", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(len(cases) for cases in SUITES.values())
    assert "resnet50: 64,56->64 k3s1" in lines


def test_much_noise_is_said():
    settings = {"ratio_to_best_peer": 2.0, "best_peer": "other"}
    entries = [
        record(case="calm", ratio_low=1.9, ratio_high=2.1, **settings),
        record(case="noisy", ratio_low=1.1, ratio_high=57.0, **settings),
    ]
    said = {title.split(", ")[0]: rows[0][-1] for title, (_, rows) in text.jobs(entries)}
    assert said["resnet50: calm"].startswith("ahead direct")
    assert said["resnet50: noisy"].startswith("ahead (noisy) direct")


def test_a_real_run_writes_what_it_prints(tmp_path, capsys):
    target = tmp_path / "x.json"
    arguments = [*QUICK, "--direction", "all", "--layout", "all", "--threads", "1,2", "--peers", "im2col"]
    assert cli.main([*arguments, "--json", str(target), "--plot", str(tmp_path / "x.png")]) == 0
    out = capsys.readouterr().out
    found = records.load(target)
    assert found.complete
    timed = [entry for entry in found.records if entry.status == TIMED]
    assert {entry.direction for entry in timed} == {"forward", "grad_input", "grad_weight"}
    assert {entry.layout for entry in timed} == {"nchw", "channels_last"}
    assert {entry.threads for entry in timed} == {1, 2}
    assert all(entry.time_first > 0 and entry.time_min <= entry.time_median for entry in timed)
    assert all(entry.error_ulp < 64 and f"{entry.error_ulp:.1f} u" in out for entry in timed)
    assert all(entry.best_peer == "im2col" for entry in timed)
    assert [entry["threads"] for entry in found.machine["limits"]] == [1, 2]
    assert found.settings["rounds"] == 3
    assert (tmp_path / "x.png").stat().st_size > 10_000
    assert out.index("digits: 1,8->16 k3s1, forward") < out.index("means over the cases")


def test_a_real_run_of_passes(tmp_path, capsys):
    target = tmp_path / "x.json"
    settings = ["--batch", "1", "--rounds", "3", "--threads", "1", "--layout", "all", "--json", str(target)]
    who = ["--backends", "reference", "--peers", "none"]
    assert cli.main(["bench", "--suite", "passes", "--case", "512@7", "--direction", "all", *settings, *who]) == 0
    assert "passes: batch_norm+relu 512@7, grad_input" in capsys.readouterr().out
    found = [(entry.case, entry.direction, entry.layout) for entry in records.load(target).records]
    directions = [("batch_norm+relu", ("forward", "grad_input")), ("relu", ("forward", "grad_input"))]
    directions.append(("add_relu", ("forward",)))
    layouts = ("nchw", "channels_last")
    expected = [(f"{name} 512@7", d, layout) for name, own in directions for d in own for layout in layouts]
    assert sorted(found) == sorted(expected)
    assert all(entry.status == TIMED and entry.peak_fraction is None for entry in records.load(target).records)


RATIOS = {"won": 2.0, "lost": 0.5, "even": 1.0}


def test_losses_come_first():
    entries = [
        record(case=name, ratio_to_best_peer=ratio, ratio_low=0.9 * ratio, ratio_high=1.1 * ratio, best_peer="other")
        for name, ratio in RATIOS.items()
    ]
    titles = [title for title, _ in text.jobs(entries)]
    assert [word for title in titles for word in ("won", "lost", "even") if word in title] == ["lost", "even", "won"]


@pytest.mark.parametrize("status", [WRONG, FAILED])
def test_what_is_broken_comes_before_all_losses(status):
    lost = record(case="lost", ratio_to_best_peer=0.5, ratio_low=0.4, ratio_high=0.6, best_peer="other")
    broken = record(case="broken", status=status, reason="why")
    peers = record(case="of a peer", contestant="torch:nchw", status=status, reason="why")
    (title, (_, (row,))), (second, _), (third, _) = text.jobs([peers, lost, broken])
    assert ["broken" in title, "lost" in second, "of a peer" in third] == [True] * 3
    assert (row[1], row[-1]) == (status.upper(), "why")


@pytest.mark.parametrize(
    ("interval", "word"),
    [((1.1, 1.3), "ahead"), ((0.7, 0.9), "LOSS"), ((0.9, 1.2), "even"), ((None, None), "few rounds")],
)
def test_the_verdict_in_words(interval, word):
    low, high = interval
    entry = record(ratio_to_best_peer=1.0, ratio_low=low, ratio_high=high, best_peer="other", variant="")
    ((_, (_, (row,))),) = text.jobs([entry])
    assert row[-1] == word
    assert row[-2] == ("" if low is None else f"{low:.2f}-{high:.2f}")


def test_the_time_of_a_network_needs_all_its_cases():
    entries = [_timed(case="a", count=2), _timed(case="b"), _timed(case="a", contestant="torch:nchw")]
    refused = record(case="b", contestant="torch:nchw", status=DECLINED, reason="no")
    whole, part = summary.means([*entries, refused])
    assert (whole.coverage, whole.network_seconds) == ("2", pytest.approx(3 * 2.1e-3))
    assert (part.coverage, part.network_seconds) == ("1 of 2", None)
    header, rows = text.summary([*entries, refused])
    places = header.index("cases"), header.index("network")
    assert [[row[place] for place in places] for row in rows] == [["2", "6.300 ms"], ["1 of 2", ""]]


ANNOUNCING = """
import sys
from fastconv.cli import main, results
results.Watcher.__call__ = lambda self, run: print("a job ended", flush=True)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_keeps_what_was_measured(tmp_path):
    target = tmp_path / "x.json"
    arguments = [
        "bench",
        "--suite",
        "small,lenet,cifar",
        "--direction",
        "all",
        "--peers",
        "none",
        "--json",
        str(target),
    ]
    command = [sys.executable, "-P", "-c", ANNOUNCING, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "a job ended\n"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "not complete" in error
    found = records.load(target)
    assert not found.complete
    assert found.records[0].case in out


def test_a_quick_run_has_a_deadline_and_leaves_out_what_comes_after_it(monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK_SECONDS", -1.0)
    assert cli.main(["bench", "--suite", "all", "--direction", "all", "--peers", "none", "--quick"]) == 0
    assert "not complete: 0 of" in capsys.readouterr().err


def test_a_quick_run_draws_its_cases_from_all_suites():
    parser = argparse.ArgumentParser()
    bench.register(parser.add_subparsers())
    orders = [
        bench._plan(parser.parse_args(["bench", "--suite", "all", "--peers", "none", "--quick"])).cases
        for _ in range(2)
    ]
    assert orders[0] == orders[1]
    assert len({case.suite for case in orders[0][:20]}) > 4


def _timed(seconds=2.1e-3, **settings):
    return record(time_median=seconds, samples=(seconds,) * 20, **settings)


def _compare(*arguments):
    return cli.main(["compare", *map(str, arguments)])


@pytest.fixture
def two_runs(tmp_path):
    """Two runs: in the second the numba backend takes half as long in one case and twice as long in another."""
    cases = {"faster": 0.5, "slower": 2.0, "same": 1.0}
    first = [_timed(case=name, contestant=who) for name in cases for who in ("fastconv:numba", "torch:nchw")]
    second = [_timed(2.1e-3 * factor, case=name, contestant="fastconv:numba") for name, factor in cases.items()]
    for name, content in (("a", first), ("b", second)):
        records.save(run(*content), tmp_path / f"{name}.json")
    return tmp_path / "a.json", tmp_path / "b.json"


def test_compare_two_runs(two_runs, capsys):
    assert _compare(*two_runs) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("resnet50: ")]
    assert [line.split()[1] for line in lines] == ["slower", "same", "faster"]
    assert [line.split()[-1] for line in lines] == ["SLOWER", "noise", "faster"]
    assert ["0.500" in lines[0], "1.000" in lines[1], "2.000" in lines[2]] == [True] * 3
    assert re.search(r"resnet50 +forward .* 3 +1\.000 +1\.000-1\.000 +6\.300 ms +7\.350 ms +0\.857", out)
    assert "network: all layers" in out


@pytest.mark.parametrize(("limit", "code"), [("0.45", 0), ("0.95", 1)])
def test_fail_below_sets_the_exit_code(limit, code, two_runs, capsys):
    assert _compare(*two_runs, "--fail-below", limit) == code
    assert (
        "below 0.95: resnet50: slower, forward, N 1, nchw, float32, threads 1: 0.500" in capsys.readouterr().err
    ) == bool(code)


def _noisy(seed, noise, cases, factors):
    """Two runs whose true ratio is that of the two factors."""
    random = np.random.default_rng(seed)
    return [
        run(
            *(
                record(case=str(number), samples=tuple(2.1e-3 * factor * random.lognormal(0, noise, 20)))
                for number in range(cases)
            )
        )
        for factor in factors
    ]


def test_noise_alone_does_not_fail():
    failed = [bool(comparison.runs(*_noisy(seed, 0.2, 3, (1.0, 1.0))).falls_below(0.95)) for seed in range(40)]
    assert sum(failed) <= 2


def test_a_true_loss_fails():
    failed = [bool(comparison.runs(*_noisy(seed, 0.1, 10, (0.9, 1.0))).falls_below(0.95)) for seed in range(40)]
    assert sum(failed) >= 38


def _saved(folder, first, second):
    """The files of two runs."""
    records.save(first, folder / "a.json")
    records.save(second, folder / "b.json")
    return folder / "a.json", folder / "b.json"


def test_a_loss_without_an_interval_does_not_fail(tmp_path, capsys):
    files = _saved(tmp_path, *(run(record(time_median=s, samples=(s,) * 5)) for s in (1e-3, 2e-3)))
    assert _compare(*files, "--fail-below", "0.9") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("resnet50: "))
    assert line.split()[-2:] == ["0.500", "unknown"]


def test_peers_that_are_slower_do_not_fail(tmp_path):
    entries = ([_timed(s, contestant="torch:nchw"), _timed(1e-3)] for s in (1e-3, 2e-3))
    files = _saved(tmp_path, *(run(*records) for records in entries))
    assert _compare(*files, "--fail-below", "0.9") == 0
    assert _compare(*files, "--contestants", "torch:nchw", "torch:nchw", "--fail-below", "0.9") == 1


BROKEN = {
    "wrong": ([record(case="lost", status=WRONG, reason="far off")], "WRONG", "far off", 1),
    "failed": ([record(case="lost", status=FAILED, reason="raised X: y")], "FAILED", "raised X: y", 1),
    "declined": ([record(case="lost", status=DECLINED, reason="cannot")], "declined", "cannot", 0),
    "absent": ([], "MISSING", "the job is missing: the run is not complete", 1),
    "without this contestant": (
        [_timed(case="lost", contestant="scipy")],
        "MISSING",
        "this contestant took no part in the job",
        1,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("names", [(), ("fastconv:cython", "fastconv:cython")], ids=["two runs", "contestants"])
def test_what_the_second_did_not_time_comes_first_and_fails(name, names, tmp_path, capsys):
    entries, status, reason, code = BROKEN[name]
    first, second = run(_timed(case="kept"), _timed(case="lost")), run(_timed(case="kept"), *entries, complete=False)
    arguments = [*_saved(tmp_path, first, second), *(["--contestants", *names] if names else [])]
    assert _compare(*arguments) == 0
    assert _compare(*arguments, "--fail-below", "0.1") == code
    out, error = capsys.readouterr()
    title, _, _, line = out.splitlines()[:4]
    assert title.startswith("NOT TIMED by the second")
    assert line.split()[:4] == ["fastconv:cython", status, "resnet50:", "lost"]
    assert line.endswith(reason)
    assert (
        f"resnet50: lost, forward, N 1, nchw, float32, threads 1: fastconv:cython {status.lower()}: {reason}" in error
    ) == bool(code)
    assert "the second run is not complete" in out
    assert "network: NOT all layers" in out
    assert "1 of 2" in out


@pytest.mark.parametrize(
    ("asked", "is_said"),
    [({}, True), ({"suite": ["resnet50"], "threads": [1]}, True), ({"threads": [2]}, False), ({"case": "ke"}, False)],
)
def test_what_the_second_run_was_not_asked_for_is_no_lack(asked, is_said, tmp_path, capsys):
    first, second = run(_timed(case="kept"), _timed(case="lost")), run(_timed(case="kept"), **asked)
    assert _compare(*_saved(tmp_path, first, second), "--fail-below", "0.5") == int(is_said)
    assert ("MISSING" in capsys.readouterr().out) == is_said


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_no_error(tmp_path):
    many = run(*(_timed(case=f"{number} of a long list of cases") for number in range(3000)))
    files = _saved(tmp_path, many, many)
    code = "import sys; from fastconv.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", code, "compare", *map(str, files)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_a_contestant_that_lacks_jobs_of_the_other(tmp_path, capsys):
    entries = [_timed(case=case, contestant=who) for case, who in (("a", "x"), ("a", "y"), ("b", "x"))]
    records.save(run(*entries), tmp_path / "x.json")
    assert _compare(tmp_path / "x.json", "--contestants", "x", "y", "--fail-below", "0.5") == 1
    assert re.search(r"y +MISSING +resnet50: b .* this contestant took no part", capsys.readouterr().out)


def test_all_broken_is_said_although_nothing_can_be_compared(tmp_path, capsys):
    files = _saved(tmp_path, run(_timed()), run(record(status=FAILED, reason="raised X: y")))
    assert _compare(*files, "--fail-below", "0.5") == 1
    out, error = capsys.readouterr()
    assert "FAILED" in out
    assert "no timed case and contestant in common" in error


def test_relative_to_the_peer_a_slower_machine_cancels_out(tmp_path, capsys):
    against = {"best_peer": "torch:nchw", "ratio_low": 1.0, "ratio_high": 2.0}
    first, second = (
        run(
            _timed(slowness * 1e-3, case="a", ratio_to_best_peer=ratio, **against),
            _timed(slowness * 1e-3, case="b", ratio_to_best_peer=ratio, **against | {"best_peer": peer}),
            _timed(slowness * 1e-3, case="a", contestant="torch:nchw", ratio_to_best_peer=1.0, **against),
        )
        for slowness, ratio, peer in ((1.0, 1.2, "torch:nchw"), (2.0, 1.8, "onnxruntime"))
    )
    found = {(pair.first.case, pair.first.contestant): pair.relative for pair in comparison.runs(first, second).pairs}
    assert found == {
        ("a", "fastconv:cython"): pytest.approx(1.5),
        ("b", "fastconv:cython"): None,
        ("a", "torch:nchw"): None,
    }
    assert _compare(*_saved(tmp_path, first, second)) == 0
    out = capsys.readouterr().out
    assert "relative to the peer" in out
    assert re.search(r"resnet50: a .* 1\.500 +0\.500 ", out)


def test_another_variant_is_shown(tmp_path, capsys):
    files = _saved(tmp_path, run(_timed(variant="direct")), run(_timed(variant="pointwise")))
    assert _compare(*files) == 0
    assert "direct / pointwise" in capsys.readouterr().out


def test_compare_two_contestants_of_one_run_round_by_round(tmp_path, capsys):
    drift = np.linspace(1, 5, 20)
    slow, fast = (tuple(time * drift) for time in (0.003, 0.002))
    entries = [
        record(contestant="fastconv:numba", samples=slow, time_median=float(np.median(slow))),
        record(contestant="fastconv:cython", samples=fast, time_median=float(np.median(fast))),
    ]
    records.save(run(*entries), tmp_path / "x.json")
    assert _compare(tmp_path / "x.json", "--contestants", "fastconv:numba", "fastconv:cython") == 0
    assert "1.500  1.500-1.500  faster" in capsys.readouterr().out


def test_count_weighted_network_time():
    compared = comparison.runs(
        run(_timed(case="a", count=3), _timed(case="b")),
        run(_timed(4.2e-3, case="a", count=3), _timed(case="b")),
    )
    (group,) = compared.groups()
    assert group.network_seconds == pytest.approx((4 * 2.1e-3, 7 * 2.1e-3))
    assert group.mean.value == pytest.approx(0.5**0.5)


def test_other_conditions_are_said_first(tmp_path, capsys):
    records.save(run(record()), tmp_path / "a.json")
    records.save(run(record(), machine={"cpu": "another", "limits": []}, allocator="keeping"), tmp_path / "b.json")
    assert _compare(tmp_path / "a.json", tmp_path / "b.json") == 0
    out = capsys.readouterr().out
    assert out.startswith("NOT THE SAME CONDITIONS")
    assert "cpu: AMD EPYC / another" in out
    assert "allocator: None / keeping" in out


def _machine(**changes):
    versions = MACHINE["versions"] | {name: value for name, value in changes.items() if name in MACHINE["versions"]}
    return MACHINE | {"versions": versions} | {name: value for name, value in changes.items() if name == "commit"}


@pytest.mark.parametrize(
    ("machine", "settings", "line", "is_condition"),
    [
        ({"torch": "9"}, {}, "torch: 2.13.0 / 9", True),
        ({"numpy": "9"}, {}, "numpy: 2.4 / 9", True),
        ({}, {"quick": True}, "quick: None / True", True),
        ({"fastconv": "9"}, {}, "fastconv: 0.1.0 / 9", False),
        ({"commit": "abc"}, {}, "commit: None / abc", False),
        ({}, {"complete": False}, "the second run is not complete: cases are missing", False),
    ],
)
def test_what_differs_between_two_runs(machine, settings, line, is_condition, tmp_path, capsys):
    files = _saved(tmp_path, run(_timed()), run(_timed(), machine=_machine(**machine), **settings))
    assert _compare(*files) == 0
    out = capsys.readouterr().out
    assert line in out
    assert out.startswith("NOT THE SAME CONDITIONS") == is_condition


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{a}"], "one file needs --contestants"),
        (
            ["{a}", "--contestants", "fastconv:numba", "nobody"],
            "no timed contestant 'nobody'; there are: fastconv:numba",
        ),
        (["{a}", "{c}"], "no timed case and contestant in common"),
        (["{a}", __file__], "is not JSON"),
    ],
)
def test_what_cannot_be_compared(arguments, words, two_runs, capsys, tmp_path):
    records.save(run(record(case="another")), tmp_path / "c.json")
    names = {"a": two_runs[0], "c": tmp_path / "c.json"}
    assert _compare(*(argument.format(**names) for argument in arguments)) == 1
    error = capsys.readouterr().err
    assert error.startswith("fastconv: ")
    assert words in error


@pytest.mark.parametrize(("name", "reason"), [("absent.json", "does not exist"), ("folder.json", "is a folder")])
def test_a_file_that_is_none_is_a_wrong_argument(name, reason, two_runs, tmp_path, capsys):
    (tmp_path / "folder.json").mkdir()
    for arguments in ([tmp_path / name], [two_runs[0], tmp_path / name]):
        with pytest.raises(SystemExit) as stop:
            _compare(*map(str, arguments))
        assert stop.value.code == 2
        assert f"{name}' {reason}; it must be a file that fastconv bench --json wrote" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["-1", "nan", "much"])
def test_a_limit_that_is_none(limit, two_runs):
    with pytest.raises(SystemExit) as stop:
        _compare(*two_runs, "--fail-below", limit)
    assert stop.value.code == 2
