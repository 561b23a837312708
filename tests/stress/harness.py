"""What the trials of `tests.stress.torture` share: running scans, and reporting what was lost."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from digitscan.errors import ExitCode
from tests.support.command import Argument, command, environment, start, stop_ignoring_ctrl_c

MAX_SECONDS_TO_END = 2.0
"""Seconds within which a signal must have ended all processes."""

FINISHED = {ExitCode.OK, ExitCode.UNREADABLE_FILES}


@dataclass
class Report:
    """A Markdown table of what was tried, printed line by line; `losses` says all that was lost."""

    losses: list[str] = field(default_factory=list)

    def print_header(self) -> None:
        """Print the head of the table."""
        print("| what was tried | how many | what was lost |\n|---|---|---|", flush=True)

    def add(self, trial: str, count: str, losses: Sequence[str], summary: str = "") -> None:
        """Print the line of a trial that has ended."""
        self.losses.extend(f"{trial}: {loss}" for loss in losses)
        result = f"{len(losses)} LOST" if losses else "nothing"
        print(f"| {trial} | {count} | {result}{f'; {summary}' if summary else ''} |", flush=True)


class Outcome(NamedTuple):
    """How a scan ended. exit_code: as a shell reports it, 128 + N where signal N killed the process."""

    exit_code: int
    stdout: bytes
    stderr: str

    def find_faults(self) -> list[str]:
        """Return what must never be on stderr: tracebacks, messages about bugs, control characters."""
        faults = [text for text in ("Traceback", "unexpected:", "Fatal Python") if text in self.stderr]
        controls = {letter for letter in self.stderr if not letter.isprintable() and letter != "\n"}
        return faults + [f"control character {letter!r} on stderr" for letter in controls]


class ScanRunner:
    """Runs scans in a folder of its own, `scratch`, which also holds their caches and temporary files."""

    def __init__(self, scratch: Path) -> None:
        """Use an existing, empty folder."""
        self.scratch = scratch
        self.temporary = scratch / "temporary"
        self.temporary.mkdir()
        self.environment = environment(
            XDG_CACHE_HOME=str(scratch / "cache"),
            XDG_DATA_HOME=str(scratch / "data"),
            TMPDIR=str(self.temporary),
        )
        self._indices = itertools.count()

    def new_path(self, name: str) -> Path:
        """Return a path in the scratch folder at which nothing exists yet."""
        return self.scratch / f"{next(self._indices):03d}-{name}"

    def list_files(self) -> set[Path]:
        """Return the files in the scratch folder, without the font cache of matplotlib, which Keras loads."""
        paths = self.scratch.rglob("*")
        return {path for path in paths if path.is_file() and "matplotlib" not in path.parts}

    def command(self, *arguments: Argument) -> list[str]:
        """Return the command line of a scan."""
        return command("scan", *arguments)

    def start(
        self,
        *arguments: Argument,
        max_file_bytes: int | None = None,
        subcommand: str = "scan",
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a scan, or another command of digitscan, in a process group of its own.

        `max_file_bytes` limits the size of its files; `options` are those of `subprocess.Popen`.
        """

        def prepare() -> None:
            stop_ignoring_ctrl_c()
            if max_file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

        defaults: dict[str, Any] = {
            "cwd": self.scratch,
            "env": self.environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "start_new_session": True,
            "preexec_fn": prepare,
        }
        return start(subcommand, *arguments, **defaults | options)

    def run(self, *arguments: Argument, **options: Any) -> Outcome:
        """Run a scan to its end; `options` are those of `start`."""
        return wait_for_end(self.start(*arguments, **options))

    def scan_undisturbed(self, folder: Path) -> bytes:
        """Return the CSV of a scan that nothing interrupts. Raises RuntimeError if it fails."""
        output = self.new_path("undisturbed.csv")
        outcome = self.run(folder, "-o", output)
        if outcome.exit_code not in FINISHED:
            raise RuntimeError(outcome.stderr)
        return output.read_bytes()

    def resume(self, folder: Path, output: Path, expected: bytes) -> list[str]:
        """Go on with a scan of a folder with damaged files; return what was lost, [] if nothing was."""
        outcome = self.run(folder, "-o", output, "--resume")
        if outcome.exit_code == ExitCode.UNREADABLE_FILES and output.read_bytes() == expected:
            return []
        return [f"not the same bytes after --resume: {outcome.exit_code} {outcome.stderr}"]

    def time_undisturbed_scan(self, folder: Path) -> tuple[bytes, float]:
        """Return the CSV of a scan that nothing interrupts, and its seconds."""
        start_time = time.perf_counter()
        return self.scan_undisturbed(folder), time.perf_counter() - start_time


def wait_for_end(process: subprocess.Popen[bytes]) -> Outcome:
    """Wait until a process has ended, and return how."""
    stdout, stderr = process.communicate()
    exit_code = process.returncode
    return Outcome(128 - exit_code if exit_code < 0 else exit_code, stdout, stderr.decode())


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end of a process for so many seconds at most; return whether it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it has started, by SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def group_ends_soon(group: int) -> bool:
    """Wait until no process of a group runs; return whether that was soon enough."""
    deadline = time.monotonic() + MAX_SECONDS_TO_END
    while time.monotonic() < deadline:
        if group not in _find_running_groups():
            return True
        time.sleep(0.01)
    return False


def _find_running_groups() -> set[int]:
    """Return the process groups on this machine that have a process which is not a zombie.

    The first process of a container may take seconds to reap its orphans, so zombies do not count.
    """
    groups = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            state, _, group = path.read_text().rpartition(") ")[2].split()[:3]
            groups |= {int(group)} if state not in "ZX" else set()
    return groups


def read_if_exists(path: Path) -> bytes:
    """Return the contents of a file, empty if there is none."""
    return path.read_bytes() if path.exists() else b""


def has_whole_rows(rows: bytes, expected: bytes) -> bool:
    """Return whether rows are the first ones of those expected, and none of them is cut."""
    return expected.startswith(rows) and (not rows or rows.endswith(b"\n"))
