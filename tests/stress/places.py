"""Trials of names that are formulas, and of pipes and links where digitscan reads and writes its files."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

from digitscan.errors import ExitCode
from tests.stress.harness import Report, ScanRunner, ends_within, kill_group, wait_for_end
from tests.support.command import Argument
from tests.support.pictures import digit_picture

MAX_SECONDS_TO_REFUSE = 10
SEPARATORS = ",;\t|"
FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(1)", "=HYPERLINK(1)")
_FORMULA_STARTS = ("=", "+", "-", "@")
_OLD = b"of the user\n"


def scan_formulas(runner: ScanRunner, report: Report) -> None:
    """Scan files and folders with formulas in their names; no spreadsheet may get one of them."""
    folder = runner.new_path("formulas")
    names = [
        f"a{separator}{quote}{formula}"
        for separator in SEPARATORS
        for quote in ("", '"')
        for formula in FORMULAS
    ]
    for name in [*names, *FORMULAS]:
        (folder / name).mkdir(parents=True)
        digit_picture(28).save(folder / name / f"{name}.png")
        digit_picture(28).save(folder / f"{name}.png")
    rows = runner.scan_undisturbed(folder).decode()
    losses = []
    for separator in SEPARATORS:
        cells = [cell for row in csv.reader(io.StringIO(rows), delimiter=separator) for cell in row]
        losses += [
            f"split at {separator!r}: {cell}" for cell in cells if cell.lstrip().startswith(_FORMULA_STARTS)
        ]
    summary = f"no cell is a formula where lines are split at {len(SEPARATORS)} separators"
    report.add("formulas in names of files and folders", f"{rows.count('.png')} files", losses, summary)


def refuse_occupied_places(runner: ScanRunner, report: Report) -> None:
    """Put pipes, links and files of the user where digitscan reads or writes; nothing of them may change."""
    picture = runner.new_path("picture.png")
    digit_picture(28).save(picture)
    trials: list[tuple[str, Callable[[Path], None], list[str]]] = [
        ("pipe as output", os.mkfifo, ["scan", "--overwrite"]),
        ("pipe as output, --resume", os.mkfifo, ["scan", "--resume"]),
        ("file as output", _write_old, ["scan"]),
        ("pipe as manifest", _put_pipe_as_manifest, ["scan", "--resume"]),
        ("manifest alone", lambda path: _write_old(Path(f"{path}.json")), ["scan"]),
        ("link as manifest", lambda path: _link(Path(f"{path}.json")), ["scan"]),
        ("file as model", _write_old, ["train"]),
        ("link as model", _link, ["train"]),
        ("plots of the user", lambda path: _write_old(path.parent / "accuracy_plot.png"), ["train"]),
        ("link as plot", lambda path: _link(path.parent / "loss_plot.png"), ["train"]),
    ]
    losses = []
    for name, occupy, (subcommand, *options) in trials:
        folder = runner.new_path("place")
        folder.mkdir()
        occupy(folder / "out")
        before = _describe(folder)
        arguments: list[Argument] = (
            [picture, *options] if subcommand == "scan" else ["--arch", "mlp", "--plots", folder]
        )
        process = runner.start(*arguments, "-o", folder / "out", subcommand=subcommand, cwd=folder)
        start = time.monotonic()
        if not ends_within(process, MAX_SECONDS_TO_REFUSE):
            kill_group(process)
        outcome = wait_for_end(process)
        losses += [f"{name}: {fault}" for fault in outcome.find_faults()]
        if outcome.exit_code != ExitCode.OUTPUT or _describe(folder) != before:
            seconds = time.monotonic() - start
            losses.append(f"{name}: exit code {outcome.exit_code} after {seconds:.1f} s: {outcome.stderr}")
    names = ", ".join(name for name, _, _ in trials)
    summary = f"exit {int(ExitCode.OUTPUT)}, nothing written or waited for"
    report.add(f"places that are taken: {names}", f"{len(trials)} ways", losses, summary)


def _write_old(path: Path) -> None:
    path.write_bytes(_OLD)


def _put_pipe_as_manifest(path: Path) -> None:
    _write_old(path)
    os.mkfifo(f"{path}.json")


def _link(path: Path) -> None:
    _write_old(path.parent / "victim")
    path.symlink_to(path.parent / "victim")


def _describe(folder: Path) -> dict[str, bytes]:
    """Return the names in a folder and what is in the files."""
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}
