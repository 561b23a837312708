"""Trials of an output that people and programs change, during a scan and after it was killed."""

from __future__ import annotations

import csv
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode
from digitscan.scanning.output.rescue import RESCUE_SUFFIX
from tests.stress.harness import (
    FINISHED,
    Report,
    ScanRunner,
    ends_within,
    kill_group,
    read_if_exists,
    wait_for_end,
)

Change = Callable[[Path, Random], None]
Edit = Callable[[bytes, Random], bytes]


def _delete(output: Path, random: Random) -> None:
    output.unlink()


def _replace(output: Path, random: Random) -> None:
    new = output.with_name(f"new-{output.name}")
    new.write_bytes(_keep_some_rows(output.read_bytes(), random))
    new.replace(output)


def _save_over(output: Path, random: Random) -> None:
    output.write_bytes(_keep_some_rows(output.read_bytes(), random))


def _keep_some_rows(rows: bytes, random: Random) -> bytes:
    whole = rows[: random.randint(1, len(rows))]
    while whole and (not whole.endswith(b"\n") or whole.count(b'"') % 2):  # amid a row
        whole = whole[:-1]
    return whole or rows


CHANGES: tuple[Change, ...] = (_delete, _replace, _save_over)


def change_output(runner: ScanRunner, report: Report, folder: Path, times: int, seed: int) -> None:
    """Delete, replace or save over the output at random moments; all rows must be there or beside it."""
    random = Random(seed)
    expected, seconds = runner.time_undisturbed_scan(folder)
    losses: list[str] = []
    resumed_count = changed_count = 0
    while changed_count < times:
        change = CHANGES[changed_count % len(CHANGES)]
        output = runner.new_path("changed.csv")
        process = runner.start(folder, "-o", output)
        while not read_if_exists(output) and process.poll() is None:
            time.sleep(0.002)
        if ends_within(process, random.uniform(0, seconds - 0.2)):
            wait_for_end(process)
            continue
        # All processes stand still, so that what is saved is what had been written.
        os.killpg(process.pid, signal.SIGSTOP)
        changed_count += 1
        before = output.read_bytes()
        change(output, random)
        left = read_if_exists(output)
        os.killpg(process.pid, signal.SIGCONT)
        outcome = wait_for_end(process)
        rescued = read_if_exists(output.with_name(output.name + RESCUE_SUFFIX))
        losses += outcome.find_faults()
        if read_if_exists(output) != left:
            losses.append(f"{change.__name__}: what was saved has changed")
        header = expected[: expected.index(b"\n") + 1]
        is_whole = expected == (before + rescued.removeprefix(header) if change is _save_over else rescued)
        # A change that comes after the last row may find a finished scan.
        if before != expected and (outcome.exit_code != ExitCode.OUTPUT or not is_whole):
            losses.append(f"{change.__name__}: exit code {outcome.exit_code}, or rows: {outcome.stderr}")
        if change is _save_over:
            resumed_count += 1
            losses += runner.resume(folder, output, expected)
    summary = (
        f"exit {int(ExitCode.OUTPUT)}, all rows in it or beside it, {resumed_count} resumed to the same bytes"
    )
    report.add("the output deleted, replaced or saved over", f"{times} times", losses, summary)


def _put_stray_quote(rows: bytes, random: Random) -> bytes:
    return _insert(rows, b'"', random)


def _put_nul_byte(rows: bytes, random: Random) -> bytes:
    return _insert(rows, b"\0", random)


def _insert(rows: bytes, data: bytes, random: Random) -> bytes:
    position = random.randrange(len(rows) + 1)
    return rows[:position] + data + rows[position:]


def _end_lines_with_cr(rows: bytes, random: Random) -> bytes:
    return rows.replace(b"\n", b"\r")


def _encode_as_utf16(rows: bytes, random: Random) -> bytes:
    return rows.decode(errors="replace").encode("utf-16")


def _correct_statuses(rows: bytes, random: Random) -> bytes:
    lines = rows.splitlines(keepends=True)
    for index in range(1, len(lines) - 1):
        if lines[index].endswith(b"\n") and random.random() < 0.1:
            lines[index] = lines[index].replace(b",ok,", b",review,")
    return b"".join(lines)


def _save_as_spreadsheet(rows: bytes, random: Random) -> bytes:
    """Add a column, sort the rows by their status, and separate the cells by semicolons."""
    if b"\n" not in rows:  # not even the header is whole
        return rows
    header, *cells = csv.reader(io.StringIO(rows.decode(errors="replace"), newline=""))
    width = len(header)
    remarked = [[*row, *[""] * (width - len(row)), f"remark; {row[0]}"] for row in cells if len(row) > 3]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=";")
    writer.writerows([[*header, "remark"], *sorted(remarked, key=lambda row: row[3])])
    return file.getvalue().encode()


EDITS: tuple[Edit, ...] = (
    _put_stray_quote,
    _end_lines_with_cr,
    _encode_as_utf16,
    _put_nul_byte,
    _correct_statuses,
    _save_as_spreadsheet,
)


OPTIONS = ("--resume", "--retry-errors", "--update")


def edit_after_kill(runner: ScanRunner, report: Report, folder: Path, times: int, seed: int) -> None:
    """Kill a scan, edit its rows and go on; the file must be as it was, or hold all that it held."""
    random = Random(seed)
    _, seconds = runner.time_undisturbed_scan(folder)
    losses: list[str] = []
    refused_count = 0
    for index in range(times):
        output = runner.new_path("edited.csv")
        process = runner.start(folder, "-o", output)
        ends_within(process, random.uniform(0.3, seconds))
        kill_group(process)
        wait_for_end(process)
        edit = EDITS[index % len(EDITS)]
        edited = edit(read_if_exists(output), random)
        output.write_bytes(edited)
        option = OPTIONS[index // len(EDITS) % len(OPTIONS)]
        outcome = runner.run(folder, "-o", output, option)
        losses += outcome.find_faults()
        rows = output.read_bytes()
        is_untouched = rows == edited
        refused_count += outcome.exit_code == ExitCode.OUTPUT
        # Only a last row that was cut may go, and the rows of errors where these are tried again.
        kept = edited[: max(edited.rfind(b"\n"), edited.rfind(b"\r")) + 1]
        if edit is _save_as_spreadsheet:
            is_kept = _parse(kept, ";") <= _parse(rows)
        else:
            is_kept = rows.startswith(kept) if option == "--resume" else _parse(kept) <= _parse(rows)
        if outcome.exit_code not in {*FINISHED, ExitCode.OUTPUT} or not (is_untouched or is_kept):
            losses.append(f"{edit.__name__}, {option}: exit code {outcome.exit_code}: {outcome.stderr}")
        if outcome.exit_code == ExitCode.OUTPUT and not is_untouched:
            losses.append(f"{edit.__name__}, {option}: refused, but changed")
    summary = f"{refused_count} refused untouched, in the others every edit kept"
    report.add(
        "rows edited or saved by a spreadsheet after kill -9, then --resume, --retry-errors or --update",
        f"{times} times",
        losses,
        summary,
    )


def _parse(rows: bytes, delimiter: str = ",") -> set[tuple[str, ...]]:
    """Return the cells of all rows but those of errors."""
    lines = csv.reader(io.StringIO(rows.decode(errors="replace"), newline=""), delimiter=delimiter)
    return {tuple(cells) for cells in lines if "error" not in cells}
