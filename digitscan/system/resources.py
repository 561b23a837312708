"""What this process may use: cores and memory."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def usable_cores() -> int:
    """Return how many cores this process may use: affinity and the cgroup's limit included."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, -(-int(quota) // int(period)))
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        if limit > 0:
            period_v1 = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
            cores = min(cores, -(-limit // period_v1))
    return max(cores, 1)


def limit_memory(most: int) -> None:
    """Let whatever would make this process's data larger than `most` bytes fail with MemoryError (Linux).

    Elsewhere the systems have no such limit that holds.
    """
    if sys.platform == "linux":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        # What the user has limited further stays so.
        limit = min(most, sys.maxsize if soft == resource.RLIM_INFINITY else soft)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
