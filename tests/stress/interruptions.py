"""Trials that interrupt a scan: all of its processes killed, its workers killed, Ctrl-C and SIGTERM.

Each compares the rows with those of an undisturbed scan, byte for byte, and adds a line to the report.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode
from tests.stress.harness import (
    MAX_SECONDS_TO_END,
    Report,
    ScanRunner,
    ends_within,
    group_ends_soon,
    has_whole_rows,
    kill_group,
    read_if_exists,
    wait_for_end,
)
from tests.support.crafted_files import HOSTILE_NAMES
from tests.support.damaged_files import make_valid_file
from tests.support.processes import find_process_tree

KILLED = 128 + signal.SIGKILL
SECONDS_TO_START = 0.2
"""Seconds in which a scan is still starting, before it reads files."""


def make_hostile_folder(runner: ScanRunner, file_count: int, seed: int) -> Path:
    """Make a folder of small files with hostile names in subfolders; every seventh file is damaged."""
    random, folder = Random(seed), runner.new_path("hostile")
    formats = ["PNG", "PNG", "PNG", "JPEG", "BMP", "GIF"]
    contents = [make_valid_file(random.choice(formats), random) for _ in range(300)]
    for index in range(file_count):
        # Names in bytes, because a Path cannot hold those that are not UTF-8.
        subfolder = os.fsencode(folder / ("", "a\nb", "=c, d", "e \U0001f600")[index % 4])
        os.makedirs(subfolder, exist_ok=True)
        name = b"%05d " % index + HOSTILE_NAMES[index % len(HOSTILE_NAMES)][-240:]
        data = b"\x89PNG\r\n\x1a\n" if index % 7 == 0 else contents[index % len(contents)]
        with open(os.path.join(subfolder, name), "wb") as file:
            file.write(data)
    return folder


def kill_and_resume(runner: ScanRunner, report: Report, folder: Path, kills: int, seed: int) -> None:
    """Kill all processes at random moments and go on with --resume, until the scan is finished."""
    random = Random(seed)
    expected, seconds = runner.time_undisturbed_scan(folder)
    losses: list[str] = []
    finished_count = interrupted_count = 0
    kills_left = kills
    while kills_left:
        output = runner.new_path("killed.csv")
        is_finished = False
        while not is_finished:
            process = runner.start(folder, "-o", output, "--resume")
            if kills_left and not ends_within(process, random.uniform(0.05, 1.1 * seconds)):
                kills_left -= 1
                kill_group(process)
            outcome = wait_for_end(process)
            losses += outcome.find_faults()
            rows = read_if_exists(output)
            if not expected.startswith(rows):
                losses.append("rows that differ from those of an undisturbed scan")
            is_finished = outcome.exit_code != KILLED
            interrupted_count += not is_finished and 0 < len(rows) < len(expected)
            if outcome.exit_code not in (KILLED, ExitCode.UNREADABLE_FILES):
                losses.append(f"exit code {outcome.exit_code}: {outcome.stderr}")
            if not group_ends_soon(process.pid):
                losses.append("a process that still runs")
        finished_count += 1
        if read_if_exists(output) != expected:
            losses.append(f"{output.name} does not end with the same bytes")
    leftovers = [*runner.temporary.iterdir(), *runner.scratch.glob(".*killed*")]
    summary = (
        f"{interrupted_count} kills amid the rows, {finished_count} scans finished by --resume, each with "
        f"the same bytes; left over: {len(leftovers)} files of "
        f"{sum(path.stat().st_size for path in leftovers):,} bytes in all"
    )
    report.add("kill -9 of all processes at random moments, then --resume", f"{kills} kills", losses, summary)


def kill_during_rewrite(runner: ScanRunner, report: Report, option: str, kills: int, seed: int) -> None:
    """Kill all processes while --retry-errors or --update rewrites the output, then run it again."""
    random, folder = Random(seed), make_hostile_folder(runner, 3000, seed + 1)
    output_before = runner.new_path("before.csv")
    runner.run(folder, "-o", output_before)
    _repair_some_files(folder, make_valid_file("PNG", random))
    before, expected = output_before.read_bytes(), runner.scan_undisturbed(folder)

    def copy_output() -> Path:
        output = runner.new_path("retried.csv")
        for suffix in ("", ".json"):
            shutil.copy(f"{output_before}{suffix}", f"{output}{suffix}")
        return output

    start = time.perf_counter()
    runner.run(folder, "-o", copy_output(), option)
    seconds = time.perf_counter() - start
    losses: list[str] = []
    replaced_count = 0
    for _ in range(kills):
        output = copy_output()
        process = runner.start(folder, "-o", output, option)
        ends_within(process, random.uniform(0.05, seconds))
        kill_group(process)
        losses += wait_for_end(process).find_faults()
        rows = output.read_bytes()
        replaced_count += rows == expected
        if rows not in (before, expected):
            losses.append("neither the old rows nor the new ones")
        again = runner.run(folder, "-o", output, option)
        losses += again.find_faults()
        if again.exit_code != ExitCode.UNREADABLE_FILES or output.read_bytes() != expected:
            losses.append(f"not the same bytes in the end: {again.exit_code} {again.stderr}")
        if leftovers := [path.name for path in runner.scratch.glob(f".{output.name}*")]:
            losses.append(f"left over: {leftovers}")
    summary = f"{kills - replaced_count} times the old file was whole, {replaced_count} times the new one"
    report.add(f"kill -9 during {option}, then again", f"{kills} kills", losses, summary)


def _repair_some_files(folder: Path, data: bytes) -> None:
    """Replace two of three damaged files, which hold the signature of a PNG only, with a valid image."""
    paths = sorted(os.fsencode(path) for path in folder.rglob("*") if path.is_file())
    for index, path in enumerate(paths):
        with open(path, "r+b") as file:
            if index % 3 and len(file.read(9)) == 8:
                file.seek(0)
                file.write(data)


def signal_and_resume(
    runner: ScanRunner, report: Report, folder: Path, signum: signal.Signals, times: int, seed: int
) -> None:
    """Send Ctrl-C to the group, as a terminal does, or SIGTERM to the command, then go on with --resume.

    Every other signal comes while the scan is starting.
    """
    random = Random(seed)
    expected, seconds = runner.time_undisturbed_scan(folder)
    losses: list[str] = []
    longest, sent_count = 0.0, 0
    while sent_count < times:
        output = runner.new_path("signalled.csv")
        process = runner.start(folder, "-o", output)
        if ends_within(process, random.uniform(0.05, seconds if sent_count % 2 else SECONDS_TO_START)):
            wait_for_end(process)
            continue
        (os.killpg if signum is signal.SIGINT else os.kill)(process.pid, signum)
        start = time.monotonic()
        sent_count += 1
        outcome = wait_for_end(process)
        longest = max(longest, time.monotonic() - start)
        losses += outcome.find_faults()
        rows = read_if_exists(output)
        # A signal that comes at the very end may find a finished scan.
        is_finished = outcome.exit_code == ExitCode.UNREADABLE_FILES and rows == expected
        if outcome.exit_code != 128 + signum and not is_finished:
            losses.append(f"exit code {outcome.exit_code}: {outcome.stderr}")
        if not group_ends_soon(process.pid):
            losses.append("a process that still runs")
        if not has_whole_rows(rows, expected):
            losses.append("rows that are cut, or differ from those of an undisturbed scan")
        losses += runner.resume(folder, output, expected)
    if longest > MAX_SECONDS_TO_END:
        losses.append(f"{longest:.1f} s until it ended")
    name = "Ctrl-C" if signum is signal.SIGINT else "SIGTERM"
    summary = f"exit {128 + signum} after {longest:.2f} s at most, whole rows, no process left"
    report.add(f"{name} at random moments, then --resume", f"{times} times", losses, summary)


def kill_workers(runner: ScanRunner, report: Report, folder: Path, kills: int, seed: int) -> None:
    """Kill single processes below the scan at random moments: workers, or the one that forks them.

    The file that a worker was reading may get a row that says so; every other row must be as it was.
    """
    random = Random(seed)
    expected = runner.scan_undisturbed(folder).splitlines()
    losses: list[str] = []
    kill_count = scan_count = crash_count = 0
    while kill_count < kills:
        output = runner.new_path("workers.csv")
        process = runner.start(folder, "-o", output, "--quiet")
        while not ends_within(process, random.uniform(0.2, 0.6)):
            children = find_process_tree(process.pid)[1:]
            for pid in random.sample(children, min(1, len(children))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kill_count += 1
        outcome = wait_for_end(process)
        scan_count += 1
        losses += outcome.find_faults()
        lines = output.read_bytes().splitlines()
        changed = [line for line, before in zip(lines, expected, strict=False) if line != before]
        crashes = [line for line in changed if b"crashed the decoder" in line]
        crash_count += len(crashes)
        is_complete = len(lines) == len(expected) and len(crashes) == len(changed)
        if outcome.exit_code != ExitCode.UNREADABLE_FILES or not is_complete:
            losses.append(
                f"exit code {outcome.exit_code}, {len(lines)} of {len(expected)} lines, "
                f"{len(changed)} changed: {outcome.stderr}"
            )
        if not group_ends_soon(process.pid):
            losses.append("a process that still runs")
    summary = f"{scan_count} scans with the same bytes"
    summary += f", except for {crash_count} rows that report the crash" if crash_count else ""
    report.add("workers killed at random moments", f"{kills} kills", losses, summary)
