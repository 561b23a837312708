"""What the torture benchmark's trials share: a table of what was lost, and scans run as a shell would."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOON = 2.0
"""Seconds within which a signal must have ended everything."""


@dataclass
class Table:
    """What was tried and what was lost; a loss is kept in words for the end."""

    losses: list[str] = field(default_factory=list)

    def row(self, what: str, count: str, lost: Sequence[str], told: str = "") -> None:
        """Print a line of the table at once."""
        self.losses.extend(f"{what}: {each}" for each in lost)
        result = f"{len(lost)} LOST" if lost else "nothing"
        print(f"| {what} | {count} | {result}{f'; {told}' if told else ''} |", flush=True)


class Scans:
    """Runs scans in one folder, as a shell would."""

    def __init__(self, scratch: Path) -> None:
        """Work in `scratch`; compiled models go there as well."""
        self.scratch = scratch
        self.temporary = scratch / "temporary"
        self.temporary.mkdir()
        os.environ.update(
            PYTHONPATH=str(ROOT), XDG_CACHE_HOME=str(scratch / "cache"), TMPDIR=str(self.temporary)
        )
        self._numbers = itertools.count()

    def new(self, name: str) -> Path:
        """Return a path that is not there yet."""
        return self.scratch / f"{next(self._numbers):03d}-{name}"

    def words(self, *words: str | Path) -> list[str]:
        """Return the words of a scan."""
        return [sys.executable, "-P", "-m", "digitscan", "scan", *map(str, words)]

    def start(self, *words: str | Path, limit: int | None = None) -> subprocess.Popen[bytes]:
        """Start a scan in a process group of its own, Ctrl-C as a terminal has it."""

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.Popen(
            self.words(*words),
            cwd=self.scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=prepare,
        )

    def run(self, *words: str | Path, limit: int | None = None) -> tuple[int, bytes, str]:
        """Run a scan to its end; return its exit code and both streams."""
        process = self.start(*words, limit=limit)
        rows, said = process.communicate()
        return process.returncode, rows, said.decode()

    def whole(self, folder: Path, *words: str) -> bytes:
        """Return the CSV of a scan that nothing disturbs."""
        output = self.new("whole.csv")
        code, _, said = self.run(folder, "-o", output, *words)
        if code not in (0, 3):
            raise RuntimeError(said)
        return output.read_bytes()


def end_of(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end; return the exit code as a shell says it, and stderr."""
    said = process.communicate()[1].decode()
    code = process.returncode
    return (128 - code if code < 0 else code), said


def is_gone(group: int) -> bool:
    """Tell whether the last process of a group ends soon: workers see that their scan is gone (Linux)."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        if group not in _running_groups():
            return True
        time.sleep(0.01)
    return False


def _running_groups() -> set[int]:
    # Not of those that have ended: a container's first process may take seconds to wait for orphans.
    groups = set()
    for state in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            letter, _, group = state.read_text().rpartition(") ")[2].split()[:3]
            groups |= {int(group)} if letter not in "ZX" else set()
    return groups


def wrong_words(said: str) -> list[str]:
    """Return what must not stand on stderr: tracebacks, our own bugs, control characters."""
    wrong = [word for word in ("Traceback", "unexpected:", "Fatal Python") if word in said]
    controls = {letter for letter in said if not letter.isprintable() and letter != "\n"}
    return wrong + [f"control character {letter!r} on stderr" for letter in controls]
