"""Measure accuracy: `python -m benchmarks.accuracy [--wild DIR] [--model NAME] [--ladder] [--peers DIR]`.

MNIST's test images are written as PNG files and scanned; plain Keras reads the same images, preprocessed and
raw. `--wild` names a folder with sets of images by other people: SET/LABEL/FILE for digits, nondigit-SET/FILE
and multi-SET/FILE for what is not one digit. `--ladder` shows what each part of the training data
contributes, `--peers` how other digit readers do on the same sets. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.sets import compute_means, find_sets, is_digit_set, scan, scan_sets, score_rows
from digitscan.training.data.datasets import Dataset, preprocess_dataset
from digitscan.training.data.sources import load_data

NOT_A_DIGIT = 10
"""The class of the CNN that is no digit; in the arrays of answers it is -1."""


def print_mnist(model: str, path: Path) -> None:
    """Print the accuracy of a scan, that of plain Keras on the same images, and how often the two agree."""
    mnist = load_data()
    images, labels = mnist.x_test, mnist.y_test
    with tempfile.TemporaryDirectory() as scratch:
        names = [f"{index:05d}.png" for index in range(len(images))]
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(Path(scratch) / name)
        rows = scan(Path(scratch), model)
    answers = np.array([int(rows[name]["digit"] or -1) for name in names])
    is_ok = np.array([rows[name]["status"] == "ok" for name in names])
    preprocessed = preprocess_dataset(Dataset(images, labels)).images
    keras_on_raw, keras_on_preprocessed = _predict_with_keras(path, [images, preprocessed])

    print("| MNIST's 10,000 test images | % |\n|---|---|")
    print(f"| right, as PNG files through `scan` | {_percent(answers == labels)} |")
    print(f"| marked `ok` | {_percent(is_ok)} |")
    print(f"| wrong among those | {100 * (answers != labels)[is_ok].mean():.3f} |")
    print(f"| right, plain Keras on the raw arrays | {_percent(keras_on_raw == labels)} |")
    agreement = _percent(keras_on_preprocessed == answers)
    print(f"| `scan` agrees with plain Keras on `preprocess(x)` | {agreement} |")


def _predict_with_keras(path: Path, batches: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the digits that plain Keras reads in each batch of uint8 images, -1 for no digit."""
    import keras

    network = keras.models.load_model(path, compile=False)
    answers = []
    for images in batches:
        scores = network.predict(images[..., None].astype(np.float32) / 255, batch_size=500, verbose=0)
        best = scores.argmax(axis=1)
        answers.append(np.where(best == NOT_A_DIGIT, -1, best))
    return answers


def _percent(share: float | NDArray[Any]) -> str:
    """Return a share, or the mean of an array, as a percentage."""
    return f"{100 * np.mean(share):.2f}"


def print_sets(model: str, folder: Path) -> None:
    """Print a row for each set of images in the folder, and the means over sets."""
    print("\n| set | images | right | ok | wrong among ok | no-digit |\n|---|---|---|---|---|---|")
    scanned = scan_sets(model, folder)
    for set_folder, rows in scanned:
        score = score_rows(set_folder.name, rows)
        cells = [_percent(share) for share in (score.right, score.ok, score.ok_wrong, score.refused)]
        if not is_digit_set(set_folder):
            cells[0] = cells[2] = ""
        print(f"| {set_folder.name} | {score.images} | " + " | ".join(cells) + " |")
    for name, of_digits in (("mean over sets of digits", True), ("mean over sets of non-digits", False)):
        means = compute_means(scanned, of_digits)
        cells = [_percent(share) for share in (means.right, means.ok, means.ok_wrong, means.refused)]
        if of_digits:
            cells[0] += f" (worst {_percent(means.worst)})"
        else:
            cells[0] = cells[2] = ""
        print(f"| {name} | | " + " | ".join(cells) + " |")


def print_peers(sets_folder: Path, environments: Path) -> None:
    """Print each peer's share of right answers in each set of digits, and its mean over sets."""
    from benchmarks.peers import find_available_peers, read_digits

    sets = [folder for folder in find_sets(sets_folder) if is_digit_set(folder)]
    print("| right | " + " | ".join(folder.name for folder in sets) + " | mean |")
    print("|---" * (len(sets) + 2) + "|")
    for peer in find_available_peers():
        shares = []
        for folder in sets:
            paths = sorted(path for path in folder.glob("*/*") if path.is_file())
            digits = read_digits(peer, paths, environments)
            right_count = sum(digits.get(path, "") == path.parent.name for path in paths)
            shares.append(right_count / max(len(paths), 1))
        cells = [f"{100 * share:.1f}" for share in (*shares, sum(shares) / max(len(shares), 1))]
        print(f"| {peer.name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--wild", type=Path, help="a folder of sets of images")
    parser.add_argument(
        "--ladder", action="store_true", help="train step by step; needs --wild, some two hours"
    )
    parser.add_argument(
        "--pens", type=Path, action="append", default=[], help="a file of pen strokes for --ladder"
    )
    parser.add_argument("--from-step", type=int, default=1, help="the first step of --ladder")
    parser.add_argument("--peers", type=Path, help="a folder for the peers' environments; needs --wild")
    arguments = parser.parse_args()
    if arguments.wild is None and (arguments.ladder or arguments.peers):
        parser.error("--ladder and --peers read the sets in a folder: add --wild DIR")
    if arguments.ladder:
        from benchmarks.ladder import print_ladder

        print_ladder(arguments.wild, arguments.pens, arguments.from_step)
        return
    if arguments.peers:
        print_peers(arguments.wild, arguments.peers)
        return
    from digitscan.model.model_files import resolve_model

    print_mnist(arguments.model, resolve_model(arguments.model).path)
    if arguments.wild:
        print_sets(arguments.model, arguments.wild)


if __name__ == "__main__":
    main()
