"""Trials of the output: a full disk, a second scan into the same file, pipes that close, missing streams.

Each compares the rows with those of an undisturbed scan, byte for byte, and adds a line to the report.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from digitscan.errors import ExitCode
from tests.stress.harness import Outcome, Report, ScanRunner, has_whole_rows, read_if_exists, wait_for_end
from tests.support.command import run_shell


def fill_disk(runner: ScanRunner, report: Report, folder: Path) -> None:
    """Let the disk be full at various points, make space, and go on with --resume."""
    expected = runner.scan_undisturbed(folder)
    losses: list[str] = []
    row_counts = []
    kind = ""
    sizes = [4096, 8192, 12_288, *range(16_384, len(expected), max(4096, len(expected) // 10))]
    for size in sizes:
        with _small_disk(runner, size) as (disk, make_space):
            kind = "a mounted disk" if make_space else "a limit on the size of files"
            output = disk / "rows.csv"
            outcome = runner.run(folder, "-o", output, max_file_bytes=None if make_space else size)
            losses += outcome.find_faults()
            rows = read_if_exists(output)
            if outcome.exit_code != ExitCode.OUTPUT or "cannot be written" not in outcome.stderr:
                losses.append(f"exit code {outcome.exit_code} on a disk of {size} bytes: {outcome.stderr}")
            if not has_whole_rows(rows, expected):
                losses.append(f"rows that are cut or differ on a disk of {size} bytes")
            row_counts.append(rows.count(b"\n"))
            if make_space:
                make_space()
            losses += [f"disk of {size} bytes: {loss}" for loss in runner.resume(folder, output, expected)]
    kept = f"{min(row_counts)} to {max(row_counts):,} whole lines kept"
    summary = f"exit {int(ExitCode.OUTPUT)}, {kept}, the same bytes after --resume"
    report.add(f"full disk ({kind}), space made, --resume", f"{len(sizes)} sizes", losses, summary)


@contextlib.contextmanager
def _small_disk(runner: ScanRunner, size: int) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """Give a folder on a new disk of `size` bytes, and a function that enlarges the disk.

    Only root may mount one. Otherwise the folder is an ordinary one, and there is no function.
    """
    folder = runner.new_path("disk")
    folder.mkdir()
    is_mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )

    def make_space() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    try:
        yield folder, make_space if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)


def start_second_scan(runner: ScanRunner, report: Report, folder: Path, times: int) -> None:
    """Start a second scan into an output that a first one is writing."""
    expected = runner.scan_undisturbed(folder)
    losses: list[str] = []
    for index in range(times):
        output = runner.new_path("both.csv")
        first = runner.start(folder, "-o", output, "--workers", "1")
        while not output.exists() or (index % 2 and not output.stat().st_size):
            time.sleep(0.001)
        option = ("--resume", "--overwrite", "--retry-errors")[index % 3]
        second = runner.run(folder, "-o", output, option)
        # Which of the sentences it is depends on how far the first scan has come.
        sentences = ("another scan is writing", "holds no rows yet", "is missing")
        is_refused = second.exit_code == ExitCode.OUTPUT and any(s in second.stderr for s in sentences)
        if first.poll() is None and (not is_refused or second.find_faults()):
            losses.append(f"the second scan ended with {second.exit_code}: {second.stderr}")
        outcome = wait_for_end(first)
        if outcome.exit_code != ExitCode.UNREADABLE_FILES or output.read_bytes() != expected:
            losses.append(f"the first scan ended with {outcome.exit_code}: {outcome.stderr}")
    summary = "refused with exit 6, the first unharmed"
    report.add("a second scan into the same output", f"{times} times", losses, summary)


class _Redirection(NamedTuple):
    """A bash script that scans its first argument, and the exit code and stdout that it must have."""

    name: str
    script: str
    exit_code: int
    stdout: bytes


def redirect_streams(runner: ScanRunner, report: Report, folder: Path) -> None:
    """Scan with pipes that close early, standard streams that are missing or full, and unusual terminals."""
    losses = []
    redirections = _list_redirections(runner.scan_undisturbed(folder))
    for name, script, exit_code, stdout in redirections:
        done = run_shell(script, folder, cwd=runner.scratch, env=runner.environment)
        outcome = Outcome(done.returncode, done.stdout, done.stderr.decode())
        if outcome[:2] != (exit_code, stdout) or outcome.find_faults():
            losses.append(
                f"{name}: exit {outcome.exit_code}, {len(outcome.stdout):,} bytes, {outcome.stderr}"
            )
    names = ", ".join(f"`{redirection.name}`" for redirection in redirections).replace("|", "\\|")
    summary = "the expected exit code, and nothing but rows on stdout"
    report.add(f"pipes and terminals: {names}", f"{len(redirections)} ways", losses, summary)


def _list_redirections(rows: bytes) -> list[_Redirection]:
    header = rows[: rows.index(b"\n") + 1]
    scan, exit_with_its_code = 'digitscan scan "$1"', "exit ${PIPESTATUS[0]}"
    unreadable = ExitCode.UNREADABLE_FILES
    return [
        _Redirection("| head -1", f"{scan} | head -1; {exit_with_its_code}", 0, header),
        _Redirection("-o - | head -c 99", f"{scan} -o - | head -c 99; {exit_with_its_code}", 0, rows[:99]),
        _Redirection("| true", f"{scan} | true; {exit_with_its_code}", 0, b""),
        *(
            _Redirection(name, f"{scan} {name} | cat; {exit_with_its_code}", unreadable, rows)
            for name in ("2>&-", "<&-", "2>/dev/full")
        ),
        _Redirection("-o - >/dev/full", f"{scan} -o - >/dev/full", ExitCode.OUTPUT, b""),
        _Redirection("-o - >&-", f"{scan} -o - >&-", unreadable, b""),
        # Neither stream may be emptied or replaced, and nothing be written beside it.
        _Redirection(
            "-o /dev/stdout --overwrite >out 2>err",
            f"rm -f out err; {scan} -o /dev/stdout --overwrite >out 2>err; code=$?; cat out; "
            "test -s err && ! ls /dev/*.json /dev/*.rescued /dev/.*digitscan* 2>/dev/null && exit $code",
            unreadable,
            rows,
        ),
        _Redirection(
            "-o /dev/stderr 2>err",
            f"{scan} -o /dev/stderr --quiet 2>err; code=$?; cat err; exit $code",
            unreadable,
            rows,
        ),
        *(
            _Redirection(
                f"-o {name} 5>>five",
                f"echo before >five; {scan} -o {name} 5>>five; code=$?; cat five; exit $code",
                unreadable,
                b"before\n" + rows,
            )
            for name in ("/dev/fd/5", "/proc/self/fd/5")
        ),
        *(
            _Redirection(name, f"{name} {scan} | cat; {exit_with_its_code}", unreadable, rows)
            for name in (
                "NO_COLOR=1",
                "TERM=dumb",
                "COLUMNS=40",
                "LC_ALL=C",
                "PYTHONIOENCODING=ascii",
                "COLUMNS=0",
            )
        ),
        _Redirection(
            "in a folder that was deleted",
            f"mkdir -p gone && cd gone && rmdir ../gone && {scan} -o - | cat; {exit_with_its_code}",
            unreadable,
            rows,
        ),
        # Colours are asked for, so the control characters on stderr are no fault.
        _Redirection(
            "FORCE_COLOR=1",
            f"FORCE_COLOR=1 {scan} 2>/dev/null | cat; {exit_with_its_code}",
            unreadable,
            rows,
        ),
    ]
