"""How well the shipped models read: `python -m benchmarks.accuracy [--wild DIR] [--model NAME]`.

MNIST's test images are written as PNG files and scanned; plain Keras reads the same images, preprocessed
and raw. DIR holds sets of pictures by other people: SET/LABEL/FILE for digits, nondigit-SET/FILE and
multi-SET/FILE for what is not one digit. Prints Markdown.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from digitscan.mnist import load_mnist
from digitscan.rounds import Examples, preprocess_all

Rows = dict[str, dict[str, str]]


def scan(folder: Path, model: str) -> Rows:
    """Return the rows of a scan by path."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "rows.csv"
        command = [sys.executable, "-m", "digitscan", "scan", str(folder), "--model", model, "--quiet"]
        subprocess.run([*command, "-o", str(output)], check=False)
        with output.open(newline="", encoding="utf-8") as file:
            return {row["path"]: row for row in csv.DictReader(file)}


def print_mnist(model: str, path: Path) -> None:
    """Print accuracy through files, of plain Keras on the same images, and how often the two agree."""
    import keras

    mnist = load_mnist()
    with tempfile.TemporaryDirectory() as scratch:
        for index, image in enumerate(mnist.x_test):
            Image.fromarray(image).save(Path(scratch) / f"{index:05d}.png")
        rows = scan(Path(scratch), model)
    read = np.array([int(rows[f"{index:05d}.png"]["digit"] or -1) for index in range(len(mnist.x_test))])
    ok = np.array([rows[f"{index:05d}.png"]["status"] == "ok" for index in range(len(mnist.x_test))])
    network = keras.models.load_model(path, compile=False)
    seen = preprocess_all(Examples(mnist.x_test, mnist.y_test)).images

    def by_keras(images: np.ndarray) -> np.ndarray:
        answers = network.predict(images[..., None].astype(np.float32) / 255, batch_size=500, verbose=0)
        best = answers.argmax(axis=1)
        return np.where(best == 10, -1, best)

    print("| MNIST's 10,000 test images | % |\n|---|---|")
    print(f"| right, as PNG files through `scan` | {100 * (read == mnist.y_test).mean():.2f} |")
    print(f"| marked `ok` | {100 * ok.mean():.2f} |")
    print(f"| wrong among those | {100 * (read != mnist.y_test)[ok].mean():.3f} |")
    raw = 100 * (by_keras(mnist.x_test) == mnist.y_test).mean()
    print(f"| right, plain Keras on the raw arrays | {raw:.2f} |")
    print(
        f"| `scan` agrees with plain Keras on `preprocess(x)` | {100 * (by_keras(seen) == read).mean():.2f} |"
    )


def print_sets(model: str, folder: Path) -> None:
    """Print a row for each set of pictures in the folder."""
    print("\n| set | images | right | ok | wrong among ok | no-digit |\n|---|---|---|---|---|---|")
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        rows = scan(part, model)
        digits = {name: row for name, row in rows.items() if "/" in name}
        chosen = digits or rows
        ok = [(name, row) for name, row in chosen.items() if row["status"] == "ok"]
        wrong = sum(row["digit"] != name.split("/")[0] for name, row in ok)
        right = sum(row["digit"] == name.split("/")[0] for name, row in digits.items())
        refused = sum(row["status"] == "no-digit" for row in chosen.values())
        count = max(len(chosen), 1)
        print(
            f"| {part.name} | {len(chosen)} | {100 * right / count:.2f} | {100 * len(ok) / count:.2f} "
            f"| {100 * wrong / max(len(ok), 1):.2f} | {100 * refused / count:.2f} |"
        )


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--wild", type=Path, help="a folder of sets of pictures")
    arguments = parser.parse_args()
    from digitscan.model import resolve_model

    print_mnist(arguments.model, resolve_model(arguments.model).path)
    if arguments.wild:
        print_sets(arguments.model, arguments.wild)


if __name__ == "__main__":
    main()
