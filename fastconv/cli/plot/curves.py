"""``fastconv plot curves``."""

from __future__ import annotations

import os

from fastconv.cli.plot import sources


def register(pictures) -> None:
    """Add the picture."""
    parser = sources.add_picture(pictures, "curves", "loss and accuracy over the epochs of trainings", draw)
    parser.add_argument(
        "checkpoints", metavar="CHECKPOINT.npz", nargs="*", help="as fastconv train writes them (default: a new run)"
    )


def draw(options):
    """The axes; the figure has two."""
    from fastconv import plots
    from fastconv.training import load_history

    if not options.checkpoints:
        return plots.curves(sources.trained().history)[0]
    if len(options.checkpoints) == 1:
        return plots.curves(load_history(options.checkpoints[0]))[0]
    return plots.curves({_name(path): load_history(path) for path in options.checkpoints})[0]


def _name(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
