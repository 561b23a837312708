"""Trials of the torture benchmark that interrupt a scan: kills, signals, full disks, a second run, pipes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.stress.trial import SOON, Scans, Table, end_of, is_gone, wrong_words
from tests.support.damaged_files import NAMES, sound_file
from tests.support.processes import tree_of

STARTING = 0.2
"""Seconds within which a scan has begun to read."""


def nasty_folder(scans: Scans, count: int, seed: int) -> Path:
    """Make a folder of so many small files, some broken, with names of every kind, in subfolders."""
    random, folder = Random(seed), scans.new("nasty")
    kinds = ["PNG", "PNG", "PNG", "JPEG", "BMP", "GIF"]
    contents = [sound_file(random.choice(kinds), random) for _ in range(300)]
    for number in range(count):
        inside = os.fsencode(folder / ("", "a\nb", "=c, d", "e \U0001f600")[number % 4])
        os.makedirs(inside, exist_ok=True)  # in bytes, as no Path can be
        name = b"%05d " % number + NAMES[number % len(NAMES)][-240:]
        data = b"\x89PNG\r\n\x1a\n" if number % 7 == 0 else contents[number % len(contents)]
        with open(os.path.join(inside, name), "wb") as file:  # the same
            file.write(data)
    return folder


def timed(scans: Scans, folder: Path) -> tuple[bytes, float]:
    """Return the CSV of a scan that nothing disturbs, and its seconds."""
    start = time.perf_counter()
    return scans.whole(folder), time.perf_counter() - start


def killed(scans: Scans, table: Table, folder: Path, kills: int, seed: int) -> None:
    """Kill -9 of the whole group, then --resume, again and again."""
    random = Random(seed)
    whole, seconds = timed(scans, folder)
    lost: list[str] = []
    finished = unfinished = 0
    moments = kills
    while moments:
        output = scans.new("killed.csv")
        for _ in range(100):
            process = scans.start(folder, "-o", output, "--resume")
            try:
                if not moments:
                    raise subprocess.TimeoutExpired([], 0)
                process.wait(random.uniform(0.05, 1.1 * seconds))
            except subprocess.TimeoutExpired:
                if moments:
                    moments -= 1
                    os.killpg(process.pid, signal.SIGKILL)
            code, said = end_of(process)
            lost += wrong_words(said)
            rows = output.read_bytes() if output.exists() else b""
            if not whole.startswith(rows):
                lost.append("rows that are not those of an undisturbed run")
            if code == 3:
                finished += 1
                break
            unfinished += 0 < len(rows) < len(whole)
            if code != 128 + signal.SIGKILL or not is_gone(process.pid):
                lost.append(f"exit code {code}, or a stray process: {said}")
        if not output.is_file() or output.read_bytes() != whole:
            lost.append(f"{output.name} does not end with the same bytes")
    litter = [*scans.temporary.iterdir(), *scans.scratch.glob(".*killed*")]
    told = (
        f"{unfinished} in mid-file, {finished} runs finished by --resume, each byte for byte the same; "
        f"left over: {len(litter)} files of {sum(path.stat().st_size for path in litter):,} bytes together"
    )
    table.row("kill -9 of all processes at random moments, then --resume", f"{kills} kills", lost, told)


def killed_in_retry(scans: Scans, table: Table, kills: int, seed: int) -> None:
    """Kill -9 while --retry-errors rewrites the file."""
    random, folder = Random(seed), nasty_folder(scans, 3000, seed + 1)
    before = scans.new("before.csv")
    scans.run(folder, "-o", before)
    sound = sound_file("PNG", random)
    for number, path in enumerate(sorted(os.fsencode(path) for path in folder.rglob("*") if path.is_file())):
        with open(path, "r+b") as file:  # in bytes, as no Path can be
            if number % 3 and len(file.read(9)) == 8:
                file.seek(0)
                file.write(sound)
    whole = scans.whole(folder)
    old, lost = before.read_bytes(), []

    def copy_of_before() -> Path:
        output = scans.new("retried.csv")
        shutil.copy(before, output)
        shutil.copy(before.with_name(before.name + ".json"), output.with_name(output.name + ".json"))
        return output

    start = time.perf_counter()
    scans.run(folder, "-o", copy_of_before(), "--retry-errors")
    seconds = time.perf_counter() - start
    replaced = 0
    for _ in range(kills):
        output = copy_of_before()
        process = scans.start(folder, "-o", output, "--retry-errors")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.05, seconds))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _, said = end_of(process)
        lost += wrong_words(said)
        rows = output.read_bytes()
        replaced += rows == whole
        if rows not in (old, whole):
            lost.append("neither the old rows nor the new ones")
        code, _, said = scans.run(folder, "-o", output, "--retry-errors")
        if code != 3 or output.read_bytes() != whole or wrong_words(said):
            lost.append(f"not the same bytes in the end: {code} {said}")
        if leftovers := [path.name for path in scans.scratch.glob(f".{output.name}*")]:
            lost.append(f"left over: {leftovers}")
    told = f"{kills - replaced} times the old file was whole, {replaced} times the new one"
    table.row("kill -9 during --retry-errors, then again", f"{kills} kills", lost, told)


def signalled(
    scans: Scans, table: Table, folder: Path, number: signal.Signals, times: int, seed: int
) -> None:
    """Ctrl-C to the whole group as a terminal sends it, or SIGTERM to the command alone; then --resume.

    Every other one comes while it starts.
    """
    random = Random(seed)
    whole, seconds = timed(scans, folder)
    lost: list[str] = []
    longest, sent_to = 0.0, 0
    while sent_to < times:
        output = scans.new("signalled.csv")
        process = scans.start(folder, "-o", output)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.05, seconds if sent_to % 2 else STARTING))
        if process.poll() is not None:
            end_of(process)
            continue
        (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        start = time.monotonic()
        sent_to += 1
        code, said = end_of(process)
        longest = max(longest, time.monotonic() - start)
        lost += wrong_words(said)
        if code != 128 + number and not (code == 3 and output.read_bytes() == whole):
            lost.append(f"exit code {code}: {said}")
        lost += wrong_words(said)
        if not is_gone(process.pid):
            lost.append("a stray process")
        rows = output.read_bytes() if output.exists() else b""
        if not whole.startswith(rows) or (rows and not rows.endswith(b"\n")):
            lost.append("rows that are not whole")
        code, _, said = scans.run(folder, "-o", output, "--resume")
        if code != 3 or output.read_bytes() != whole:
            lost.append(f"not the same bytes after --resume: {code} {said}")
    if longest > SOON:
        lost.append(f"{longest:.1f} s until it ended")
    what = "Ctrl-C" if number is signal.SIGINT else "SIGTERM"
    told = f"exit {128 + number} after {longest:.2f} s at most, whole rows, no process left"
    table.row(f"{what} at random moments, then --resume", f"{times} times", lost, told)


def without_workers(scans: Scans, table: Table, folder: Path, kills: int, seed: int) -> None:
    """SIGKILL of the reading processes alone, at random moments."""
    random = Random(seed)
    whole = scans.whole(folder)
    lost: list[str] = []
    done = runs = stated = 0
    while done < kills:
        output = scans.new("workers.csv")
        process = scans.start(folder, "-o", output, "--quiet")
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0.2, 0.6))
            for child in random.sample(children := tree_of(process.pid)[1:], min(1, len(children))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                    done += 1
        code, said = end_of(process)
        runs += 1
        lost += wrong_words(said)
        got, wanted = output.read_bytes().splitlines(), whole.splitlines()
        differing = [line for line, right in zip(got, wanted, strict=False) if line != right]
        crashes = [line for line in differing if b"crashed the decoder" in line]
        stated += len(crashes)
        if code != 3 or len(got) != len(wanted) or len(crashes) != len(differing):
            lost.append(
                f"exit code {code}, {len(got)} of {len(wanted)} lines, {len(differing)} differ: {said}"
            )
        if not is_gone(process.pid):
            lost.append("a stray process")
    told = f"{runs} scans with the same bytes" + (f", but for {stated} stated crashes" if stated else "")
    table.row("reading processes killed at random moments", f"{kills} kills", lost, told)


@contextlib.contextmanager
def small_disk(scans: Scans, size: int) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """Give a folder on a disk of so many bytes and what makes room, or None where nobody may mount one."""
    folder = scans.new("disk")
    folder.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )

    def make_room() -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    try:
        yield folder, make_room if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def full_disks(scans: Scans, table: Table, folder: Path) -> None:
    """Let the disk be full at some point, make room, go on."""
    whole = scans.whole(folder)
    lost: list[str] = []
    rows_kept = []
    sizes = [4096, 8192, 12_288, *range(16_384, len(whole), max(4096, len(whole) // 10))]
    for size in sizes:
        with small_disk(scans, size) as (place, make_room):
            output = place / "rows.csv"
            code, _, said = scans.run(folder, "-o", output, limit=None if make_room else size)
            rows = output.read_bytes() if output.exists() else b""
            if code != 6 or "cannot be written" not in said or wrong_words(said):
                lost.append(f"exit code {code} on a disk of {size}: {said}")
            if not whole.startswith(rows) or (rows and not rows.endswith(b"\n")):
                lost.append(f"rows that are not whole on a disk of {size}")
            rows_kept.append(rows.count(b"\n"))
            if make_room:
                make_room()
            code, _, said = scans.run(folder, "-o", output, "--resume")
            if code != 3 or output.read_bytes() != whole:
                lost.append(f"not the same bytes after --resume on a disk of {size}: {code} {said}")
            kind = "a mounted disk" if make_room else "a limit on the file's size"
    told = f"exit 6, {min(rows_kept)} to {max(rows_kept):,} whole lines kept, the same bytes after --resume"
    table.row(f"full disk ({kind}), room made, --resume", f"{len(sizes)} sizes", lost, told)


def two_at_once(scans: Scans, table: Table, folder: Path, times: int) -> None:
    """Start a second run into an output that is being written."""
    whole = scans.whole(folder)
    lost: list[str] = []
    for number in range(times):
        output = scans.new("both.csv")
        first = scans.start(folder, "-o", output, "--workers", "1")
        while not output.exists() or (number % 2 and not output.stat().st_size):
            time.sleep(0.001)
        code, _, said = scans.run(
            folder, "-o", output, ("--resume", "--overwrite", "--retry-errors")[number % 3]
        )
        refused = "another scan is writing" in said or "holds no rows yet" in said or "is missing" in said
        if first.poll() is None and (code != 6 or not refused or wrong_words(said)):
            lost.append(f"the second run ended with {code}: {said}")
        code, said = end_of(first)
        if code != 3 or output.read_bytes() != whole:
            lost.append(f"the first run ended with {code}: {said}")
    table.row(
        "a second run into the same output", f"{times} times", lost, "refused with exit 6, the first unharmed"
    )


def streams(scans: Scans, table: Table, folder: Path) -> None:
    """Pipes that close, streams that are not there, odd terminals."""
    whole = scans.whole(folder)
    first_line = whole[: whole.index(b"\n") + 1]
    command = '"$0" -P -m digitscan scan "$1"'
    cases = [
        ("| head -1", f"{command} | head -1; exit ${{PIPESTATUS[0]}}", 0, first_line),
        (
            "-o - | head -c 99",
            f"{command} -o - | head -c 99; exit ${{PIPESTATUS[0]}}",
            0,
            whole[:99],
        ),
        ("| true", f"{command} | true; exit ${{PIPESTATUS[0]}}", 0, b""),
        ("2>&-", f"{command} 2>&- | cat; exit ${{PIPESTATUS[0]}}", 3, whole),
        ("<&-", f"{command} <&- | cat; exit ${{PIPESTATUS[0]}}", 3, whole),
        ("2>/dev/full", f"{command} 2>/dev/full | cat; exit ${{PIPESTATUS[0]}}", 3, whole),
        ("-o - >/dev/full", f"{command} -o - >/dev/full", 6, b""),
        ("-o - >&-", f"{command} -o - >&-", 3, b""),
        *(
            (words, f"{words} {command} | cat; exit ${{PIPESTATUS[0]}}", 3, whole)
            for words in (
                "NO_COLOR=1",
                "TERM=dumb",
                "COLUMNS=40",
                "LC_ALL=C",
                "PYTHONIOENCODING=ascii",
                "COLUMNS=0",
            )
        ),
        ("FORCE_COLOR=1", f"FORCE_COLOR=1 {command} 2>/dev/null | cat; exit ${{PIPESTATUS[0]}}", 3, whole),
    ]
    lost = []
    for what, script, expected, stdout in cases:
        done = subprocess.run(
            ["bash", "-c", script, sys.executable, str(folder)],
            cwd=scans.scratch,
            capture_output=True,
            check=False,
        )
        if done.returncode != expected or done.stdout != stdout or wrong_words(done.stderr.decode()):
            lost.append(f"{what}: exit {done.returncode}, {len(done.stdout):,} bytes, {done.stderr.decode()}")
    names = ", ".join(f"`{what}`" for what, *_ in cases).replace("|", "\\|")
    told = "the exit code, and on stdout the rows and nothing else"
    table.row(f"pipes and terminals: {names}", f"{len(cases)} ways", lost, told)
