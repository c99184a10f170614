"""Every exception of the package.

Each class also derives from the built-in exceptions that users of NumPy and PyTorch catch,
so that code written for those libraries keeps working.
"""


class FastconvError(Exception):
    """Base class of every error that fastconv raises on purpose."""


class ShapeError(FastconvError, ValueError, RuntimeError):
    """Shapes, sizes or strides that do not fit together."""


class DTypeError(FastconvError, TypeError, RuntimeError):
    """A dtype that an operation does not support, or dtypes that differ where they must not."""


class BackendUnavailableError(FastconvError, ImportError):
    """A backend, device or optional package that cannot be used here; the message says why."""


class DeviceError(FastconvError, ValueError, RuntimeError):
    """Arrays of one call that lie on different devices, or on another device than the chosen backend computes on."""


class UnsupportedError(FastconvError, NotImplementedError):
    """A valid request that the chosen backend declines; no other backend is tried silently."""


class CannotReplayError(FastconvError, RuntimeError):
    """A pass through a model that recorded kernel calls alone could not repeat; it runs as any other, then."""


class FormatError(FastconvError, ValueError):
    """A file that is truncated, foreign or damaged."""


class UnsafeFileError(FormatError):
    """A file refused because reading it could harm: bombs, links, escapes, executable content."""


def missing_extra(package: str, extra: str, purpose: str) -> ImportError:
    """The ImportError to raise when an optional package is absent; it names the pip line."""
    return BackendUnavailableError(
        f"{purpose} needs the package '{package}', which is not installed: pip install 'fastconv[{extra}]'"
    )
