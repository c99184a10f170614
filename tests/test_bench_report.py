"""The pictures and the page of a benchmark run: every record shows, nothing is loaded, odd runs are drawn too."""

import base64
import functools
import html.parser
import io
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from support import bench_runs
from support.bench_runs import record
from support.browser import check_nothing_was_loaded

from fastconv.bench.records import DECLINED, FAILED, TIMED, WRONG
from fastconv.bench.report import charts, page, tables

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

PNG = b"\x89PNG\r\n\x1a\n"
SIX = (*bench_runs.CONTESTANTS, "fastconv:cython:kept", "torch:channels_last")
NASTY = "<script>alert('$x_1$')</script> & \"more\""


def pooling(**changes):
    """A record of comparisons, which have no peak: only the memory limits it."""
    values = {"suite": "pool", "case": "pool 64@112 k3s2", "flops": 1_605_632, "bytes": 4_014_080, "peak_gflops": None}
    return record(**(values | {"time_median": 0.3e-3, "roofline_fraction": 0.62} | changes))


def mixed_run():
    """Two suites and thread counts, poolings, a wrong result, a refusal, and losses among wins."""
    made = bench_runs.full_run({"resnet50": 3, "lenet": 1}, threads=(1, 2))
    refusals = (
        record(case="refused", status=WRONG, reason="max. error 0.3"),
        record(case="refused", contestant="fastconv:numba", status=FAILED, reason="raised X: y"),
        record(case="refused", contestant="onnxruntime", status=DECLINED, reason="no gradients"),
    )
    pools = (pooling(roofline_fraction=0.83), pooling(contestant="torch:nchw", time_median=0.4e-3))
    return bench_runs.run(*made.records, *refusals, *pools, command="fastconv bench")


ODD_RUNS = {
    "empty": bench_runs.run(),
    "no machine": bench_runs.run(record(), machine={}),
    "no limits": bench_runs.run(record(), machine=bench_runs.MACHINE | {"limits": []}),
    "one record": bench_runs.run(record()),
    "all wrong": bench_runs.run(*(record(contestant=name, status=WRONG, reason="far off") for name in SIX)),
    "no peak": bench_runs.run(record(peak_gflops=None), machine=bench_runs.MACHINE | {"limits": []}),
    "nothing but the time": bench_runs.run(record(peak_gflops=None, gflops=None, gbytes_per_s=None)),
    "no peers": bench_runs.full_run(contestants=SIX[:2]),
    "peers alone": bench_runs.full_run(contestants=SIX[2:4]),
    "no flops": bench_runs.run(record(flops=0)),
    "no bytes": bench_runs.run(record(bytes=0)),
    "poolings": bench_runs.run(pooling(), pooling(contestant="onnxruntime")),
    "long names": bench_runs.run(record(case="long name " * 60, contestant="fastconv:" + "x" * 90)),
    "nasty names": bench_runs.run(record(case=NASTY, suite=NASTY, direction=NASTY, layout="$a$", contestant=NASTY)),
    "above the peak": bench_runs.run(record(time_median=1e-3)),
    "many threads and dtypes": bench_runs.run(*(record(threads=t, dtype=d) for t in (1, 2, 4) for d in ("f", "g"))),
    "with errors": bench_runs.run(
        record(accuracy=bench_runs.errors_of(0.8)),
        record(case="other", accuracy=bench_runs.errors_of(1.6)),
        record(contestant="fastconv:cython:tiles", accuracy=bench_runs.errors_of(9.5, grown=0.5, is_exact=False)),
        record(contestant="torch:nchw", accuracy=bench_runs.errors_of(0.7)),
    ),
    "not complete": replace(bench_runs.full_run(), complete=False),
    "mixed": mixed_run(),
}
every_odd_run = pytest.mark.parametrize("name", ODD_RUNS)


@functools.cache
def odd_page(name):
    return page.render(ODD_RUNS[name])


class Reader(html.parser.HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]


def size_of(png):
    image = pytest.importorskip("matplotlib.image").imread(io.BytesIO(png))
    levels = (image[..., :3] * 255).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    return image.shape[1], image.shape[0], len(np.unique(levels))


@every_odd_run
def test_a_plot_of_any_run_is_a_picture(name, tmp_path):
    path = charts.save_plot(ODD_RUNS[name], tmp_path / "plot.png")
    assert path.read_bytes().startswith(PNG)
    width, height, colours = size_of(path.read_bytes())
    assert 800 <= width <= 2400
    assert 150 <= height <= 4000
    assert colours > 5


@every_odd_run
def test_the_page_of_any_run_shows_every_record_once(name):
    run, read = ODD_RUNS[name], Reader(odd_page(name))
    ids = read.ids()
    assert len(ids) == len(set(ids))
    assert [f"label-{index}" for index in range(len(run.records))] == sorted(
        (name for name in ids if name.startswith("label-")), key=lambda name: int(name[6:])
    )
    points = {f"point-{i}" for i, r in enumerate(run.records) if r.status == TIMED and r.flops and r.bytes}
    assert {name for name in ids if name.startswith("point-")} == points
    assert not [index for index, r in enumerate(run.records) if r.status != TIMED and f"bar-{index}" in ids]


def cells_of(text, name):
    """The cells of a table of the page, row by row."""
    body = re.search(rf'<table class="sortable" id="{name}">.*?<tbody>(.*?)</tbody>', text, re.DOTALL).group(1)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>")[:-1]]


def test_errors_have_a_section_with_their_definition_and_only_where_they_were_measured():
    text = odd_page("with errors")
    assert 'href="#accuracy"' in text
    assert "window grown by one pixel" in text
    worst, every = cells_of(text, "worst"), cells_of(text, "errors")
    assert [row[5] for row in worst] == ["fastconv:cython", "fastconv:cython:tiles", "torch:nchw"]
    assert worst[0][6:15] == ["2", "1.6", "2.4", "6.4", "–", "–", "–", "2", "0"]
    assert worst[1][6:14] == ["1", "9.5", "14.2", "38.0", "4.8", "7.1", "19.0", "0"]
    assert [row[8] for row in every] == ["0.8", "1.6", "9.5", "0.7"]
    assert [row[14] for row in every] == ["yes", "yes", "no", "yes"]
    for name in ODD_RUNS.keys() - {"with errors"}:
        assert 'id="accuracy"' not in odd_page(name)


@every_odd_run
def test_the_page_of_any_run_loads_nothing(name):
    text = odd_page(name)
    for tag, attributes in Reader(text).elements:
        assert tag not in ("iframe", "img", "object", "embed", "image")
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.findall(r"url\((?!#)|@import|https?:", text)


def test_ids_that_are_referred_to_exist():
    text = odd_page("mixed")
    ids = set(Reader(text).ids())
    assert set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)) <= {(i, "") for i in ids} | {
        ("", i) for i in ids
    }


def test_names_and_reasons_are_escaped():
    records = (record(case=NASTY), record(status=DECLINED, reason=NASTY, contestant=NASTY))
    text = page.render(bench_runs.run(*records, machine={"cpu": NASTY, "versions": {NASTY: NASTY}}, command=NASTY))
    assert "<script>alert" not in text
    read = Reader(text)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert read.text.count(NASTY) >= 7


def test_the_text_of_a_chart_is_text_with_the_numbers_of_the_record():
    slower = {"best_peer": "torch:nchw", "ratio_to_best_peer": 0.82, "ratio_low": 0.8, "ratio_high": 0.85}
    run = bench_runs.run(record(time_median=2.5e-3, **slower), record(contestant="torch:nchw", time_median=2.05e-3))
    svg = charts.svg(charts.suite_figure(run, "resnet50"), "any")
    assert re.search(r">78 % · 2.5 ms ▼ 0.82×</text>", svg)
    assert re.search(r">96 % · 2.05 ms</text>", svg)


def test_losses_are_those_outside_noise():
    sure = {"best_peer": "torch:nchw", "ratio_to_best_peer": 0.8, "ratio_low": 0.7, "ratio_high": 0.9}
    records = (
        record(case="sure", **sure),
        record(case="unsure", **sure | {"ratio_high": 1.1}),
        record(case="worse", **sure | {"ratio_to_best_peer": 0.5}),
        record(case="of a peer", contestant="scipy", **sure),
    )
    text = page.render(bench_runs.run(*records))
    table = text[text.index('id="losses"') : text.index('id="means"')]
    assert re.findall(r'data-index="(\d)"', table) == ["2", "0"]


def test_what_is_broken_stands_out_and_is_counted():
    text = odd_page("mixed")
    assert re.findall(r'<li class="bad"><b>(\d+)</b>(wrong|failed)</li>', text) == [("1", "wrong"), ("1", "failed")]
    assert "<li><b>1</b>declined</li>" in text
    table = text[text.index('id="records"') : text.index('id="untimed"')]
    assert [len(re.findall(f'class="{mark}"', table)) for mark in (WRONG, FAILED, DECLINED)] == [1, 1, 1]
    refusals = text[text.index('id="refusals"') : text.index('id="machine"')]
    assert re.findall(r"<td>(wrong|failed|declined)</td>", refusals) == [WRONG, FAILED, DECLINED]


def test_without_an_interval_nothing_is_lost_or_level():
    run = bench_runs.run(record(best_peer="torch:nchw", ratio_to_best_peer=0.5))
    text = page.render(run)
    assert "<li><b>1</b>of too few rounds to tell</li>" in text
    assert "<li><b>0</b>level, within noise</li>" in text
    assert "there were too few rounds for an interval" in text
    assert "▼ 0.50" not in text


def test_the_time_of_a_network_is_left_out_where_cases_are():
    refused = record(case="b", contestant="torch:nchw", status=DECLINED, reason="no")
    run = bench_runs.run(record(case="a"), record(case="b"), record(case="a", contestant="torch:nchw"), refused)
    cells = [[cell.text for cell in row.cells] for row in tables.summary(run).rows]
    titles = [title for title, _ in tables.summary(run).heads]
    places = titles.index("cases"), titles.index("network, ms")
    assert [[row[place] for place in places] for row in cells] == [["2", "4.2"], ["1 of 2", "–"]]


def test_the_first_measure_that_most_records_have_is_drawn():
    assert "% of FMA peak" in charts.svg(charts.suite_figure(mixed_run(), "resnet50"), "any")
    assert "% of roofline" in charts.svg(charts.suite_figure(mixed_run(), "pool"), "any")
    assert "GFLOP/s" in charts.svg(charts.suite_figure(bench_runs.run(record(peak_gflops=None)), "resnet50"), "any")


def test_what_memory_limits_is_measured_against_the_roofline():
    limited = [record(case=name, peak_fraction=0.03, roofline_fraction=0.8) for name in "abc"]
    chart = charts.svg(charts.suite_figure(bench_runs.run(record(), *limited), "resnet50"), "any")
    assert "% of roofline" in chart
    assert re.search(r">80 % · 2.1 ms</text>", chart)
    assert "% of FMA peak" in charts.svg(charts.suite_figure(bench_runs.run(record(), limited[0]), "resnet50"), "any")


@pytest.mark.parametrize("speeds", [(20, 95), (32, 149, 193), (20, 45, 50), (98, 99, 100), (1, 1000), ()], ids=str)
@pytest.mark.parametrize("threads", [(1,), (1, 2)], ids=len)
@pytest.mark.parametrize("is_fast", [False, True])
def test_no_label_of_the_roofline_touches_anything(speeds, threads, is_fast):
    levels = {f"L{5 - number}": {"read": speed} for number, speed in enumerate(speeds)}
    limits = [{"threads": n, "peak_gflops": {"float32": 118.0}, "bandwidths": levels} for n in threads]
    made = bench_runs.full_run({"resnet50": 12}, threads=threads)
    slow = (replace(entry, time_median=entry.time_median * 30 ** (i % 3)) for i, entry in enumerate(made.records))
    figure = charts.roofline_figure(bench_runs.run(*(made.records if is_fast else slow), machine={"limits": limits}))
    pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg(figure).draw()
    for axes in figure.axes[:-1]:
        labels = [_corner_and_sides(label) for label in axes.texts]
        assert len(labels) == 1 + len(speeds) - sum(label.get_text().count(", ") for label in axes.texts)
        things = [_along(line) for line in (*axes.lines, *axes.artists)]
        things += [corner + np.outer(np.linspace(0, 1, 50), side) for corner, *sides in labels for side in sides]
        for corner, *sides in labels:
            for thing in things:
                inside = np.linalg.solve(np.transpose(sides), (thing - corner).T)
                assert not np.all((inside > 0.03) & (inside < 0.97), axis=0).any()


def _corner_and_sides(label):
    """Where a text begins, and the vectors along its line and across it, in dots."""
    angle, begin = np.deg2rad(label.get_rotation()), label.get_transform().transform(label.xyann)
    label.set_rotation(0)
    box = label.get_window_extent()
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    shift = {"left": 0, "right": box.width}[label.get_ha()]
    return begin - shift * along, box.width * along, box.height * across


def _along(line):
    """Points of a line, or around a marker, in dots."""
    ends = line.axes.transData.transform(line.get_xydata())
    if len(ends) > 1:
        return ends[0] + np.outer(np.linspace(0, 1, 500), ends[1] - ends[0])
    turns = np.linspace(0, 2 * np.pi, 12)
    radius = line.get_markersize() / 2 / 72 * line.figure.dpi
    return ends + radius * np.transpose([np.cos(turns), np.sin(turns)])


def test_a_contestant_keeps_its_colour_in_all_charts():
    text = odd_page("mixed")
    colours = {}
    for index, fill in re.findall(r'id="bar-(\d+)">.*?fill: (#\w+)', text, re.DOTALL):
        colours.setdefault(ODD_RUNS["mixed"].records[int(index)].contestant, set()).add(fill)
    assert all(len(fills) == 1 for fills in colours.values())
    assert len(set.union(*colours.values())) == len(bench_runs.CONTESTANTS)


def test_a_run_that_is_not_complete_says_so():
    assert "This run is not complete: cases are missing." in odd_page("not complete")
    assert "complete" not in odd_page("one record")


def test_the_machine_is_written_in_units():
    text = Reader(odd_page("empty")).text
    for words in ("AMD EPYC", "32 KiB", "23.28 GiB", "2.13.0", "0.1, 0.2, 0.1", "128 MiB", "streaming", "GB/s"):
        assert words in text


def test_a_large_run_stays_small_enough_to_open(tmp_path):
    run = bench_runs.full_run({"awkward": 150}, contestants=SIX)
    path = page.save_page(run, tmp_path / "page.html")
    assert path.stat().st_size < 6e6
    sizes = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', path.read_text("utf-8"))
    widths, heights = zip(*((float(width), float(height)) for width, height in sizes), strict=True)
    assert max(widths) < 16 * 72
    assert max(heights) > 100 * 72


def test_the_same_run_gives_the_same_page():
    assert page.render(mixed_run()) == odd_page("mixed")


@pytest.mark.parametrize(("package", "write"), [("matplotlib", charts.save_plot), ("jinja2", page.save_page)])
def test_a_missing_package_is_named(package, write, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=re.escape(f"'{package}', which is not installed: pip install 'fastconv[bench]'")
    ):
        write(bench_runs.run(record()), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_user_settings_of_matplotlib_change_nothing():
    import matplotlib

    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.fonttype": "path", "text.usetex": True}):
        assert page.render(ODD_RUNS["one record"]) == odd_page("one record")
        assert matplotlib.rcParams["font.size"] == 30


def test_a_browser_shows_the_page_as_it_is_meant(browser, tmp_path):
    run = mixed_run()
    path = page.save_page(run, tmp_path / "page.html")
    browser.get(path.as_uri())
    check_nothing_was_loaded(browser, path)
    _check_screenshot(browser)
    _check_bars(browser, run)
    _check_points(browser, run)
    _check_sorting(browser, run)
    assert browser.get_log("browser") == []


def _check_screenshot(browser):
    size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    assert size["width"] <= 1366, "the page is wider than the screen"
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    png = base64.b64decode(shot["data"])
    assert png.startswith(PNG)
    width, height, colours = size_of(png)
    assert 1200 <= width <= 1400
    assert 3000 <= height <= 12000
    assert colours > 100


def _check_bars(browser, run):
    shown = browser.execute_script("""
        return Array.from(document.querySelectorAll("[id^=label-]"), label => {
            const bar = document.getElementById(label.id.replace("label", "bar"));
            return [Number(label.id.slice(6)), label.textContent, bar ? bar.getBBox().width : null];
        });""")
    assert {index for index, _, _ in shown} == set(range(len(run.records)))
    scales = {}
    for index, text, width in shown:
        entry = run.records[index]
        if entry.status != TIMED:
            assert (text.strip(), width) == (entry.status, None)
            continue
        fraction = entry.roofline_fraction if entry.peak_fraction is None else entry.peak_fraction
        percents, milliseconds = re.search(r"([\d.]+) % · ([\d.]+) ms", text).groups()
        assert float(percents) == pytest.approx(100 * fraction, abs=0.51)
        assert float(milliseconds) == pytest.approx(1e3 * entry.time_median, rel=0.006)
        assert ("▼" in text) == (entry.ratio_high is not None and entry.ratio_high < 1)
        scales.setdefault(entry.suite, []).append(width / fraction)
    for values in scales.values():
        assert values == pytest.approx([values[0]] * len(values), rel=0.02)


def _check_points(browser, run):
    shown = browser.execute_script("""
        return Array.from(document.querySelectorAll("[id^=point-]"), point => {
            const box = point.getBoundingClientRect();
            return [Number(point.id.slice(6)), box.x + box.width / 2, box.y + box.height / 2];
        });""")
    expected = {i: r for i, r in enumerate(run.records) if r.status == TIMED and r.flops}
    assert {index for index, _, _ in shown} == set(expected)
    for threads in (1, 2):
        members = [(expected[i], x, y) for i, x, y in shown if expected[i].threads == threads]
        intensity = [np.log(entry.flops / entry.bytes) for entry, _, _ in members]
        speed = [np.log(entry.gflops) for entry, _, _ in members]
        assert np.corrcoef(intensity, [x for _, x, _ in members])[0, 1] > 0.999
        assert np.corrcoef(speed, [y for _, _, y in members])[0, 1] < -0.999


def _check_sorting(browser, run):
    column = """return Array.from(document.querySelectorAll("#records tbody tr"), row => Number(row.dataset.index))"""
    button = browser.find_element("xpath", "//table[@id='records']//button[.='median, ms']")
    times = {index: entry.time_median for index, entry in enumerate(run.records)}
    for order, sign in (("ascending", 1), ("descending", -1), ("ascending", 1)):
        browser.execute_script("arguments[0].click()", button)
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == order
        sorted_times = [times[index] for index in browser.execute_script(column)]
        known = [time for time in sorted_times if time is not None]
        assert known == sorted(known, key=lambda time: sign * time)
        assert sorted_times[len(known) :] == [None] * (len(sorted_times) - len(known))
    assert len(browser.find_elements("css selector", "[aria-sort]")) == 1
