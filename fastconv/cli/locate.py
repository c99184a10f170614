"""``fastconv locate``: where in an image a template is."""

from __future__ import annotations

import json

from fastconv.cli import check_picture, positive
from fastconv.tables import table


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "locate",
        help="find a template in an image, draw the response map",
        description="Slide a template over an image: Z[j1, j2] is the sum of W[k1, k2] X[j1+k1, j2+k2], or the "
        "correlation coefficient of the template with each window. Print the peaks, the best first; row and column are "
        "those of the template's upper left corner. Two grey files are compared in grey, others in colour.",
    )
    parser.add_argument("image", metavar="IMAGE", help="JPEG, PNG, BMP, PPM, TIFF or WebP")
    parser.add_argument("template", metavar="TEMPLATE", help="what is to be found, no larger than the image")
    parser.add_argument("--out", metavar="HEAT.png", help="draw the image, the response map and the peaks there")
    parser.add_argument(
        "--method",
        choices=("normalized", "correlation"),
        default="normalized",
        help="correlation coefficients, whatever the light, or plain sums of products (default: normalized)",
    )
    parser.add_argument("--peaks", type=positive, default=5, metavar="N", help="at most so many (default: 5)")
    parser.add_argument("--threshold", type=float, metavar="Z", help="only peaks above it")
    parser.add_argument("--distance", type=positive, metavar="PIXELS", help="between peaks (default: half a template)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Read, slide, print, draw."""
    from fastconv.scanning import localize

    if options.out:
        check_picture(options.out)
    image, template = _read(options.image, options.template)
    found = localize(
        image,
        template,
        options.method,
        min_distance=options.distance,
        threshold=options.threshold,
        max_peaks=options.peaks,
    )
    if options.json:
        print(json.dumps({"method": options.method, "peaks": [peak._asdict() for peak in found.peaks]}, indent=1))
    else:
        rows = [(f"{number}", *map(str, peak[:2]), f"{peak.score:.6g}") for number, peak in enumerate(found.peaks, 1)]
        print(table(("peak", "row", "column", options.method), rows) if rows else "no peaks")
    if options.out:
        _draw(image, template, found, options)
    return 0


def _read(*paths):
    """Both in grey, (H, W), where both are; else (3, H, W); float32 in 0..1."""
    import numpy as np

    from fastconv.datasets import read_image

    images = [np.asarray(read_image(path), np.float32).transpose(2, 0, 1) / 255 for path in paths]
    is_grey = all((image[:1] == image).all() for image in images)
    return [image[0] if is_grey else image for image in images]


def _draw(image, template, found, options) -> None:
    from fastconv import plots
    from fastconv.plots import canvas, panels

    height, width = template.shape[-2:]
    shown = image if image.ndim == 2 else image.transpose(1, 2, 0)
    left, right = panels.side_by_side([shown.shape] * 2)
    boxes = [
        plots.Box(peak.row, peak.column, height, width, f"{number}: {peak.score:.3g}")
        for number, peak in enumerate(found.peaks, 1)
    ]
    plots.marked(shown, boxes, left, title=f"peaks of the {height}x{width} template")
    limits = (-1, 1) if options.method == "normalized" else (None, None)
    places = [peak[:2] for peak in found.peaks]
    plots.heat_map(found.response, places, right, title=f"response ({options.method})", limits=limits)
    canvas.save(left, options.out)
    if not options.json:
        print(f"drawn in {options.out}")
