"""``fastconv explain-conv``: a page on which a filter slides over a picture and shows every product."""

from __future__ import annotations

import sys
from pathlib import Path

from fastconv.cli import check_folder, check_suffix, positive


def register(commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "explain-conv",
        help="write a page on which a filter slides over a picture",
        description="Write one HTML page, which needs no network: a filter slides over a small picture, step by step, "
        "with all its products; filter size, stride, padding and the number of filters can be changed there.",
    )
    parser.add_argument("--out", metavar="FILE.html", default="conv.html", help="the page (default: conv.html)")
    parser.add_argument(
        "--image", metavar="FILE", help="the picture, whose middle square is used (default: a cat's eye)"
    )
    parser.add_argument("--size", type=positive, default=7, help="it is reduced to SIZE x SIZE, 3 to 12 (default: 7)")
    parser.add_argument(
        "--weights", metavar="FILE", help="offer the filters of this trained network's first layer, too"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random filters (default: 0)")
    parser.add_argument("--open", action="store_true", help="show the page in the default browser")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Compute, write, open."""
    from fastconv.pages import explain_conv

    check_suffix(options.out, ".html", ".htm")
    check_folder(options.out)
    path = explain_conv.save(
        options.out, image=options.image, size=options.size, weights=options.weights, seed=options.seed
    )
    print(f"written: {path}")
    if options.open and not _opened(path):
        print(f"no browser could be started; open {path} in one", file=sys.stderr)
        return 1
    return 0


def _opened(path: Path) -> bool:
    import webbrowser

    return webbrowser.open(path.resolve().as_uri())
