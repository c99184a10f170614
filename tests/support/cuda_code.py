"""Machine code of GPU kernels without a GPU: ``python -m support.cuda_code DTYPE PART ...`` prints what each takes."""

import json
import re
import sys
import types

import numba.cuda.dispatcher
from cuda.bindings import nvjitlink

from fastconv._kernels import numba_cuda

# Code for the older one is what the newer one's is made from, too.
CAPABILITIES = ((8, 0), (9, 0))
_FIGURES = {
    "registers": r"Used (\d+) registers",
    "stack": r"(\d+) bytes stack frame",
    "spills": r"(\d+) bytes spill stores",
}


def figures(ptx, capability):
    """What one thread takes of registers and of memory of its own, in bytes, and its block of shared memory."""
    handle = nvjitlink.create(2, ["-arch=sm_{}{}".format(*capability), "-Xptxas=-v"])
    data = ptx.encode() + b"\0"
    nvjitlink.add_data(handle, nvjitlink.InputType.PTX, data, len(data), "kernel")
    nvjitlink.complete(handle)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    nvjitlink.destroy(handle)
    found = {name: re.search(pattern, log.decode(errors="replace")) for name, pattern in _FIGURES.items()}
    # Each array is a symbol of its own, which no figure of a single object file counts.
    shared = sum(map(int, re.findall(r"\.shared .*\[(\d+)\];", ptx)))
    return {name: int(match[1]) for name, match in found.items()} | {"shared": shared}


def main():
    # Parts of kernels are compiled for the device that is there.
    numba.cuda.dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=CAPABILITIES[0])
    dtype, parts = sys.argv[1], sys.argv[2:]
    for name, kernel in numba_cuda.kernels(dtype).items():
        if any(part in name for part in parts):
            ptx = kernel.ptx(CAPABILITIES[0])
            for capability in CAPABILITIES:
                print(json.dumps({"name": name, "capability": capability} | figures(ptx, capability)), flush=True)


if __name__ == "__main__":
    main()
