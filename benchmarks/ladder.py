"""An ablation study of the training data: the same short training, with one more kind of data in each step.

`python -m benchmarks.accuracy --wild DIR --ladder` prints the table that is in docs/training.md. Every step
is trained with the same seed for a few epochs, then scored on MNIST's validation images (never on its test
images) and on sets of images by other people. The steps with pen strokes need `--pens FILE`; without it they
are left out. `--from-step N` begins with the N-th step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.sets import compute_means, scan_sets
from digitscan.model.registry import load_model
from digitscan.training.config import TrainConfig
from digitscan.training.data.augment import NO_AUGMENTATION, AugmentationConfig
from digitscan.training.data.datasets import preprocess_dataset, split_train_val
from digitscan.training.data.sources import load_data
from digitscan.training.pipeline import run_training
from digitscan.training.recipes import RECIPES

EPOCHS = 8
SEED = 1


class Step(NamedTuple):
    """One row of the table."""

    description: str
    augmentation: AugmentationConfig
    has_pens: bool = False


FULL_AUGMENTATION = AugmentationConfig()
DISTORTED = replace(NO_AUGMENTATION, distorted=FULL_AUGMENTATION.distorted)
WITHOUT_STRETCHING = replace(FULL_AUGMENTATION, stretched=0.0)
WITHOUT_FIELDS = replace(WITHOUT_STRETCHING, printed_fields=0.0, empty_fields=0.0)
STRONG = replace(WITHOUT_FIELDS, weakly_augmented=0.0)
STEPS = (
    Step("MNIST, preprocessed", NO_AUGMENTATION),
    Step("+ affine and elastic distortion", DISTORTED),
    Step(
        "+ stroke width, breaks, cropping, low resolution, photographs",
        replace(DISTORTED, degraded=FULL_AUGMENTATION.degraded),
    ),
    Step(
        "+ flags, slashes and bars added to MNIST's 1, 0 and 7",
        replace(STRONG, stroke_glyphs=0.0, font_glyphs=0.0, negatives=0.0),
    ),
    Step("+ digits drawn from stroke skeletons", replace(STRONG, font_glyphs=0.0, negatives=0.0)),
    Step("+ digits of handwriting fonts", replace(STRONG, negatives=0.0)),
    Step("+ negatives", replace(STRONG, letters=0.0)),
    Step("+ letters of handwriting fonts among the negatives", STRONG),
    Step("+ a share of weakly augmented MNIST digits", WITHOUT_FIELDS),
    Step("+ digits in printed fields", replace(WITHOUT_STRETCHING, empty_fields=0.0)),
    Step("+ empty fields among the negatives", WITHOUT_STRETCHING),
    Step("+ digits of pen strokes", replace(WITHOUT_STRETCHING, pen_non_digits=0.0), has_pens=True),
    Step("+ letters of pen strokes among the negatives", WITHOUT_STRETCHING, has_pens=True),
    Step("+ images stretched to a square", FULL_AUGMENTATION, has_pens=True),
)


def score_validation(model_path: Path) -> float:
    """Return the share, 0 to 1, of MNIST's validation images that the model reads correctly."""
    mnist = load_data()
    _, val = split_train_val(mnist.x_train, mnist.y_train)
    dataset = preprocess_dataset(val)
    classifier = load_model(model_path).load_classifier()
    return float((classifier.classify(dataset.images).argmax(axis=1) == dataset.labels).mean())


def print_ladder(wild: Path, pens: Sequence[Path] = (), first_step: int = 1) -> None:
    """Train each step and print its row as Markdown, scored on the sets in the folder `wild`.

    Steps with pen strokes learn from the files `pens`. One step takes some ten minutes on two cores.
    """
    steps = [step for step in STEPS[first_step - 1 :] if pens or not step.has_pens]
    print(
        "| trained on | MNIST validation | sets, right | worst set | `ok` | wrong among `ok` | rejected "
        "| non-digits `ok` | non-digits rejected |\n|---|---|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for index, step in enumerate(steps):
            model_path = Path(scratch) / f"step{index}.h5"
            recipe = replace(RECIPES["cnn"], epochs=EPOCHS, patience=EPOCHS, augmentation=step.augmentation)
            step_pens = tuple(pens) if step.has_pens else ()
            run_training(TrainConfig(output=model_path, pens=step_pens, seed=SEED, quiet=True), recipe)
            rows_by_set = scan_sets(str(model_path), wild)
            digits, non_digits = compute_means(rows_by_set, True), compute_means(rows_by_set, False)
            shares = [
                score_validation(model_path),
                digits.right,
                digits.worst,
                digits.ok,
                digits.ok_wrong,
                digits.refused,
                non_digits.ok,
                non_digits.refused,
            ]
            cells = (step.description, *(f"{100 * share:.2f}" for share in shares))
            print(f"| {' | '.join(cells)} |", flush=True)
