"""How much memory is left to this process: the machine's and its cgroup's, whichever is less."""

_MEMINFO = "/proc/meminfo"
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available_bytes() -> int | None:
    """Bytes that can still be allocated, or None where the system does not say."""
    found = [bytes_left for bytes_left in (_machine_bytes(), *map(_cgroup_bytes, _CGROUPS)) if bytes_left is not None]
    return min(found, default=None)


def _machine_bytes() -> int | None:
    try:
        lines = _read(_MEMINFO).splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_bytes(files: tuple[str, str]) -> int | None:
    try:
        limit, used = (_read(file).strip() for file in files)
    except OSError:
        return None
    return max(0, int(limit) - int(used)) if limit != "max" else None


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()
