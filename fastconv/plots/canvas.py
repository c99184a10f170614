"""What all pictures share: matplotlib, loaded when it is used, and the axes that are drawn on."""

from __future__ import annotations

import importlib

from fastconv.errors import missing_extra


def axes_or_new(axes, **settings):
    """The axes that were given, or new ones on a figure with these settings (``figsize`` and so on)."""
    return matplotlib("pyplot").subplots(layout="constrained", **settings)[1] if axes is None else axes


def matplotlib(module: str):
    """A module of matplotlib; raises ImportError with the pip line where it is missing."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError:
        raise missing_extra("matplotlib", "plot", "drawing") from None
