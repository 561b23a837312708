"""Measure commands from outside: wall time, the memory of all their processes, the time to the first row.

The stress tests and the benchmarks use it. Memory and process trees are read from `/proc`, so on Linux only.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

POLL_SECONDS = 0.05
"""Seconds between two measurements of a running command's memory."""


@dataclass(frozen=True)
class Measurement:
    """What was measured while a command ran.

    peak_megabytes: the most memory that all of its processes had at once; a page that several share counts
    once. seconds_to_first_row: nan if it was never seen. process_count: how many processes were seen.
    """

    seconds: float
    peak_megabytes: float
    seconds_to_first_row: float
    process_count: int


def time_command(command: Sequence[str]) -> float:
    """Return the wall time of a command in seconds. Raises CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - start


def measure_command(
    command: Sequence[str],
    output: Path,
    allowed_exit_codes: Collection[int] = (0,),
    env: Mapping[str, str] | None = None,
) -> Measurement:
    """Run a command that writes a header and rows into `output`, and measure it.

    Raises CalledProcessError if its exit code is not among those allowed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )
    seconds_to_first_row = float("nan")

    def wait_for_first_row() -> None:
        nonlocal seconds_to_first_row
        while process.poll() is None:
            if output.is_file():
                with output.open("rb") as file:
                    if file.read(1 << 16).count(b"\n") >= 2:
                        seconds_to_first_row = time.perf_counter() - start
                        return
            time.sleep(0.01)

    watcher = threading.Thread(target=wait_for_first_row)
    watcher.start()
    peak_megabytes = 0.0
    seen_pids: set[int] = set()
    while process.poll() is None:
        pids = find_process_tree(process.pid)
        seen_pids.update(pids)
        peak_megabytes = max(peak_megabytes, sum(map(_read_megabytes, pids)))
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - start
    watcher.join()
    if process.returncode not in allowed_exit_codes:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return Measurement(seconds, peak_megabytes, seconds_to_first_row, len(seen_pids))


def time_in_turn(commands: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run all commands once a round; return each one's seconds by round.

    Each of `commands` runs and returns its seconds. The first round fills the page cache and does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_index in range(rounds + 1):
        for name, run in commands.items():
            elapsed = run()
            if round_index > 0:
                seconds[name].append(elapsed)
    return seconds


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios by round, which a machine that changes its speed does not move."""
    return median(a / b for a, b in zip(numerators, denominators, strict=True))


def find_process_tree(pid: int) -> list[int]:
    """Return the pids of a process, first, and of all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is read
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                pids.extend(map(int, children.read_text().split()))
            except OSError:  # the thread has ended
                continue
    return pids


def _read_megabytes(pid: int) -> float:
    """Return the proportional set size of a process (PSS): its own pages, and its share of shared ones."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:  # the process has ended
        pass
    return 0.0
