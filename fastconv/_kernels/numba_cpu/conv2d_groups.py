"""Groups of few channels that share vectors: where their channels are in a vector of pixels."""

from __future__ import annotations

import numpy as np
from numba import carray

from fastconv._kernels.numba_cpu.addresses import pointer
from fastconv._kernels.numba_cpu.settings import VECTOR_BYTES, serial
from fastconv._kernels.numba_cpu.vectors import PIECE


@serial
def lanes_before(first, channels, itemsize):
    """Lanes before channel ``first`` of so many in a vector that has it, and that a pixel has all of.

    One that begins there might end behind the last pixel's channels.
    """
    return max(0, first + VECTOR_BYTES // itemsize - channels)


@serial
def list_orders(orders, channels, targets, before, itemsize):
    """orders[c][lane] = the lane of a vector of pixels that has channel c of the target lane's group.

    A group has ``channels`` and ``targets``; ``before`` lanes belong to channels before these groups'. The table has
    the pieces of the lanes.
    """
    lanes, pieces = VECTOR_BYTES // itemsize, itemsize // PIECE
    table = carray(pointer(orders), channels * lanes * pieces, np.int32)
    for c in range(channels):
        for lane in range(lanes):
            origin = before + lane // targets * channels + c
            for piece in range(pieces):
                table[(c * lanes + lane) * pieces + piece] = (origin if origin < lanes else 0) * pieces + piece
