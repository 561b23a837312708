"""A lock on an open file, which the system frees when its process ends, however it ends."""

from __future__ import annotations

from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def lock(file: IO[bytes]) -> bool:
        """Take the lock for as long as the file is open; tell whether nobody else has it."""
        position = file.tell()
        try:
            # Far beyond any row, because a locked byte cannot be read by others there.
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows alone
        except OSError:
            return False
        finally:
            file.seek(position)
        return True

else:

    def lock(file: IO[bytes]) -> bool:
        """Take the lock for as long as the file is open; tell whether nobody else has it."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network folders know no locks: better without than not at all
            return True
        return True
