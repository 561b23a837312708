"""Try to break a scan, for real: `python -m benchmarks.torture [--files 5000] [--kills 50] [--seed 1]`.

Damaged files, interrupted runs, full disks, closed pipes and hostile models, all made from the seed. Prints a
Markdown table of what was tried and what was lost, and exits with 1 if anything was. Linux; as root it mounts
a small disk to fill, else it limits the size of a file.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.damage import NAMES, crafted_files, damaged_files, endless_files, sound_file, sound_files
from benchmarks.measure import run_and_watch, tree_of
from digitscan.results import Prediction, Status, read_csv
from digitscan.supervise import usable_cores

ROOT = Path(__file__).resolve().parents[1]
SOON = 2.0
"""Seconds within which a signal must have ended everything."""
MOST_MEGABYTES = 4096


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
    """Tell whether the last process of a group ends soon: workers see that their scan is gone."""
    end = time.monotonic() + SOON
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def wrong_words(said: str) -> list[str]:
    """Return what must not stand on stderr: tracebacks, our own bugs, control characters."""
    wrong = [word for word in ("Traceback", "unexpected:", "Fatal Python") if word in said]
    controls = {letter for letter in said if not letter.isprintable() and letter != "\n"}
    return wrong + [f"control character {letter!r} on stderr" for letter in controls]


# --- files --------------------------------------------------------------------------------------------


def slowest(folder: Path) -> tuple[float, str]:
    """Return the seconds and the name of the file that takes longest to open and look at."""
    from digitscan.errors import ImageError
    from digitscan.images import open_image
    from digitscan.preprocess import preprocess
    from digitscan.streams import silence_native_messages

    longest, slow = 0.0, ""
    with silence_native_messages():
        for path in sorted(folder.iterdir()):
            start = time.perf_counter()
            with contextlib.suppress(ImageError):
                preprocess(open_image(path).pixels)
            if (seconds := time.perf_counter() - start) > longest:
                longest, slow = seconds, path.name
    return longest, slow


def watch(
    scans: Scans, table: Table, what: str, mixed: Path, judge: Callable[[list[Prediction]], list[str]]
) -> bytes:
    """Scan a folder of troubles; print what `judge` says of its rows, with memory, processes and time."""
    output = scans.new("mixed.csv")
    run = run_and_watch(scans.words(mixed, "-o", output, "--quiet"), output, good=(0, 3))
    rows = list(read_csv(output))
    names = sorted(path.name for path in mixed.iterdir())
    lost = judge(rows)
    if [row.path for row in rows] != names:
        lost.append(f"{len(names)} files, {len(rows)} rows, or another order")
    code, _, said = scans.run(mixed, "-o", output, "--overwrite")
    lost += wrong_words(said)
    lost += [
        row.note
        for row in rows
        if "crashed" in row.note or "timed out" in row.note or "unexpected" in row.note
    ]
    died = run.processes - 1 - usable_cores()
    if died > 0:
        lost.append(f"{died} processes died")
    if code != 3:
        lost.append(f"exit code {code}")
    with ProcessPoolExecutor(1) as pool:
        seconds, name = pool.submit(slowest, mixed).result()
    errors = sum(row.status is Status.ERROR for row in rows)
    told = (
        f"{len(rows):,} rows in order, {errors:,} of them errors, no traceback, no process died, "
        f"slowest file {seconds:.2f} s ({name.partition('-')[2] or name}), peak {run.peak_megabytes:,.0f} MB"
    )
    table.row(what, f"{len(names):,} files", lost, told)
    return output.read_bytes()


def damaged(scans: Scans, table: Table, count: int, seed: int) -> None:
    """Scan damaged files among as many sound ones."""
    mixed, sound = scans.new("mixed"), scans.new("sound")
    mixed.mkdir()
    sound.mkdir()
    for (bad, bad_data), (good, good_data) in zip(
        damaged_files(seed, count), sound_files(seed, count), strict=True
    ):
        (mixed / bad).write_bytes(bad_data)
        (mixed / good).write_bytes(good_data)
        (sound / good).write_bytes(good_data)

    def judge(rows: list[Prediction]) -> list[str]:
        good = {row.path for row in rows if "-sound." in row.path}
        return [] if len(good) == count else [f"{count - len(good)} sound files"]

    together = watch(scans, table, "damaged files, each beside a sound one", mixed, judge)
    alone = scans.whole(sound).splitlines()[1:]
    lines = set(together.splitlines())
    wrong = [line.decode() for line in alone if line not in lines or b",error," in line]
    table.row("rows of the sound neighbours, against a scan of those alone", f"{len(alone):,} rows", wrong)


def crafted(scans: Scans, table: Table) -> None:
    """Bombs and oddities."""
    folder = scans.new("crafted")
    folder.mkdir()
    expected = {}
    for each in crafted_files():
        (folder / each.name).write_bytes(each.data)
        expected[each.name] = each

    def judge(rows: list[Prediction]) -> list[str]:
        lost = []
        for row in rows:
            wanted = expected[row.path]
            right = (row.status is Status.ERROR) == (wanted.error is not None)
            if not right or not row.note.startswith(wanted.error or "") or wanted.notes not in row.note:
                lost.append(f"{row.path}: {row.status} {row.note}")
        return lost

    what = "crafted files: bombs, 64 megapixels, odd sides and modes, frames, EXIF"
    watch(scans, table, what, folder, judge)


def endless(scans: Scans, table: Table) -> None:
    """Scan files of gigabytes that hold nothing: memory is bounded, and the time each may take."""
    folder, output = scans.new("endless"), scans.new("rows.csv")
    folder.mkdir()
    for name, start, size in endless_files():
        with (folder / name).open("wb") as file:
            file.write(start)
            file.truncate(size)
    (folder / "sound.png").write_bytes(sound_file("PNG", Random(1)))
    words = scans.words(folder, "-o", output, "--timeout", "5", "--quiet")
    run = run_and_watch(words, output, good=(3,))
    rows = {row.path: row for row in read_csv(output)}
    lost = [f"{row.path}: {row.note}" for row in rows.values() if "crashed" in row.note]
    if len(rows) != len(list(folder.iterdir())) or rows["sound.png"].status is Status.ERROR:
        lost.append("rows")
    if run.peak_megabytes > MOST_MEGABYTES:
        lost.append(f"{run.peak_megabytes:,.0f} MB")
    told = f"a row each in {run.seconds:.0f} s with `--timeout 5`, peak {run.peak_megabytes:,.0f} MB"
    table.row("files of 8 GB that hold nothing, of each format", f"{len(rows) - 1} files", lost, told)


# --- interruptions ------------------------------------------------------------------------------------


def nasty_folder(scans: Scans, count: int, seed: int) -> Path:
    """Make a folder of so many small files, some broken, with names of every kind, in subfolders."""
    random, folder = Random(seed), scans.new("nasty")
    kinds = ["PNG", "PNG", "PNG", "JPEG", "BMP", "GIF"]
    contents = [sound_file(random.choice(kinds), random) for _ in range(300)]
    for number in range(count):
        inside = os.fsencode(folder / ("", "a\nb", "=c, d", "e \U0001f600")[number % 4])
        os.makedirs(inside, exist_ok=True)  # noqa: PTH103  # in bytes, as no Path can be
        name = b"%05d " % number + NAMES[number % len(NAMES)][-240:]
        data = b"\x89PNG\r\n\x1a\n" if number % 7 == 0 else contents[number % len(contents)]
        with open(os.path.join(inside, name), "wb") as file:  # noqa: PTH118, PTH123  # the same
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
        with open(path, "r+b") as file:  # noqa: PTH123  # in bytes, as no Path can be
            if number % 3 and len(file.read(9)) == 8:
                file.seek(0)
                file.write(sound)
    whole, seconds = timed(scans, folder)
    old, lost = before.read_bytes(), []
    replaced = 0
    for _ in range(kills):
        output = scans.new("retried.csv")
        shutil.copy(before, output)
        shutil.copy(before.with_name(before.name + ".json"), output.with_name(output.name + ".json"))
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
    """Ctrl-C to the whole group as a terminal sends it, or SIGTERM to the command alone; then --resume."""
    random = Random(seed)
    whole, seconds = timed(scans, folder)
    lost: list[str] = []
    longest, sent_to = 0.0, 0
    while sent_to < times:
        output = scans.new("signalled.csv")
        process = scans.start(folder, "-o", output)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.1, seconds))
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


# --- models -------------------------------------------------------------------------------------------


def models(scans: Scans, table: Table, seed: int, flips: int) -> None:
    """Hostile, mutilated and damaged models."""
    from digitscan.model import resolve_model
    from digitscan.program import quiet
    from digitscan.streams import silence_native_messages

    with silence_native_messages():  # the table is what is to be seen
        from benchmarks.hostile import flipped_models, hostile_models, mutilated_models
    picture = scans.new("picture.png")
    picture.write_bytes(sound_file("PNG", Random(seed)))
    proof, secret = scans.new("proof"), scans.new("secret")
    secret.write_text("zero\none\n")
    whole = resolve_model("mlp").path.read_bytes()

    def attempt(path: Path) -> tuple[int, str]:
        code, rows, said = scans.run(picture, "--model", path, "-o", "-")
        sentences = [line for line in said.splitlines() if not line.startswith("compiling ")]
        if code == 5 and (len(sentences) != 1 or rows):
            return code, f"not one sentence: {said}"
        if code == 5 and "the process that checked it ended" in said:
            return code, "ended"
        return code, "; ".join(wrong_words(said))

    def tried(what: str, paths: dict[str, Path], may_load: bool = False) -> None:
        lost, loaded, ended = [], 0, 0
        before = set(scans.scratch.rglob("*"))
        with ThreadPoolExecutor(usable_cores()) as pool:
            for name, (code, wrong) in zip(paths, pool.map(attempt, paths.values()), strict=True):
                loaded += code == 0
                ended += wrong == "ended"
                if code != 5 and not (may_load and code == 0):
                    lost.append(f"{name}: exit code {code} {wrong}")
                elif wrong and wrong != "ended":
                    lost.append(f"{name}: {wrong}")
        if not may_load and (written := set(scans.scratch.rglob("*")) - before):
            lost.append(f"written: {written}")
        told = f"{len(paths) - loaded} refused in one sentence, exit 5"
        told += f", {loaded} loaded" if may_load else ""
        told += f", {ended} of them ended the process that checks" if ended else ""
        table.row(what, f"{len(paths)} models", lost, told)

    def put(models: Iterator[bytes]) -> dict[str, Path]:
        paths = {}
        for number, data in enumerate(models):
            path = scans.new("model.h5")
            path.write_bytes(data)
            paths[str(number)] = path
        return paths

    folder = scans.new("hostile")
    folder.mkdir()
    with quiet():
        hostile = dict(hostile_models(folder, proof, secret))
    tried("hostile models", hostile)
    tried("models cut short, and noise", put(mutilated_models(whole, seed, 30)))
    tried("a good model with bits flipped", put(flipped_models(whole, seed, flips)), may_load=True)


def main() -> int:
    """Try everything; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=5000, help="damaged files, and files of a scan to kill")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    kills, seed, table = arguments.kills, arguments.seed, Table()
    start = time.monotonic()
    print("| what was tried | how many | what was lost |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="digitscan-torture-") as name:
        scans = Scans(Path(name))
        damaged(scans, table, arguments.files, seed)
        crafted(scans, table)
        endless(scans, table)
        folder = nasty_folder(scans, arguments.files, seed)
        killed(scans, table, folder, kills, seed)
        killed_in_retry(scans, table, max(1, kills // 2), seed)
        signalled(scans, table, folder, signal.SIGINT, max(1, kills // 2), seed)
        signalled(scans, table, folder, signal.SIGTERM, max(1, kills // 2), seed)
        without_workers(scans, table, folder, kills, seed)
        full_disks(scans, table, folder)
        two_at_once(scans, table, folder, max(1, kills // 5))
        streams(scans, table, folder)
        models(scans, table, seed, kills)
    print(f"\nSeed {seed}, {usable_cores()} cores, {(time.monotonic() - start) / 60:.0f} minutes.")
    for loss in table.losses:
        print(f"LOST: {loss}", file=sys.stderr)
    return 1 if table.losses else 0


if __name__ == "__main__":
    sys.exit(main())
