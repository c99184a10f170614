"""A clock that only moves when somebody sleeps or works, so that costs are known exactly."""

from contextlib import nullcontext

import numpy as np

from fastconv.bench.contestant import Contestant, Prepared
from fastconv.bench.timing import Clock


class FalseClock:
    """``work(cost)`` makes a call that takes that many seconds, times ``slowness`` at that moment."""

    def __init__(self, slowness=lambda now: 1.0):
        self.time = 0.0
        self.slowness = slowness
        self.clock = Clock(lambda: self.time, self.sleep)
        self.calls = []

    def sleep(self, seconds):
        self.time += seconds

    def work(self, cost, name=""):
        def call():
            self.calls.append(name)
            self.time += cost * self.slowness(self.time)

        return call

    def contestant(self, name, cost, *, is_peer=False, result=None, environment=None, prepare=None):
        """Takes ``cost`` and returns the right answer, or what ``result`` makes of it."""

        def prepared(workload):
            answer = _answer(workload)
            answer = answer if result is None else result(answer)
            work = self.work(cost, name)

            def call():
                work()
                return answer

            return Prepared(call, variant=lambda: "false")

        return Contestant(name, prepare or prepared, environment or (lambda threads: nullcontext()), is_peer)


def _answer(workload):
    rounded = workload.exact.astype(workload.dtype)
    if workload.layout == "nchw" or rounded.ndim != 4:
        return rounded
    return np.ascontiguousarray(rounded.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
