"""Score a model on sets of images by other people, read through `digitscan scan`.

A folder of sets holds SET/LABEL/FILE for single digits, and nondigit-SET/FILE and multi-SET/FILE for images
that are not one digit. Sets of fewer than 50 images are pooled into one; every set weighs the same in a mean.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digitscan.model.model_files import resolve_model

MIN_SET_SIZE = 50

Rows = dict[str, dict[str, str]]
"""The rows of a scan by path, each with its cells by column."""


@dataclass(frozen=True)
class SetScore:
    """How one set was read. `images` is a count, the others are shares from 0 to 1.

    ok_wrong: the share of wrong answers among those marked `ok`. refused: the share of `no-digit`. In a set
    of non-digits no answer is right.
    """

    name: str
    images: int
    right: float
    ok: float
    ok_wrong: float
    refused: float


@dataclass(frozen=True)
class Means:
    """Means of the shares over sets, and the share of right answers in the worst set."""

    right: float
    worst: float
    ok: float
    ok_wrong: float
    refused: float


def scan(folder: Path, model: str) -> Rows:
    """Scan a folder with a model and return its rows; its own threshold counts, whoever trained it."""
    digest = hashlib.sha256(resolve_model(model).path.read_bytes()).hexdigest()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "rows.csv"
        command = [sys.executable, "-m", "digitscan", "scan", str(folder), "--quiet", "-o", str(output)]
        subprocess.run([*command, "--model", model, "--model-sha256", digest], check=False)
        with output.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row for row in csv.DictReader(file)}


def is_digit_set(folder: Path) -> bool:
    """Return whether a set holds single digits."""
    return not folder.name.startswith(("nondigit-", "multi-"))


def find_sets(folder: Path) -> list[Path]:
    """Return the folders of the sets in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir())


def score_rows(name: str, rows: Rows) -> SetScore:
    """Return the score of a set; the first part of a path is its label if it has several parts."""
    ok = [path for path, row in rows.items() if row["status"] == "ok"]
    right = {path for path, row in rows.items() if "/" in path and row["digit"] == path.split("/")[0]}
    count = max(len(rows), 1)
    return SetScore(
        name,
        len(rows),
        len(right) / count,
        len(ok) / count,
        sum(path not in right for path in ok) / max(len(ok), 1),
        sum(row["status"] == "no-digit" for row in rows.values()) / count,
    )


def scan_sets(model: str, folder: Path) -> list[tuple[Path, Rows]]:
    """Scan each set in a folder; return the sets' folders with their rows."""
    return [(set_folder, scan(set_folder, model)) for set_folder in find_sets(folder)]


def compute_means(scanned: list[tuple[Path, Rows]], of_digits: bool) -> Means:
    """Return the means over the sets of digits, or over the other sets; zeros if there are none."""
    chosen = [(folder, rows) for folder, rows in scanned if is_digit_set(folder) == of_digits]
    scores = [score_rows(folder.name, rows) for folder, rows in chosen if len(rows) >= MIN_SET_SIZE]
    # The set's name is appended, so that a path still begins with its label.
    pooled = {
        f"{path}/{folder.name}": row
        for folder, rows in chosen
        if len(rows) < MIN_SET_SIZE
        for path, row in rows.items()
    }
    if len(pooled) >= MIN_SET_SIZE:
        scores.append(score_rows("small", pooled))
    if not scores:
        return Means(0.0, 0.0, 0.0, 0.0, 0.0)
    return Means(
        right=float(np.mean([score.right for score in scores])),
        worst=min(score.right for score in scores),
        ok=float(np.mean([score.ok for score in scores])),
        ok_wrong=float(np.mean([score.ok_wrong for score in scores])),
        refused=float(np.mean([score.refused for score in scores])),
    )
