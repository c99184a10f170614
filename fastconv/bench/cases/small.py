"""Calls that measure something other than a network's layer: overhead, subnormal numbers, chains of layers."""

from dataclasses import replace

from fastconv.bench.cases.kinds import SUBNORMAL, SUBNORMAL_WEIGHTS, ChainCase, ConvCase, PoolCase
from fastconv.bench.cases.layers import conv

SMALL = (
    ConvCase("tiny call", "small", (1, 3, 8, 8), (8, 3, 3, 3)),
    PoolCase("tiny pooling", "small", (1, 3, 8, 8), 2),
    conv("small", 16, 32, 16, 3),
    replace(conv("small", 16, 32, 16, 3), name="16,32->16 k3s1 subnormal", values=SUBNORMAL),
    replace(conv("small", 16, 32, 16, 3), name="16,32->16 k3s1 subnormal weights", values=SUBNORMAL_WEIGHTS),
)
# A peer that runs in a layout of its own reorders once per chain, but twice around a single layer.
CHAINS = tuple(
    ChainCase(f"3 x {C},{H}->{C} k3s1", "chain", (conv("chain", C, H, C, 3),) * 3)
    for C, H in ((64, 56), (128, 28), (256, 14))
)
