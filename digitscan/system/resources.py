"""How many cores this process may use, and a limit on its memory.

Workers import this before anything else, so it does not import pathlib, which takes some milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import sys


def count_usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    Counts CPU affinity and the quota of a container (cgroup v2 and v1), which `os.cpu_count` does not know.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _read("/sys/fs/cgroup/cpu.max").split()
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    with contextlib.suppress(OSError, ValueError):
        quota_v1 = int(_read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
        if quota_v1 > 0:
            period_v1 = int(_read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
            cores = min(cores, -(-quota_v1 // period_v1))
    return max(cores, 1)


def count_free_descriptors() -> int:
    """Return how many more files this process may open; a large number where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return sys.maxsize
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    open_count = 3
    with contextlib.suppress(OSError):  # a container may have no /proc
        open_count = len(os.listdir("/dev/fd"))  # noqa: PTH208  # see the module's docstring
    return max(0, limit - open_count)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123  # see the module's docstring
        return file.read()


def limit_memory(max_bytes: int) -> None:
    """Make allocations beyond `max_bytes` of data fail with MemoryError in this process.

    A small file can declare gigabytes of pixels; with the limit it fails alone, and the machine does not
    start to swap. Linux only: the other systems offer no limit that they enforce.
    """
    if sys.platform == "linux":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        # Never raise a lower limit that the user has set.
        limit = min(max_bytes, sys.maxsize if soft == resource.RLIM_INFINITY else soft)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
