"""Prints the seconds of the first conv2d of a process: loading the backend, compiling where it does, and the call."""

import json
import sys
import time

import numpy as np

import fastconv.functional as F


def main(backend):
    random = np.random.default_rng(0).standard_normal
    x, weight = random((1, 3, 32, 32), np.float32), random((8, 3, 3, 3), np.float32)
    first, later = _seconds(x, weight, backend), _seconds(x, weight, backend)
    print(json.dumps({"seconds": first, "later": later}))


def _seconds(x, weight, backend):
    begin = time.perf_counter()
    F.conv2d(x, weight, backend=backend)
    return time.perf_counter() - begin


main(sys.argv[1])
