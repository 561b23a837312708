"""Measure how whole numbers are read: `python -m benchmarks.numbers DIR [--peers DIR] [--wild DIR]`.

DIR holds SET/FILE and SET/labels.csv with the columns file and transcription (digits alone). Each set is
scanned with `--numbers`, and with what is known of its lengths. `--peers` names a folder for the environments
of other readers, `--wild` one of sets of single digits, which are read with and without `--numbers`. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sets import Rows, find_sets, is_digit_set
from digitscan.evaluation.metrics import edit_distance

Truth = dict[str, str]
"""The number in each file of a set."""


@dataclass(frozen=True)
class NumberScore:
    """How a set of numbers was read: counts, and the seconds that it took."""

    name: str
    images: int
    exact: int
    digit_errors: int
    digits: int
    ok: int
    ok_wrong: int
    rejected: int
    seconds: float


def read_truth(folder: Path) -> Truth:
    """Return the transcription of each file of a set."""
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["transcription"] for row in csv.DictReader(file)}


def scan_numbers(folder: Path, options: Sequence[str] = ()) -> tuple[Rows, float]:
    """Scan a folder with `--numbers`; return its rows and the seconds that it took."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "rows.csv"
        command = [sys.executable, "-m", "digitscan", "scan", str(folder), "--numbers", "--quiet"]
        start = time.perf_counter()
        subprocess.run([*command, "-o", str(output), *options], check=False)
        seconds = time.perf_counter() - start
        with output.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row for row in csv.DictReader(file)}, seconds


def measure_start(picture: Path) -> float:
    """Return the seconds that the command takes for one picture: most of it is its start."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(picture, scratch)
        return min(scan_numbers(Path(scratch))[1] for _ in range(3))


def score_numbers(name: str, truth: Truth, rows: Rows, seconds: float) -> NumberScore:
    """Return how the rows of a set agree with its truth."""
    read = {file: rows.get(file, {}).get("number", "") for file in truth}
    ok = [file for file in truth if rows.get(file, {}).get("status") == "ok"]
    return NumberScore(
        name,
        len(truth),
        sum(read[file] == number for file, number in truth.items()),
        sum(edit_distance(number, read[file]) for file, number in truth.items()),
        sum(map(len, truth.values())),
        len(ok),
        sum(read[file] != truth[file] for file in ok),
        sum(rows.get(file, {}).get("status") == "no-digit" for file in truth),
        seconds,
    )


def bound_share(count: int, total: int) -> str:
    """Return a share in percent with its 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    if not total:
        return "-"
    low = beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return f"{100 * count / total:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def print_scores(scores: Sequence[NumberScore]) -> None:
    """Print a row for each set, and one for all real sets together."""
    print(
        "| set | images | exact, % | digit errors, % | ok, % | wrong among ok | % | no-digit, % | ms each |"
    )
    print("|---" * 9 + "|")
    real = [score for score in scores if not score.name.startswith("synthetic")]
    for score in [*scores, *([pool("real sets together", real)] if real else [])]:
        print(
            f"| {score.name} | {score.images} | {100 * score.exact / score.images:.1f} "
            f"| {100 * score.digit_errors / score.digits:.2f} | {100 * score.ok / score.images:.1f} "
            f"| {score.ok_wrong} of {score.ok} | {bound_share(score.ok_wrong, score.ok)} "
            f"| {100 * score.rejected / score.images:.1f} | {1000 * score.seconds / score.images:.1f} |"
        )


def pool(name: str, scores: Sequence[NumberScore]) -> NumberScore:
    """Return the score of all pictures of some sets together."""
    return NumberScore(
        name,
        sum(score.images for score in scores),
        sum(score.exact for score in scores),
        sum(score.digit_errors for score in scores),
        sum(score.digits for score in scores),
        sum(score.ok for score in scores),
        sum(score.ok_wrong for score in scores),
        sum(score.rejected for score in scores),
        sum(score.seconds for score in scores),
    )


def print_known_lengths(folders: Sequence[Path]) -> None:
    """Print how each set is read in groups of one length, each scanned with that `--length`."""
    scores = []
    for folder in folders:
        truth = read_truth(folder)
        parts = []
        for length in sorted({len(number) for number in truth.values()}):
            group = {file: number for file, number in truth.items() if len(number) == length}
            rows, seconds = scan_numbers(folder, ["--length", str(length)])
            parts.append(score_numbers(folder.name, group, rows, seconds * len(group) / len(truth)))
        scores.append(pool(folder.name, parts))
    print_scores(scores)


def print_single_digits(wild: Path) -> None:
    """Print how many single digits are read right with and without `--numbers`, in each set."""
    from benchmarks.sets import scan

    print("| set | right, % | with --numbers | ok, % | with --numbers |")
    print("|---" * 5 + "|")
    for folder in filter(is_digit_set, find_sets(wild)):
        digits, (numbers, _) = scan(folder, "cnn"), scan_numbers(folder)
        cells = []
        for rows, column in ((digits, "digit"), (numbers, "number")):
            right = sum(row[column] == path.split("/")[0] for path, row in rows.items())
            ok = sum(row["status"] == "ok" for row in rows.values())
            cells.append((f"{100 * right / len(rows):.1f}", f"{100 * ok / len(rows):.1f}"))
        print(f"| {folder.name} | {cells[0][0]} | {cells[1][0]} | {cells[0][1]} | {cells[1][1]} |")


def print_peers(folders: Sequence[Path], environments: Path) -> None:
    """Print how many numbers of each set other readers read exactly, and their seconds a picture."""
    from benchmarks.peers import NUMBER_PEERS, read_texts

    print("| exact, % | " + " | ".join(folder.name for folder in folders) + " | seconds each |")
    print("|---" * (len(folders) + 2) + "|")
    for peer in NUMBER_PEERS:
        cells, seconds, count = [], 0.0, 0
        for folder in folders:
            truth = read_truth(folder)
            start = time.perf_counter()
            texts = read_texts(peer, [folder / file for file in truth], environments)
            seconds, count = seconds + time.perf_counter() - start, count + len(truth)
            exact = sum(texts[folder / file] == number for file, number in truth.items())
            cells.append(f"{100 * exact / len(truth):.1f}")
        print(f"| {peer.name} | " + " | ".join(cells) + f" | {seconds / count:.3f} |")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="a folder of sets with labels.csv")
    parser.add_argument("--peers", type=Path, help="a folder for the environments of other readers")
    parser.add_argument("--wild", type=Path, help="a folder of sets of single digits")
    arguments = parser.parse_args()
    folders = [folder for folder in find_sets(arguments.folder) if (folder / "labels.csv").is_file()]
    if not folders:
        parser.error(f"{arguments.folder} holds no sets: SET/FILE and SET/labels.csv are needed")
    start = measure_start(folders[0] / next(iter(read_truth(folders[0]))))
    print(f"The times include the start of the command, {start:.2f} s each.\n")
    scores = []
    for folder in folders:
        scan_numbers(folder)  # so that files and code are in memory
        scores.append(score_numbers(folder.name, read_truth(folder), *scan_numbers(folder)))
    print_scores(scores)
    print("\nEach number with its `--length`:\n")
    print_known_lengths(folders)
    if arguments.wild:
        print("\nSingle digits:\n")
        print_single_digits(arguments.wild)
    if arguments.peers:
        print("\nOther readers:\n")
        print_peers(folders, arguments.peers)


if __name__ == "__main__":
    main()
