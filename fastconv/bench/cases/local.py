"""Layers without shared weights, whose weights decide: fields on a photograph, layers behind a face's convolutions."""

from fastconv.bench.cases.kinds import LocalCase


def _local(C, H, K, k, padding=0):
    return LocalCase(f"{C},{H}->{K} k{k}s1 local", "local", (1, C, H, H), (K, C, k, k), padding=padding)


LOCAL = (
    # 400,000 hidden units that see 10 x 10 pixels each.
    _local(1, 200, 10, 10, "same"),
    _local(16, 71, 16, 9),
    _local(16, 57, 32, 3, 1),
    _local(64, 25, 64, 3, 1),
    _local(3, 128, 16, 3, 1),
)
