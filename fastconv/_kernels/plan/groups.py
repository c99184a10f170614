"""Groups of few channels: several are joined, so that their channels share vectors."""

from __future__ import annotations

from fastconv._kernels.plan.blocks import VectorUnit
from fastconv.geometry import Conv2dGeometry


def joined_groups(g: Conv2dGeometry, unit: VectorUnit) -> int:
    """How many groups are treated as one: as many as divide their number and fit in a vector; 1 leaves them alone."""
    most = min(g.groups, unit.lanes // max(g.C_g, g.K_g))
    return next((count for count in range(most, 1, -1) if g.groups % count == 0), 1)


def groups_reason(g: Conv2dGeometry, source_channels: int, unit: VectorUnit) -> str | None:
    """Why groups should be left alone; None where joining them is better."""
    if joined_groups(g, unit) == 1:
        return f"{g.groups} groups of {g.C_g} and {g.K_g} channels do not share vectors"
    # Vectors are read within a pixel.
    return f"a pixel has {source_channels} channels, less than a vector" if source_channels < unit.lanes else None
