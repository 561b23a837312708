"""How well models read: `python -m benchmarks.accuracy [--wild DIR] [--model NAME] [--ladder] [--peers DIR]`.

MNIST's test images are written as PNG files and scanned; plain Keras reads the same images, preprocessed
and raw. DIR holds sets of pictures by other people: SET/LABEL/FILE for digits, nondigit-SET/FILE and
multi-SET/FILE for what is not one digit. `--ladder` shows what each part of the training material is worth,
`--peers` how other readers of digits do on the same sets. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.sets import is_of_digits, means_of, scan, score_each, score_rows, sets_of
from digitscan.training.data.datasets import Dataset, preprocess_dataset
from digitscan.training.data.sources import load_data


def print_mnist(model: str, path: Path) -> None:
    """Print accuracy through files, of plain Keras on the same images, and how often the two agree."""
    import keras

    mnist = load_data()
    with tempfile.TemporaryDirectory() as scratch:
        for index, image in enumerate(mnist.x_test):
            Image.fromarray(image).save(Path(scratch) / f"{index:05d}.png")
        rows = scan(Path(scratch), model)
    read = np.array([int(rows[f"{index:05d}.png"]["digit"] or -1) for index in range(len(mnist.x_test))])
    ok = np.array([rows[f"{index:05d}.png"]["status"] == "ok" for index in range(len(mnist.x_test))])
    network = keras.models.load_model(path, compile=False)
    seen = preprocess_dataset(Dataset(mnist.x_test, mnist.y_test)).images

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
    """Print a row for each set of pictures in the folder, and the means over sets."""
    print("\n| set | images | right | ok | wrong among ok | no-digit |\n|---|---|---|---|---|---|")
    scanned = score_each(model, folder)
    for part, rows in scanned:
        score = score_rows(part.name, rows)
        shares = [score.right, score.ok, score.ok_wrong, score.refused]
        cells = [f"{100 * share:.2f}" for share in shares]
        if not is_of_digits(part):
            cells[0] = cells[2] = ""
        print(f"| {part.name} | {score.images} | " + " | ".join(cells) + " |")
    for words, of_digits in (("mean over sets of digits", True), ("mean over sets of non-digits", False)):
        means = means_of(scanned, of_digits)
        cells = [f"{100 * share:.2f}" for share in (means.right, means.ok, means.ok_wrong, means.refused)]
        if of_digits:
            cells[0] += f" (worst {100 * means.worst:.2f})"
        else:
            cells[0] = cells[2] = ""
        print(f"| {words} | | " + " | ".join(cells) + " |")


def print_peers(wild: Path, folder: Path) -> None:
    """Print each peer's share of right answers on each set of digits, and its mean over sets."""
    from benchmarks.peers import peers_here, read_with

    sets = [part for part in sets_of(wild) if is_of_digits(part)]
    print("| right | " + " | ".join(part.name for part in sets) + " | mean |")
    print("|---" * (len(sets) + 2) + "|")
    for peer in peers_here():
        shares = []
        for part in sets:
            paths = sorted(path for path in part.glob("*/*") if path.is_file())
            read = read_with(peer, paths, folder)
            shares.append(sum(read.get(path, "") == path.parent.name for path in paths) / max(len(paths), 1))
        cells = [f"{100 * share:.1f}" for share in (*shares, sum(shares) / max(len(shares), 1))]
        print(f"| {peer.name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--wild", type=Path, help="a folder of sets of pictures")
    parser.add_argument(
        "--ladder", action="store_true", help="train step by step; needs --wild, some 40 minutes"
    )
    parser.add_argument("--peers", type=Path, help="a folder for the peers' environments; needs --wild")
    arguments = parser.parse_args()
    if arguments.wild is None and (arguments.ladder or arguments.peers):
        parser.error("--ladder and --peers read the sets in a folder: add --wild DIR")
    if arguments.ladder:
        from benchmarks.ladder import print_ladder

        print_ladder(arguments.wild)
        return
    if arguments.peers:
        print_peers(arguments.wild, arguments.peers)
        return
    from digitscan.model.registry import resolve_model

    print_mnist(arguments.model, resolve_model(arguments.model).path)
    if arguments.wild:
        print_sets(arguments.model, arguments.wild)


if __name__ == "__main__":
    main()
