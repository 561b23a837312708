"""A limit on the memory of this process: a file that asks for too much does not take the computer's."""

from __future__ import annotations

import sys


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
