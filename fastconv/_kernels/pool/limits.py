"""How many CPUs this process may use: environment variables, CPU affinity, cgroup quota."""

import os
from collections.abc import Iterator, Mapping

# Read at import: some libraries shrink the mask of the thread that loads them.
AFFINITY = frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def default_num_threads(environ: Mapping[str, str] = os.environ, root: str = "/", cpus: int = len(AFFINITY)) -> int:
    """Threads used where nobody sets a number.

    That is ``FASTCONV_NUM_THREADS``, else the smallest of ``OMP_NUM_THREADS``, ``NUMBA_NUM_THREADS``, CPU affinity
    and cgroup quota. Raises ValueError where ``FASTCONV_NUM_THREADS`` is not a positive integer.
    """
    own = environ.get("FASTCONV_NUM_THREADS", "").strip()
    if own:
        count = _positive(own)
        if count is None:
            raise ValueError(f"FASTCONV_NUM_THREADS must be a positive integer, got {own!r}")
        return count
    foreign = (
        _positive(environ.get("OMP_NUM_THREADS", "").partition(",")[0]),  # "4,2": one number per nesting level
        _positive(environ.get("NUMBA_NUM_THREADS", "")),
    )
    return min(count for count in (cpus, cgroup_cpus(root), *foreign) if count is not None)


def cgroup_cpus(root: str = "/") -> int | None:
    """CPUs that the cgroup quotas (versions 1 and 2) of this process and its parents allow, rounded up; None: all.

    ``root`` is the folder that holds ``proc`` and ``sys``.
    """
    quotas = [quota for folder in _cgroup_folders(root) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _cgroup_folders(root: str) -> Iterator[str]:
    """The process's own cgroup folder and every parent up to the mount, for each hierarchy that limits CPU time.

    Inside a container the path may belong to the host, so that only the mount itself is there.
    """
    mount = os.path.join(root, "sys/fs/cgroup")
    yield from (mount, os.path.join(mount, "cpu"))
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for name in {"cpu", controllers} if controllers else {""}:
            folder = os.path.join(mount, name)
            for part in path.split("/"):
                if part not in ("", ".", ".."):
                    folder = os.path.join(folder, part)
                    yield folder


def _quota(folder: str) -> int | None:
    limit = _read(os.path.join(folder, "cpu.max")).split()  # version 2: "max 100000" or "150000 100000"
    if len(limit) != 2:
        limit = [_read(os.path.join(folder, f"cpu.cfs_{name}_us")).strip() for name in ("quota", "period")]
    quota, period = map(_positive, limit)
    if quota is None or period is None:
        return None
    return -(-quota // period)


def _positive(text: str) -> int | None:
    """A positive decimal integer of at most 18 digits; None for everything else ("max", "-1", "", "abc")."""
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        return None
    return int(text) or None


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
