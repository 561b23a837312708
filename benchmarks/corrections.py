"""What corrections are worth: fine-tune on a few images of one writer, and read that writer's others.

`python -m benchmarks.corrections --pens pens.npz` takes each writer of a file of pen strokes of whose digits
the model misreads 4 % or more, learns 30 of them, drawn at random, and reads the rest before and after. The
writers should be unknown to the model: nothing was trained or calibrated on them. `--writers N` takes the N
writers with the most errors. At the end comes a synthetic writer, of whom 100 images are learned: one
invented hand of which the model misreads as much.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitscan.evaluation.labels import LabelledFile
from digitscan.evaluation.reading import read_labelled_files
from digitscan.imaging.preprocess import preprocess
from digitscan.model.registry import load_model
from digitscan.training.config import FineTuneConfig
from digitscan.training.data.datasets import split_train_val
from digitscan.training.data.distort import distort
from digitscan.training.data.pen_files import load_pen_strokes
from digitscan.training.data.pen_strokes import DIGIT_PEN_WIDTHS, draw_character
from digitscan.training.data.sources import load_data
from digitscan.training.fine_tuning import run_fine_tuning

LEARNED = 30
MIN_OTHERS = 30
MIN_ERROR_SHARE = 0.04
SYNTHETIC_LEARNED, SYNTHETIC_OTHERS = 100, 400
SHAPE_STRENGTH = 2.0
VARIATION_STRENGTH = 0.6
"""How far a synthetic writer's shapes are from MNIST's digits, and their digits from their shapes: 1 is as
far as training images are distorted."""


class Writer(NamedTuple):
    """A writer's digits: images light on black, and their labels."""

    name: str
    images: list[NDArray[np.uint8]]
    labels: list[int]


class Outcome(NamedTuple):
    """What became of one writer's other images."""

    others: int
    errors_before: int
    errors_after: int
    mnist_change: float
    """Of the accuracy on MNIST's test images, in percentage points."""


def draw_writers(path: Path) -> list[Writer]:
    """Return all writers of a file of pen strokes, each character drawn once with a random pen."""
    random = np.random.default_rng(1)
    splits = load_pen_strokes([path]).splits
    with np.load(path) as arrays:
        names = [
            f"{source} {number}" for source, number in zip(arrays["source"], arrays["writer"], strict=True)
        ]
    writers: dict[str, Writer] = {}
    for strokes in splits.values():
        for label, characters in enumerate(strokes.digits):
            for index in np.concatenate(characters).tolist():
                writer = writers.setdefault(names[index], Writer(names[index], [], []))
                writer.images.append(draw_character(strokes, index, DIGIT_PEN_WIDTHS, random))
                writer.labels.append(label)
    return [writer for writer in writers.values() if len(writer.labels) >= LEARNED + MIN_OTHERS]


def make_synthetic_writer(seed: int) -> Writer:
    """Return digits of one invented hand: each digit has a shape of its own, which varies a little.

    The shape is a validation digit of MNIST, distorted strongly.
    """
    data = load_data(None)
    _, val = split_train_val(data.x_train, data.y_train)
    random = np.random.default_rng(seed)
    shapes = [
        distort(val.images[random.choice(np.flatnonzero(val.labels == digit))], random, SHAPE_STRENGTH)
        for digit in range(10)
    ]
    labels = random.integers(0, 10, SYNTHETIC_LEARNED + SYNTHETIC_OTHERS).tolist()
    images = [distort(shapes[label], random, VARIATION_STRENGTH) for label in labels]
    return Writer(f"synthetic {seed}", images, labels)


def find_synthetic_writer(model: str) -> Writer:
    """Return the first synthetic writer of whose digits the model misreads MIN_ERROR_SHARE or more.

    A hand with a shape that is no digit to preprocessing, such as a 0 of three times its height, is left out:
    no network sees it, so there is nothing to learn.
    """
    writers = (make_synthetic_writer(seed) for seed in itertools.count(1))
    return next(
        writer
        for writer in writers
        if all(preprocess(255 - image).pixels is not None for image in writer.images)
        and compute_error_share(writer, model) >= MIN_ERROR_SHARE
    )


def save_files(writer: Writer, folder: Path) -> list[LabelledFile]:
    """Write a writer's images, dark on white, in a random order; return them."""
    order = np.random.default_rng(2).permutation(len(writer.labels)).tolist()
    files = []
    for position, index in enumerate(order):
        path = folder / f"{position}.png"
        Image.fromarray(255 - writer.images[index]).save(path)
        files.append(LabelledFile(path, writer.labels[index]))
    return files


def count_errors(files: list[LabelledFile], model: str | Path) -> int:
    """Return how many of the files a scan reads wrong."""
    answers = read_labelled_files(files, load_model(model)).answers
    return int(np.count_nonzero(~answers.is_right))


def compute_error_share(writer: Writer, model: str) -> float:
    """Return the share of a writer's digits that a scan reads wrong."""
    with tempfile.TemporaryDirectory() as name:
        return count_errors(save_files(writer, Path(name)), model) / len(writer.labels)


def measure(writer: Writer, model: str, learned: int) -> Outcome:
    """Fine-tune on `learned` of a writer's images and read the others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = save_files(writer, folder)
        corrections = folder / "corrected.csv"
        lines = [f"{file.path.name},{file.label}" for file in files[:learned]]
        corrections.write_text("\n".join(["path,corrected", *lines, ""]))
        tuned = folder / "tuned.h5"
        _, result = run_fine_tuning(FineTuneConfig(model, corrections, output=tuned, force=True, quiet=True))
        return Outcome(
            len(files) - learned,
            count_errors(files[learned:], model),
            count_errors(files[learned:], tuned),
            100 * (result.mnist_after - result.mnist_before),
        )


def main() -> None:
    """Print a row for each writer, and their sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pens", type=Path, required=True, help="a file of pen strokes with digits")
    parser.add_argument("--from", dest="model", default="cnn", help="the model that learns")
    parser.add_argument("--writers", type=int, help="the most writers")
    arguments = parser.parse_args()
    shares = [
        (compute_error_share(writer, arguments.model), writer) for writer in draw_writers(arguments.pens)
    ]
    chosen = [pair for pair in shares if pair[0] >= MIN_ERROR_SHARE]
    chosen.sort(key=lambda pair: -pair[0])
    print(
        "| writer | other images | wrong before | wrong after | MNIST | seconds |\n|---|---|---|---|---|---|"
    )
    outcomes = []
    for _, writer in chosen[: arguments.writers]:
        outcomes.append(print_outcome(writer, arguments.model, LEARNED))
    others, before, after = (sum(outcome[column] for outcome in outcomes) for column in range(3))
    worst = min((outcome.mnist_change for outcome in outcomes), default=0.0)
    print(f"| all {len(outcomes)} | {others} | {before} | {after} | worst {worst:+.2f} | |")
    print_outcome(find_synthetic_writer(arguments.model), arguments.model, SYNTHETIC_LEARNED)


def print_outcome(writer: Writer, model: str, learned: int) -> Outcome:
    """Measure one writer, print the row, and return the outcome."""
    start = time.perf_counter()
    outcome = measure(writer, model, learned)
    print(
        f"| {writer.name} | {outcome.others} | {outcome.errors_before} | {outcome.errors_after} | "
        f"{outcome.mnist_change:+.2f} | {time.perf_counter() - start:.0f} |",
        flush=True,
    )
    return outcome


if __name__ == "__main__":
    main()
