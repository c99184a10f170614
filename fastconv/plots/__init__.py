"""Pictures, one per file: each a function that draws on given matplotlib axes, or on new ones, and returns them.

Needs matplotlib (``pip install 'fastconv[plot]'``), which is loaded when something is drawn.
"""

from fastconv.plots.architecture import architecture
from fastconv.plots.backends import backends
from fastconv.plots.confusion_matrix import confusion_matrix
from fastconv.plots.connections import connections
from fastconv.plots.curve import curve
from fastconv.plots.curves import curves
from fastconv.plots.feature_maps import feature_maps
from fastconv.plots.filters import filters
from fastconv.plots.gradients import gradients
from fastconv.plots.heat_map import heat_map
from fastconv.plots.images import images
from fastconv.plots.marked import Box, marked
from fastconv.plots.receptive_field import receptive_field
from fastconv.plots.training_summary import training_summary
from fastconv.plots.window_counts import window_counts
from fastconv.plots.windows import windows

__all__ = [
    "Box",
    "architecture",
    "backends",
    "confusion_matrix",
    "connections",
    "curve",
    "curves",
    "feature_maps",
    "filters",
    "gradients",
    "heat_map",
    "images",
    "marked",
    "receptive_field",
    "training_summary",
    "window_counts",
    "windows",
]
