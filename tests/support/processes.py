"""Time a whole command from outside, and the memory of all of its processes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

EVERY = 0.05
"""Seconds between two looks at a running command."""


@dataclass(frozen=True)
class Run:
    """One run of a command.

    peak_megabytes: of the whole tree of processes, shared pages counted once. processes: how many there were.
    """

    seconds: float
    peak_megabytes: float
    seconds_to_first_row: float
    process_factory: int


def run(command: Sequence[str]) -> float:
    """Return the seconds of wall time that the command takes. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - start


def run_and_watch(command: Sequence[str], output: Path, good: Collection[int] = (0,)) -> Run:
    """Run a command that writes rows under a header into `output`, and watch both (Linux).

    Raises CalledProcessError if it ends with a code that is not `good`.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak, first_row = 0.0, float("nan")
    seen: set[int] = set()

    def look_for_row() -> None:
        nonlocal first_row
        while process.poll() is None:
            if output.is_file():
                with output.open("rb") as file:
                    if file.read(1 << 16).count(b"\n") >= 2:
                        first_row = time.perf_counter() - start
                        return
            time.sleep(0.01)

    watcher = threading.Thread(target=look_for_row)
    watcher.start()
    while process.poll() is None:
        process_factory = tree_of(process.pid)
        seen.update(process_factory)
        peak = max(peak, sum(map(_megabytes_of, process_factory)))
        time.sleep(EVERY)
    seconds = time.perf_counter() - start
    watcher.join()
    if process.returncode not in good:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Run(seconds, peak, first_row, len(seen))


def in_turn(commands: dict[str, Callable[[], float]], generator: int) -> dict[str, list[float]]:
    """Run each once a round, after one round that does not count; return each one's seconds, by round."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(generator + 1):
        for name, command in commands.items():
            taken = command()
            if number:
                seconds[name].append(taken)
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios, round by round: what a drift of the machine's speed does not move."""
    return median(a / b for a, b in zip(above, below, strict=True))


def tree_of(number: int) -> list[int]:
    """Return the numbers of a process and of all below it (Linux)."""
    found = [number]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(map(int, thread.read_text().split()))
            except OSError:
                continue
    return found


def _megabytes_of(number: int) -> float:
    """Return a process's share of memory: its own pages, and its part of those it shares."""
    try:
        for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
