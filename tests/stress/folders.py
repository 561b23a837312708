"""Trials of folders: very deep ones, ones swapped for links, and ones with files that cannot be opened."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from PIL import Image

from digitscan.errors import ExitCode
from digitscan.prediction import Status
from digitscan.scanning.output.csv_format import CsvReader
from tests.stress.harness import Outcome, Report, ScanRunner, wait_for_end
from tests.support.command import run_shell
from tests.support.damaged_files import make_valid_file
from tests.support.pictures import digit_picture, encode_image

LEVELS = 5000
MAX_SECONDS_FOR_LEVELS = 150
_PIPE_LEVELS = 500
"""As many levels as make rows of more than the 64 KB that a pipe holds."""
_LONG_NAME = "n" * 200
_NOT_ROOT = "setpriv --bounding-set=-dac_override,-dac_read_search "
"""Runs a command as a root whom permissions keep out."""


def scan_deep_tree(runner: ScanRunner, report: Report) -> None:
    """Scan a tree with a picture on each of 5,000 levels."""
    with _make_tree(runner, LEVELS, "d") as folder:
        output = runner.new_path("rows.csv")
        start = time.monotonic()
        outcome = runner.run(folder, "-o", output, "--quiet")
        seconds = time.monotonic() - start
        rows = list(CsvReader(output))
    losses = outcome.find_faults()
    if [row.path for row in rows] != ["d/" * level + "1.png" for level in range(LEVELS)]:
        losses.append(f"{len(rows)} rows, or not in order")
    if outcome.exit_code != ExitCode.OK or seconds > MAX_SECONDS_FOR_LEVELS:
        losses.append(f"exit code {outcome.exit_code} after {seconds:.0f} s: {outcome.stderr}")
    summary = f"{len(rows):,} rows in {seconds:.1f} s"
    report.add("a tree with a picture on each level", f"{LEVELS:,} levels", losses, summary)


def write_long_rows_to_slow_pipe(runner: ScanRunner, report: Report) -> None:
    """Write rows that are longer than a pipe holds into one that does not block and is read slowly."""
    with _make_tree(runner, _PIPE_LEVELS, _LONG_NAME) as folder:
        expected = runner.scan_undisturbed(folder)
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        process = runner.start(folder, "-o", "-", stdout=write_end)
        os.close(write_end)
        rows = bytearray()
        while data := os.read(read_end, 1 << 16):
            rows += data
            time.sleep(0.001)
        os.close(read_end)
        outcome = wait_for_end(process)
    losses = outcome.find_faults()
    if outcome.exit_code != ExitCode.OK or rows != expected:
        losses.append(f"exit code {outcome.exit_code}, {len(rows):,} of {len(expected):,} bytes")
    longest = max(map(len, expected.splitlines()))
    summary = f"the same {len(expected) / 1e6:.0f} MB"
    trial = f"rows of up to {longest:,} bytes into a slow pipe that does not block"
    report.add(trial, f"{_PIPE_LEVELS} rows", losses, summary)


@contextlib.contextmanager
def _make_tree(runner: ScanRunner, levels: int, name: str) -> Iterator[Path]:
    """Give a folder with folders of one name within each other, each with the picture `1.png`."""
    folder, picture = runner.new_path("deep"), runner.new_path("picture.png")
    folder.mkdir()
    picture.write_bytes(make_valid_file("PNG", Random(1)))
    level = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.link(picture, "1.png", dst_dir_fd=level)
        os.mkdir(name, dir_fd=level)
        inner = os.open(name, os.O_RDONLY, dir_fd=level)
        os.close(level)
        level = inner
    os.close(level)
    try:
        yield folder
    finally:  # Python's own functions to remove a tree end at its limit on recursion
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def swap_folders_for_links(runner: ScanRunner, report: Report, times: int) -> None:
    """Swap subfolders for links to a folder outside, and back, while they are scanned.

    The folder outside has blank pictures of the same names: where one is read, a row is `no-digit`.
    """
    folder, outside = runner.new_path("swapped"), runner.new_path("outside")
    blank = encode_image(Image.new("L", (64, 64), 255), "PNG")
    digit = encode_image(digit_picture(), "PNG")
    for index in range(20):
        (folder / f"{index:02d}").mkdir(parents=True)
    outside.mkdir()
    for index in range(50):
        (outside / f"{index}.png").write_bytes(blank)
        for subfolder in folder.iterdir():
            (subfolder / f"{index}.png").write_bytes(digit)
    (outside / "outside.png").write_bytes(digit)
    is_over, swap_count = threading.Event(), 0

    def swap() -> None:
        nonlocal swap_count
        while not is_over.is_set():
            for subfolder in sorted(folder.iterdir()):
                hidden = runner.scratch / "hidden"
                subfolder.rename(hidden)
                subfolder.symlink_to(outside)
                time.sleep(0.0005)
                subfolder.unlink()
                hidden.rename(subfolder)
                swap_count += 1

    losses, row_count = [], 0
    thread = threading.Thread(target=swap)
    thread.start()
    for _ in range(times):
        output = runner.new_path("swapped.csv")
        outcome = runner.run(folder, "-o", output)
        losses += outcome.find_faults()
        for row in CsvReader(output) if output.exists() else ():
            row_count += 1
            if row.path.endswith("outside.png") or row.status is Status.NO_DIGIT:
                losses.append(f"from outside: {row}")
    is_over.set()
    thread.join()
    summary = f"{swap_count:,} swaps, {row_count:,} rows, none from outside"
    report.add("subfolders swapped for links", f"{times} scans", losses, summary)


def scan_with_few_descriptors(runner: ScanRunner, report: Report, folder: Path) -> None:
    """Ask for more workers than there are descriptors."""
    expected = runner.scan_undisturbed(folder)
    script = 'ulimit -n 64; digitscan scan "$1" --workers 200 -o -'
    done = run_shell(script, folder, cwd=runner.scratch, env=runner.environment)
    outcome = Outcome(done.returncode, done.stdout, done.stderr.decode())
    losses = outcome.find_faults()
    if outcome.exit_code != ExitCode.UNREADABLE_FILES or outcome.stdout != expected:
        losses.append(f"exit code {outcome.exit_code}, {len(outcome.stdout):,} bytes: {outcome.stderr}")
    report.add("`ulimit -n 64`, `--workers 200`", "1 scan", losses, "the same bytes")


def scan_files_that_cannot_be_opened(runner: ScanRunner, report: Report) -> None:
    """Scan files without read permission, of which some have no suffix; each must have its row."""
    folder = runner.new_path("closed")
    folder.mkdir()
    names = sorted(f"{index:02d}{('', '.png', '.txt')[index % 3]}" for index in range(60))
    for name in names:
        (folder / name).write_bytes(make_valid_file("PNG", Random(1)))
        (folder / name).chmod(0)
    prefix = _NOT_ROOT if os.geteuid() == 0 and shutil.which("setpriv") else ""
    script = f'{prefix}"$0" -P -m digitscan scan "$1" -o rows.csv --overwrite'
    done = run_shell(script, folder, cwd=runner.scratch, env=runner.environment)
    outcome = Outcome(done.returncode, done.stdout, done.stderr.decode())
    rows = list(CsvReader(runner.scratch / "rows.csv"))
    losses = outcome.find_faults()
    if outcome.exit_code != ExitCode.UNREADABLE_FILES:
        losses.append(f"exit code {outcome.exit_code}: {outcome.stderr}")
    if [row.path for row in rows if row.status is Status.ERROR] != names:
        losses.append(f"{len(rows)} rows of {len(names)} files")
    report.add(
        "files that may not be read, without suffix too", f"{len(names)} files", losses, "an error row each"
    )
