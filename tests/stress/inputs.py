"""Trials of the inputs: damaged and crafted images, sparse files of gigabytes, hostile models."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode, ImageError
from digitscan.prediction import Prediction, Status
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.system.resources import count_usable_cores
from tests.stress.harness import Report, ScanRunner
from tests.support.crafted_files import crafted_files, sparse_files
from tests.support.damaged_files import damaged_files, damaged_jpegs, make_valid_file, valid_files
from tests.support.outputs import file_of, files_of
from tests.support.processes import measure_command

MAX_MEGABYTES = 4096

FAULTS_IN_NOTES = ("crashed", "timed out", "unexpected")
"""Notes of files that ended or held up a worker, or met a bug."""

DAMAGE_NOTE = "damaged: part of the picture is missing"
MAX_OK_WRONG_SHARE = 0.005
"""The largest share of damaged JPEGs that may be `ok` with a wrong digit."""

_CHECK_PROCESS_ENDED = "the process that checked it ended"


def scan_damaged_files(runner: ScanRunner, report: Report, count: int, seed: int) -> None:
    """Scan damaged files among as many valid ones, whose rows must be those of a scan of them alone."""
    mixed, valid = runner.new_path("mixed"), runner.new_path("valid")
    mixed.mkdir()
    valid.mkdir()
    for name, data in damaged_files(seed, count):
        (mixed / name).write_bytes(data)
    for name, data in valid_files(seed, count):
        (mixed / name).write_bytes(data)
        (valid / name).write_bytes(data)

    def find_missing(rows: list[Prediction]) -> list[str]:
        missing = count - sum("-valid." in name for name in files_of(rows))
        return [f"{missing} valid files"] if missing else []

    lines = _scan_bad_files(runner, report, "damaged files, each beside a valid one", mixed, find_missing)
    alone = runner.scan_undisturbed(valid).splitlines()[1:]
    losses = [line.decode() for line in alone if line not in lines or b",error," in line]
    report.add("rows of the valid ones, against a scan of those alone", f"{len(alone):,} rows", losses)


def scan_damaged_jpegs(runner: ScanRunner, report: Report, count: int, seed: int) -> None:
    """Scan JPEGs with bytes lost or zeroed in the middle, each beside its sound twin.

    Some damage cannot be told, but few wrong digits may be `ok`, and a sound file is never called damaged.
    """
    folder, sound = runner.new_path("jpegs"), runner.new_path("sound")
    folder.mkdir()
    sound.mkdir()
    labels = {}
    for index, (label, data, damaged) in enumerate(damaged_jpegs(seed, count)):
        labels[f"{index:05d}-damaged.jpg"] = label
        (folder / f"{index:05d}-damaged.jpg").write_bytes(damaged)
        (folder / f"{index:05d}-sound.jpg").write_bytes(data)
        (sound / f"{index:05d}-sound.jpg").write_bytes(data)
    rows = {row.path: row for row in _scan_rows(runner, folder)}
    damaged_rows = [rows.pop(name) for name in labels]
    alone = {row.path: row for row in _scan_rows(runner, sound)}
    losses = [f"{row.path}: {row.status} {row.note}" for row in alone.values() if DAMAGE_NOTE in row.note]
    losses += [f"{path}: not as it is alone" for path in alone if rows[path] != alone[path]]
    ok_rows = [row for row in damaged_rows if row.status is Status.OK]
    losses += [f"{row.path}: ok with the note" for row in ok_rows if DAMAGE_NOTE in row.note]
    wrong = [row.path for row in ok_rows if row.digit != labels[row.path]]
    if len(wrong) >= MAX_OK_WRONG_SHARE * count:
        losses.append(f"wrong and `ok`: {wrong}")
    summary = (
        f"{sum(DAMAGE_NOTE in row.note for row in damaged_rows)} with the note, "
        f"{sum(row.status is Status.ERROR for row in damaged_rows)} errors, {len(ok_rows)} `ok`, of which "
        f"{len(wrong)} are wrong; sound twins with the note: 0"
    )
    report.add(
        "JPEGs with bytes lost or zeroed, each beside its sound twin", f"{count} files", losses, summary
    )


def _scan_rows(runner: ScanRunner, folder: Path) -> list[Prediction]:
    output = runner.new_path("rows.csv")
    runner.run(folder, "-o", output)
    return list(CsvReader(output))


def scan_crafted_files(runner: ScanRunner, report: Report) -> None:
    """Scan decompression bombs and odd files, each of which has the row that it must have."""
    folder = runner.new_path("crafted")
    folder.mkdir()
    files = {file.name: file for file in crafted_files()}
    for file in files.values():
        (folder / file.name).write_bytes(file.data)

    def find_wrong(rows: list[Prediction]) -> list[str]:
        wrong = []
        for row in rows:
            file = files[file_of(row)]
            has_right_status = (row.status is Status.ERROR) == (file.error is not None)
            has_right_note = row.note.startswith(file.error or "") and file.note in row.note
            if not (has_right_status and has_right_note):
                wrong.append(f"{row.path}: {row.status} {row.note}")
        return wrong

    trial = "crafted files: bombs, 64 megapixels, odd sizes and modes, frames, EXIF"
    _scan_bad_files(runner, report, trial, folder, find_wrong)


def _scan_bad_files(
    runner: ScanRunner,
    report: Report,
    trial: str,
    folder: Path,
    find_losses: Callable[[list[Prediction]], list[str]],
) -> set[bytes]:
    """Scan a folder; report what `find_losses` finds in the rows, and faults; return the lines of the CSV."""
    output = runner.new_path("mixed.csv")
    measured = measure_command(
        runner.command(folder, "-o", output, "--quiet"),
        output,
        allowed_exit_codes=(ExitCode.OK, ExitCode.UNREADABLE_FILES),
        env=runner.environment,
    )
    rows = list(CsvReader(output))
    names = sorted(path.name for path in folder.iterdir())
    losses = find_losses(rows)
    if files_of(rows) != names:  # a damaged TIFF may seem to have one page more
        losses.append(f"{len(names)} files, {len(rows)} rows, or not in order")
    losses += [row.note for row in rows if any(fault in row.note for fault in FAULTS_IN_NOTES)]
    # The scan, the fork server, what counts pages, and the workers; more means that workers were replaced.
    replaced_count = measured.process_count - 3 - count_usable_cores()
    if replaced_count > 0:
        losses.append(f"{replaced_count} processes died")
    # Once more, for its messages.
    outcome = runner.run(folder, "-o", output, "--overwrite")
    losses += outcome.find_faults()
    if outcome.exit_code != ExitCode.UNREADABLE_FILES:
        losses.append(f"exit code {outcome.exit_code}")
    with ProcessPoolExecutor(1) as pool:
        seconds, slowest = pool.submit(_find_slowest_file, folder).result()
    error_count = sum(row.status is Status.ERROR for row in rows)
    summary = (
        f"{len(rows):,} rows in order, {error_count:,} of them errors, no traceback, no process died, "
        f"slowest file {seconds:.2f} s ({slowest}), "
        f"peak {measured.peak_megabytes:,.0f} MB"
    )
    report.add(trial, f"{len(names):,} files", losses, summary)
    return set(output.read_bytes().splitlines())


def _find_slowest_file(folder: Path) -> tuple[float, str]:
    """Return the seconds and the name of the file that takes longest to decode and preprocess."""
    from digitscan.imaging.decode import decode_image
    from digitscan.imaging.preprocess import preprocess
    from digitscan.system.stdio import silence_native_stderr

    slowest = (0.0, "")
    with silence_native_stderr():
        for path in sorted(folder.iterdir()):
            start = time.perf_counter()
            with contextlib.suppress(ImageError):
                preprocess(decode_image(path).pixels)
            slowest = max(slowest, (time.perf_counter() - start, path.name))
    return slowest


def scan_sparse_files(runner: ScanRunner, report: Report) -> None:
    """Scan files of gigabytes with nothing in them, which must cost little memory and a bounded time."""
    folder, output = runner.new_path("sparse"), runner.new_path("rows.csv")
    folder.mkdir()
    for name, head, size in sparse_files():
        with (folder / name).open("wb") as file:
            file.write(head)
            file.truncate(size)
    (folder / "valid.png").write_bytes(make_valid_file("PNG", Random(1)))
    measured = measure_command(
        runner.command(folder, "-o", output, "--timeout", "5", "--quiet"),
        output,
        allowed_exit_codes=(ExitCode.UNREADABLE_FILES,),
        env=runner.environment,
    )
    rows = {row.path: row for row in CsvReader(output)}
    losses = [f"{row.path}: {row.note}" for row in rows.values() if "crashed" in row.note]
    if len(rows) != len(list(folder.iterdir())) or rows["valid.png"].status is Status.ERROR:
        losses.append("rows")
    if measured.peak_megabytes > MAX_MEGABYTES:
        losses.append(f"{measured.peak_megabytes:,.0f} MB")
    summary = (
        f"one row each in {measured.seconds:.0f} s with `--timeout 5`, peak {measured.peak_megabytes:,.0f} MB"
    )
    report.add("sparse files of 8 GB of each format", f"{len(rows) - 1} files", losses, summary)


def scan_with_bad_models(runner: ScanRunner, report: Report, seed: int, flip_count: int) -> None:
    """Scan a picture with hostile, truncated and damaged models, which must be refused in one sentence."""
    from digitscan.model.model_files import resolve_model
    from digitscan.model.tensorflow_log import silence_tensorflow
    from digitscan.system.stdio import silence_native_stderr

    with silence_native_stderr():  # imports TensorFlow, which logs
        from tests.support.hostile_models import bit_flipped_models, hostile_models, truncated_models
    picture = runner.new_path("picture.png")
    picture.write_bytes(make_valid_file("PNG", Random(seed)))
    proof, secret = runner.new_path("proof"), runner.new_path("secret")
    secret.write_text("zero\none\n")
    valid_model = resolve_model("mlp").path.read_bytes()

    folder = runner.new_path("hostile")
    folder.mkdir()
    with silence_tensorflow():
        hostile = dict(hostile_models(folder, proof, secret))
    _try_models(runner, report, "hostile models", picture, hostile)
    mutilated = _write_models(runner, truncated_models(valid_model, seed, 30))
    _try_models(runner, report, "truncated models, and noise", picture, mutilated)
    flipped = _write_models(runner, bit_flipped_models(valid_model, seed, flip_count))
    _try_models(runner, report, "a valid model with bits flipped", picture, flipped, may_load=True)


def _write_models(runner: ScanRunner, models: Iterable[bytes]) -> dict[str, Path]:
    """Write each model to a file; return the paths by number."""
    paths = {}
    for index, data in enumerate(models):
        paths[str(index)] = runner.new_path("model.h5")
        paths[str(index)].write_bytes(data)
    return paths


def _try_models(
    runner: ScanRunner,
    report: Report,
    trial: str,
    picture: Path,
    models: dict[str, Path],
    may_load: bool = False,
) -> None:
    """Scan the picture with each model; report those that were not refused, unless they may be valid."""
    existing = runner.list_files()
    losses: list[str] = []
    loaded_count = ended_count = 0
    with ThreadPoolExecutor(count_usable_cores()) as pool:
        outcomes = pool.map(lambda path: runner.run(picture, "--model", path, "-o", "-"), models.values())
        for name, outcome in zip(models, outcomes, strict=True):
            sentences = [line for line in outcome.stderr.splitlines() if not line.startswith("compiling ")]
            loaded_count += outcome.exit_code == ExitCode.OK
            if outcome.exit_code == ExitCode.MODEL:
                ended_count += _CHECK_PROCESS_ENDED in outcome.stderr
                if len(sentences) != 1 or outcome.stdout:
                    losses.append(f"{name}: not one sentence: {outcome.stderr}")
            elif not (may_load and outcome.exit_code == ExitCode.OK):
                losses.append(f"{name}: exit code {outcome.exit_code}: {outcome.stderr}")
            losses += [f"{name}: {fault}" for fault in outcome.find_faults()]
    if not may_load and (written := runner.list_files() - existing):
        losses.append(f"written: {written}")
    summary = f"{len(models) - loaded_count} refused in one sentence, exit {int(ExitCode.MODEL)}"
    summary += f", {loaded_count} loaded" if may_load else ""
    summary += f", {ended_count} of them ended the process that checks" if ended_count else ""
    report.add(trial, f"{len(models)} models", losses, summary)
