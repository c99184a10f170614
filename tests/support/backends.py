"""The CPU backends as pytest parameters; those that are not usable here are visible as skips."""

import pytest

from fastconv import _kernels, backends

REFERENCE = "reference"


def _parameter(name):
    missing = _kernels.reason(name) or (None if _kernels.load(name) else _kernels.reason(name))
    return pytest.param(name, marks=pytest.mark.skipif(missing is not None, reason=f"{name}: {missing}"))


CPU = tuple(name for name in backends.AUTO_ORDER if name in _kernels.BACKENDS)
COMPILED = tuple(name for name in CPU if name != REFERENCE)
USABLE = tuple(name for name in CPU if _kernels.reason(name) is None and _kernels.load(name) is not None)

every_backend = pytest.mark.parametrize("backend", [_parameter(name) for name in CPU])
compiled_backends = pytest.mark.parametrize("backend", [_parameter(name) for name in COMPILED])
