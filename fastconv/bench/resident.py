"""How much memory this process has and had at most, as Linux counts its pages."""

from __future__ import annotations

_STATUS, _CLEAR = "/proc/self/status", "/proc/self/clear_refs"
_PEAK_AGAIN = "5"


def now() -> int:
    """Bytes now."""
    return _field("VmRSS")


def peak() -> int:
    """The most since the process began, or since ``reset_peak``."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Let the peak begin anew from what there is now; raises OSError where that is not possible."""
    with open(_CLEAR, "w") as file:
        file.write(_PEAK_AGAIN)


def _field(name):
    with open(_STATUS) as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))
