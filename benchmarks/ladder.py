"""What each part of the training material is worth: the same short training, one step more each time.

Every step is trained with the same seed and few epochs, then scored on MNIST's validation images (never on
its test images) and on sets of pictures by other people.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.sets import means_of, score_each
from digitscan.model.classifier import Classifier
from digitscan.model.compiled_cache import read_compiled
from digitscan.model.registry import load_model
from digitscan.training.config import RECIPES, TrainConfig
from digitscan.training.data.augment import AugmentationConfig
from digitscan.training.data.datasets import preprocess_dataset, split
from digitscan.training.data.sources import load_data
from digitscan.training.pipeline import run

EPOCHS = 8
SEED = 1

NOTHING = AugmentationConfig(
    added_strokes=0.0,
    skeletons=0.0,
    fonts=0.0,
    non_digits=0.0,
    letters=0.0,
    bent=0.0,
    pens_and_cameras=0.0,
    gentle=0.0,
)
ALL = AugmentationConfig()
STEPS: tuple[tuple[str, AugmentationConfig], ...] = (
    ("MNIST as it is, preprocessed", NOTHING),
    ("+ rotated, slanted, elastically bent", replace(NOTHING, bent=ALL.bent)),
    (
        "+ other pens, low resolution, breaks, cuts, photographs",
        replace(NOTHING, bent=ALL.bent, pens_and_cameras=ALL.pens_and_cameras),
    ),
    (
        "+ flags, slashes and bars drawn onto MNIST's 1, 0 and 7",
        replace(ALL, skeletons=0.0, fonts=0.0, non_digits=0.0, gentle=0.0),
    ),
    ("+ digits drawn from stroke skeletons", replace(ALL, fonts=0.0, non_digits=0.0, gentle=0.0)),
    ("+ digits of handwriting fonts", replace(ALL, non_digits=0.0, gentle=0.0)),
    ("+ pictures of no digit, refused", replace(ALL, letters=0.0, gentle=0.0)),
    ("+ letters of handwriting fonts among them", replace(ALL, gentle=0.0)),
    ("+ MNIST's own digits, gently bent, as a larger share", ALL),
)


def score_validation(path: Path, seed: int) -> float:
    """Return the share of MNIST's validation images, those that training kept apart, that is read right."""
    mnist = load_data()
    _, val = split(mnist.x_train, mnist.y_train)
    seen = preprocess_dataset(val)
    model = load_model(path)
    classifier = Classifier(read_compiled(model.compiled_path, model.compiled_digest), model.metadata)
    return float((classifier.classify(seen.images).argmax(axis=1) == seen.labels).mean())


def print_ladder(wild: Path) -> None:
    """Train each step and print its line. Takes some five minutes a step on two cores."""
    print(
        "| trained on | MNIST validation | sets, right | worst set | `ok` | wrong among `ok` | refused "
        "| non-digits `ok` | non-digits refused |\n|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for number, (words, augmentation) in enumerate(STEPS):
            path = Path(scratch) / f"step{number}.h5"
            recipe = replace(RECIPES["cnn"], epochs=EPOCHS, patience=EPOCHS, augmentation=augmentation)
            run(TrainConfig(output=path, seed=SEED, quiet=True), recipe)
            scanned = score_each(str(path), wild)
            digits, others = means_of(scanned, True), means_of(scanned, False)
            figures = [
                score_validation(path, SEED),
                digits.right,
                digits.worst,
                digits.ok,
                digits.ok_wrong,
                digits.refused,
                others.ok,
                others.refused,
            ]
            print(f"| {words} | " + " | ".join(f"{100 * figure:.2f}" for figure in figures) + " |")
            sys.stdout.flush()
