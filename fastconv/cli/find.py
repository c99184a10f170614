"""``fastconv find``: the digits on a form; forms to look at; the scan beside the classifier on every window."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from fastconv.cli import check_folder, check_picture, check_suffix, digit, positive
from fastconv.tables import table

INKS = ("auto", "dark", "light")
# Forms of --compare: pixels, digits.
COMPARED = ((240, 320), 150)


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "find",
        help="find handwritten digits on a form in one pass",
        description="Scan a form with a network of windows of 12x12 pixels that knows digits and background, and print "
        "where the digits are: their upper left corners, with their probabilities. The network is taught the first "
        "time, in about 15 seconds, and kept under FASTCONV_HOME. --compose makes a form of digits that it never saw; "
        "--compare checks and times the scan beside the same classifier on every window.",
    )
    parser.add_argument("form", metavar="FORM", nargs="?", help="JPEG, PNG, BMP, PPM, TIFF or WebP, 8x8 and larger")
    parser.add_argument("--digit", type=digit, metavar="0..9", help="only this one (default: all)")
    parser.add_argument(
        "--out", metavar="MARKED.png", help="draw the form, what was found, and the probabilities there"
    )
    parser.add_argument("--threshold", type=probability, default=0.5, metavar="P", help="least probable (default: 0.5)")
    parser.add_argument("--ink", choices=INKS, default="auto", help="on brighter or darker paper (default: find out)")
    parser.add_argument("--scale", type=positive, default=8, metavar="PIXELS", help="height of a digit (default: 8)")
    parser.add_argument("--truth", metavar="FORM.json", help="what is there, to count what is right")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--weights", metavar="FILE", help="of a digit_finder (default: its own)")
    parser.add_argument("--compose", metavar="FORM.png", help="write a form, and FORM.json with what is there, instead")
    parser.add_argument("--compare", action="store_true", help="check and time the scan on composed forms instead")
    parser.add_argument("--seed", type=int, default=0, help="of the composed forms (default: 0)")
    parser.add_argument("--count", type=positive, default=60, help="digits of --compose, at most 360 (default: 60)")
    parser.add_argument("--size", type=size, default=(120, 160), metavar="H,W", help="of --compose (default: 120,160)")
    parser.set_defaults(run=run)


def run(options) -> int:
    """One of the three."""
    if [options.form is not None, options.compose is not None, options.compare].count(True) != 1:
        raise ValueError("give a FORM to look at, or --compose FORM.png, or --compare")
    useless = [f"--{name}" for name in ("digit", "truth", "out") if getattr(options, name) is not None]
    if useless and options.form is None:
        raise ValueError(f"{useless[0]} goes with a FORM to look at")
    if options.compose:
        return _compose(options)
    return _compare(options) if options.compare else _find(options)


def probability(text: str) -> float:
    """A number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a probability between 0 and 1, got {text!r}")
    return value


def size(text: str) -> tuple[int, int]:
    """Two positive integers, separated by a comma."""
    extents = tuple(map(positive, text.split(",")))
    if len(extents) != 2:
        raise argparse.ArgumentTypeError(f"must be H,W such as 120,160, got {text!r}")
    return extents[0], extents[1]


def _compose(options) -> int:
    from fastconv import datasets, scanning
    from fastconv.scanning import pages

    check_suffix(options.compose, ".png", ".bmp", ".tif", ".tiff")
    check_folder(options.compose)
    held_back = datasets.load_digits("test")
    form = scanning.compose_form(*held_back, shape=options.size, count=options.count, seed=options.seed)
    truth = pages.write_form(form, options.compose, scale=options.scale, seed=options.seed)
    there = [digit.value for digit in form.digits]
    counts = ", ".join(f"{there.count(value)} of {value}" for value in sorted(set(there)))
    print(f"{len(there)} digits in {options.compose}: {counts}\nwhere they are: {truth}")
    return 0


def _find(options) -> int:
    from fastconv import scanning
    from fastconv.scanning import pages

    if options.out:
        check_picture(options.out)
    page = pages.read_page(options.form, scale=options.scale, ink=options.ink)
    truth = None if options.truth is None else pages.read_truth(options.truth, options.scale)
    if truth is not None and options.digit is not None:
        truth = [one for one in truth if one.value == options.digit]
    model = scanning.load_finder(options.weights, announce=_announce)
    found = scanning.find_digits(page.ink, model, digit=options.digit, threshold=options.threshold)
    score = None if truth is None else scanning.score(found, truth)
    _print(list(map(page.placed, found)), score, options)
    if options.out:
        _draw(page, model, found, truth, options)
    return 0


def _announce(line: str) -> None:
    print(line, file=sys.stderr)


def _print(found, score, options) -> None:
    if options.json:
        counted = None if score is None else {"precision": score.precision, "recall": score.recall}
        print(json.dumps({"digits": [one._asdict() for one in found], "score": counted}, indent=1))
        return
    rows = [(str(one.value), str(one.top), str(one.left), f"{one.score:.3f}") for one in found]
    print(table(("digit", "top", "left", "probability"), rows) if rows else "nothing found")
    if score is not None:
        print(score)


def _draw(page, model, found, truth, options) -> None:
    from fastconv import plots
    from fastconv.plots import canvas, panels
    from fastconv.scanning import match, probabilities

    matched = match(found, found if truth is None else truth)
    left, right = panels.side_by_side([page.grey.shape] * 2)
    title = f"{'all digits' if options.digit is None else f'digit {options.digit}'}: {len(found)} found"
    title += "" if truth is None else f", {len(matched.wrong)} of them wrong, {len(matched.missed)} missed"
    boxes = [
        *(_box(page, one, canvas.GREEN) for one in matched.right),
        *(_box(page, one, canvas.RED) for one in matched.wrong),
        *(_box(page, one, canvas.BLUE)._replace(line="--") for one in matched.missed),
    ]
    plots.marked(page.grey, boxes, left, title=title)
    heat = probabilities(page.ink, model)[:-1]
    heat = heat.max(axis=0) if options.digit is None else heat[options.digit]
    plots.heat_map(heat, [], right, title="their probability, where their upper left corner is", limits=(0, 1))
    canvas.save(left, options.out)
    if not options.json:
        print(f"drawn in {options.out}")


def _box(page, one, colour):
    from fastconv.plots import Box

    place = page.placed(one)
    return Box(place.top, place.left, page.scale, page.scale, str(one.value), colour)


def _compare(options) -> int:
    from fastconv import backends, datasets, scanning

    shape, count = COMPARED
    form = scanning.compose_form(*datasets.load_digits("test"), shape=shape, count=count, seed=options.seed)
    model = scanning.load_finder(options.weights, announce=_announce)
    found = scanning.compare(form, model)
    if options.json:
        figures = {"speedup": found.speedup, "precision": found.found.precision, "recall": found.found.recall}
        print(json.dumps({**asdict(found), **figures}, indent=1))
        return 0
    rows = [("one pass over the form", f"{found.scan_seconds * 1e3:.1f}", "1.0x")]
    rows += [
        (f"{batch} windows at a time", f"{seconds * 1e3:.1f}", f"{seconds / found.scan_seconds:.1f}x")
        for batch, seconds in found.window_seconds.items()
    ]
    print(
        f"a form of {shape[0]}x{shape[1]} pixels with {count} digits that were held back, {found.positions:,} windows, "
        f"{backends.get_num_threads()} threads, backend {backends.select().name}"
    )
    print(table(("", "ms", "time"), rows))
    print(f"{found.different} of {found.logits:,} logits differ in any bit; all digits: {found.found}")
    return 0
