"""One contestant in one case: what the benchmarks of cases are parametrised with."""

from dataclasses import dataclass
from functools import lru_cache

from fastconv.bench import workloads
from fastconv.bench.cases import Case
from fastconv.bench.contestant import Contestant


@dataclass(frozen=True, slots=True)
class Job:
    """``case`` has its batch; ``name`` is the test's id, ``group`` what the contestants of one case share."""

    case: Case
    direction: str
    dtype: str
    layout: str
    contestant: Contestant

    @property
    def name(self):
        return "-".join((*self._setting, self.contestant.name))

    @property
    def group(self):
        return " ".join(self._setting)

    @property
    def _setting(self):
        case = self.case
        return f"{case.suite}: {case.name}", self.direction, f"N{case.x_shape[0]}", self.layout, self.dtype

    def workload(self):
        return _workload(self.case, self.direction, self.dtype, self.layout)


def jobs(plan):
    """All jobs of a plan, those that share data and answer one after the other."""
    return [
        Job(case, direction, dtype, layout, contestant)
        for case, direction, dtype in plan.workloads()
        for layout in plan.layouts_of(case)
        for contestant in plan.contestants_of(case)
    ]


def parametrize(metafunc, plan):
    """Give the argument ``job`` of a test every job of a plan."""
    found = jobs(plan)
    metafunc.parametrize("job", found, ids=[job.name for job in found])


# Data and answer are as large as the layer: only those of the case that is being measured are kept.
@lru_cache(maxsize=1)
def _workload(case, direction, dtype, layout):
    return _in_first_layout(case, direction, dtype).in_layout(layout)


@lru_cache(maxsize=1)
def _in_first_layout(case, direction, dtype):
    return workloads.make(case, direction, dtype)
