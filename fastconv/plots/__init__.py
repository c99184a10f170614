"""Pictures, one per file: each a function that draws on given matplotlib axes, or on new ones, and returns them.

Needs matplotlib (``pip install 'fastconv[plot]'``), which is loaded when something is drawn.
"""

from fastconv.plots.architecture import architecture
from fastconv.plots.backends import backends
from fastconv.plots.confusion_matrix import confusion_matrix
from fastconv.plots.curve import curve
from fastconv.plots.curves import curves
from fastconv.plots.feature_maps import feature_maps
from fastconv.plots.filters import filters
from fastconv.plots.heat_map import heat_map
from fastconv.plots.marked import Box, marked
from fastconv.plots.receptive_field import receptive_field
from fastconv.plots.training_summary import training_summary

__all__ = [
    "Box",
    "architecture",
    "backends",
    "confusion_matrix",
    "curve",
    "curves",
    "feature_maps",
    "filters",
    "heat_map",
    "marked",
    "receptive_field",
    "training_summary",
]
