"""How much memory is left to this process: the machine's and its cgroup's, whichever is less."""

_MEMINFO = "/proc/meminfo"
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
# What is kept for later calls, unless somebody says otherwise: a share of the memory that is left, or, where the system
# does not say how much that is, so many bytes.
_SHARE = 8
_UNKNOWN = 1 << 28


def bytes_to_keep() -> int:
    """How much of the memory that is left now may be kept for later calls by one who keeps some."""
    left = available_bytes()
    return _UNKNOWN if left is None else left // _SHARE


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
