"""The machine block and the settings as people write them: bytes in KiB, a dash for what is not known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MISSING = "–"
_UNITS = {"peak_gflops": "peak, GFLOP/s", "bandwidths": "bandwidths, GB/s", "memory_left_bytes": "memory left"}


def fact(value: Any, name: str = "") -> str:
    """A value whose name may say that it counts bytes.

    >>> fact(32768, "L1d bytes"), fact(None), fact([0.1, 2]), fact(17.0)
    ('32 KiB', '–', '0.1, 2', '17')
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(fact(entry) for entry in value) or MISSING
    if isinstance(value, (int, float)):
        return _bytes(value) if re.search(r"bytes|cache", name) else f"{value:.5g}" if value % 1 else f"{value:.0f}"
    return str(value)


def caption(key: Any) -> str:
    """A key in words, with the unit that it lacks."""
    return _UNITS.get(key) or str(key).replace("_", " ")


def is_matrix(value: Any) -> bool:
    """Whether a mapping holds mappings with the same keys, so that it is a table."""
    rows = list(value.values()) if isinstance(value, Mapping) else []
    return bool(rows) and all(isinstance(row, Mapping) and list(row) == list(rows[0]) for row in rows)


def _bytes(value: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.4g} {unit}"
        value /= 1024
    return f"{value:.4g} GiB"
