"""Teachers and the targets that a network learns from them.

Knowledge distillation is that of Hinton et al. 2015, "Distilling the Knowledge in a Neural Network": a
network learns a mixture of the labels and the teachers' probabilities. The cross-entropy with such a mixture
is the same mixture of the two cross-entropies. The probabilities are not softened, as they are there: those
of a calibrated teacher say already how likely each class is, and students of softened answers (temperature 2
or 4) marked 2 to 3 % fewer validation digits `ok`, with the same share of them wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import UsageError
from digitscan.model.classifier import Classifier
from digitscan.model.registry import Model, load_model
from digitscan.training.data.datasets import NOT_A_DIGIT, Dataset

TEACHER_WEIGHT = 0.7
"""The weight of the teachers' probabilities in a target; the label has the rest."""


@dataclass(frozen=True)
class Teacher:
    """A trained model whose answers are learned."""

    name: str
    """The name or path that the user gave."""
    model: Model
    classifier: Classifier


def load_teachers(
    names: Sequence[str], class_count: int, log: Callable[[str], object]
) -> tuple[Teacher, ...]:
    """Return the teachers of a network with `class_count` classes; `names` are bundled models or paths.

    Raises UsageError for a teacher with fewer classes, ModelError for one that cannot be used.
    """
    teachers = {name: _load_teacher(name, class_count, log) for name in dict.fromkeys(names)}
    return tuple(teachers[name] for name in names)


def _load_teacher(name: str, class_count: int, log: Callable[[str], object]) -> Teacher:
    model = load_model(name, uses_calibration=False, log=log)
    if model.metadata.classes < class_count:
        raise UsageError(
            f"{name} has {model.metadata.classes} classes, and {class_count} are to be learned: "
            "give another --teacher"
        )
    # Without the model's fast companion: a teacher answers every image itself.
    return Teacher(name, model, Classifier(model.read_compiled(), model.metadata))


def compute_distillation_targets(
    dataset: Dataset, teachers: Sequence[Teacher], class_count: int
) -> NDArray[np.float32]:
    """Return a dataset's targets (N, class_count): its labels mixed with the teachers' mean probabilities.

    Each row is a probability distribution. Of a negative that the teachers take for a digit, it is the label
    alone: they may not have learned that kind of negative, and nothing else in the training would say so.
    """
    targets = np.mean(
        [teacher.classifier.classify(dataset.images)[:, :class_count] for teacher in teachers], axis=0
    )
    is_missed = (dataset.labels == NOT_A_DIGIT) & (targets.argmax(axis=1) != NOT_A_DIGIT)
    targets *= TEACHER_WEIGHT / targets.sum(axis=1, keepdims=True)
    targets[is_missed] = 0.0
    targets[np.arange(len(targets)), dataset.labels] += np.where(is_missed, 1.0, 1.0 - TEACHER_WEIGHT)
    return np.asarray(targets, np.float32)
