"""The outside implementations: each in a file of its own that is imported when it takes part.

A peer's module has CONTESTANTS. Adding one is a file and a row here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """Where a peer lives, and the packages that it needs."""

    module: str
    packages: tuple[str, ...]


PEERS = {
    "torch": PeerEntry("fastconv.bench.peers.torch_layers", ("torch",)),
    "onnxruntime": PeerEntry("fastconv.bench.peers.onnx_sessions", ("onnxruntime", "onnx")),
    "scipy": PeerEntry("fastconv.bench.peers.scipy_signal", ("scipy", "threadpoolctl")),
    "im2col": PeerEntry("fastconv.bench.peers.im2col", ("threadpoolctl",)),
}
# Beside backends that compute on a GPU.
GPU_PEERS = {"torch": PeerEntry("fastconv.bench.peers.torch_cuda", ("torch", "cupy"))}
