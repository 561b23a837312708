"""What a network learns towards: the labels, or these and what teachers answer (Hinton 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from digitscan.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from digitscan.training.data.datasets import Dataset

TEACHER_SHARE = 0.7
"""Of what a taught network learns: the teachers' answers; the rest is the label."""
TEACHER_TEMPERATURE = 2.0
"""Above 1, a teacher's small doubts are taught as well."""


def label_targets(examples: Dataset) -> NDArray[Any]:
    """Return the labels (N,) themselves."""
    return examples.labels


def distillation_targets(
    teachers: tuple[str, ...], classes: int, say: Callable[[str], None]
) -> Callable[[Dataset], NDArray[Any]]:
    """Return what gives the targets, (N, classes) float32, of examples: label and teachers' mean answer.

    `teachers` are paths or names of shipped models. Raises UsageError for one that answers with fewer
    classes, ModelError for one that cannot be used.
    """
    import numpy as np

    from digitscan.model.classifier import Classifier
    from digitscan.model.compiled_cache import read_compiled
    from digitscan.model.registry import load_model

    models = [load_model(teacher, say=say) for teacher in teachers]
    for teacher, model in zip(teachers, models, strict=True):
        if model.metadata.classes < classes:
            raise UsageError(
                f"{teacher} answers with {model.metadata.classes} classes, and {classes} are to be taught: "
                "give another --teacher"
            )
    classifiers = [
        Classifier(read_compiled(model.compiled_path, model.compiled_digest), model.metadata)
        for model in models
    ]

    def target_of(examples: Dataset) -> NDArray[Any]:
        answers = np.mean([one.classify(examples.images)[:, :classes] for one in classifiers], axis=0)
        answers = np.maximum(answers, 1e-12) ** (1.0 / TEACHER_TEMPERATURE)
        answers *= TEACHER_SHARE / answers.sum(axis=1, keepdims=True)
        answers[np.arange(len(answers)), examples.labels] += 1.0 - TEACHER_SHARE
        return np.asarray(answers, np.float32)

    return target_of
