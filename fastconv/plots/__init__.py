"""Pictures, one per file: each a function that draws on given matplotlib axes, or on new ones, and returns them.

Needs matplotlib (``pip install 'fastconv[plot]'``), which is loaded when something is drawn.
"""

from fastconv.plots.curve import curve
from fastconv.plots.filters import filters
from fastconv.plots.training_summary import training_summary

__all__ = ["curve", "filters", "training_summary"]
