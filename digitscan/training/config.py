"""What a training run is told, and the recipes that are the defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.model.metadata import FAST_CNN
from digitscan.training.data.augment import AugmentationConfig

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam, from `rate` to zero along a cosine, over all of `epochs`."""

    epochs: int
    batch_size: int
    patience: int
    rate: float
    augmentation: AugmentationConfig | None = None
    epochs_per_dataset: int = 2
    """Making a round of examples costs more than learning from it, so each is used so often."""


@dataclass(frozen=True)
class TrainConfig:
    """What a training run is told. None stands for the recipe's own value."""

    architecture: str = "cnn"
    output: Path = Path("models/digits.h5")
    teachers: tuple[str, ...] = ()
    """Models whose answers are learned from; the quick network has one, for which it answers."""
    data: Path | None = None
    epochs: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int = 0
    plots: Path | None = None
    overwrite: bool = False
    resume: bool = False
    quiet: bool = False


RECIPES = {
    "cnn": Recipe(epochs=36, batch_size=128, patience=15, rate=2e-3, augmentation=AugmentationConfig()),
    "mlp": Recipe(epochs=14, batch_size=128, patience=8, rate=2e-3),
    FAST_CNN: Recipe(epochs=36, batch_size=128, patience=15, rate=3e-3, augmentation=AugmentationConfig()),
}


DISTILLED_MLP_RECIPE = Recipe(
    epochs=240,
    batch_size=256,
    patience=80,
    rate=3e-3,
    augmentation=AugmentationConfig(
        added_strokes=0.0, skeletons=0.0, fonts=0.0, non_digits=0.0, pens_and_cameras=0.0, gentle=1.0
    ),
    epochs_per_dataset=10,
)
"""What an MLP is trained with when it has a teacher."""


def _recipe(options: TrainConfig, recipe: Recipe | None) -> Recipe:
    taught = options.teachers and options.architecture == "mlp"
    recipe = recipe or (DISTILLED_MLP_RECIPE if taught else RECIPES[options.architecture])
    for name in ("epochs", "batch_size", "patience"):
        value = getattr(options, name)
        if value is not None:
            recipe = replace(recipe, **{name: value})
    return recipe
