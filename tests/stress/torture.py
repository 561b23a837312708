"""Try to break a scan, for real: `python -m tests.stress.torture [--files 5000] [--kills 50] [--seed 1]`.

Damaged files, interrupted runs, full disks, closed pipes and hostile models, all made from the seed. Prints a
Markdown table of what was tried and what was lost, and exits with 1 if anything was. Linux; as root it mounts
a small disk to fill, else it limits the size of a file.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from random import Random

from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import read_csv
from digitscan.system.resources import usable_cores
from tests.stress.interruptions import (
    full_disks,
    killed,
    killed_in_retry,
    nasty_folder,
    signalled,
    streams,
    two_at_once,
    without_workers,
)
from tests.stress.trial import Scans, Table, wrong_words
from tests.support.damaged_files import crafted_files, damaged_files, endless_files, sound_file, sound_files
from tests.support.processes import run_and_watch

MOST_MEGABYTES = 4096


def slowest(folder: Path) -> tuple[float, str]:
    """Return the seconds and the name of the file that takes longest to open and look at."""
    from digitscan.errors import ImageError
    from digitscan.imaging.decode import decode_image
    from digitscan.imaging.preprocess import preprocess
    from digitscan.system.stdio import silence_native_stderr

    longest, slow = 0.0, ""
    with silence_native_stderr():
        for path in sorted(folder.iterdir()):
            start = time.perf_counter()
            with contextlib.suppress(ImageError):
                preprocess(decode_image(path).pixels)
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
    # The scan, the process that forks, and the workers.
    died = run.process_factory - 2 - usable_cores()
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


def models(scans: Scans, table: Table, seed: int, flips: int) -> None:
    """Hostile, mutilated and damaged models."""
    from digitscan.model.registry import resolve_model
    from digitscan.model.tensorflow_log import quiet
    from digitscan.system.stdio import silence_native_stderr

    with silence_native_stderr():  # the table is what is to be seen
        from tests.support.hostile_models import flipped_models, hostile_models, mutilated_models
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
