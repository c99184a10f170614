"""From the pixels of a page to ink: 0 where the paper is blank, 1 where it is darkest, or lightest on dark paper."""

from __future__ import annotations

import numpy as np

from fastconv.errors import ShapeError

INKS = ("auto", "dark", "light")
# Grey levels that count as one when the paper's is looked for; a contrast below it is no ink.
_STEP = 16
_LEVELS = 256


def ink_of(grey, ink: str = "auto") -> np.ndarray:
    """Ink (H, W), float32 in 0..1, of a page of grey levels (H, W) in 0..255.

    The paper has the grey that most pixels have, to 16 levels. Ink is what is darker ("dark") or lighter ("light") than
    that; "auto" takes the one that goes farther from the paper. The strongest becomes 1. Where nothing is 16 levels
    from the paper the page is blank.

    Raises ShapeError for what is no plane with pixels, ValueError for levels outside 0..255 and an unknown ``ink``.

    >>> ink_of(np.array([[255, 255, 0], [255, 255, 127]])).round(2).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.5]]
    """
    if ink not in INKS:
        raise ValueError(f"ink must be one of {', '.join(map(repr, INKS))}, got {ink!r}")
    grey = np.asarray(grey)
    if grey.ndim != 2 or not grey.size:
        raise ShapeError(f"expected the grey levels of a page, (H, W), got shape {grey.shape}")
    if not ((grey >= 0) & (grey < _LEVELS)).all():
        raise ValueError("grey levels must lie in 0..255")
    grey = grey.astype(np.float32)
    paper = _paper(grey)
    darker, lighter = paper - grey, grey - paper
    is_dark = darker.max() >= lighter.max() if ink == "auto" else ink == "dark"
    found = np.maximum(darker if is_dark else lighter, 0)
    return found / found.max() if found.max() >= _STEP else np.zeros_like(found)


def _paper(grey: np.ndarray) -> float:
    steps = (grey / _STEP).astype(int)
    return float(np.median(grey[steps == np.bincount(steps.ravel()).argmax()]))
