"""The hyperparameters that each architecture is trained with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from digitscan.errors import UsageError
from digitscan.model.metadata import FAST_CNN, LINE
from digitscan.training.config import TrainConfig
from digitscan.training.data.augment import NO_AUGMENTATION, AugmentationConfig


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training run.

    The optimizer is Adam (Kingma and Ba 2014). Its learning rate falls to zero along half a cosine over all
    of `epochs` (Loshchilov and Hutter 2016).
    """

    epochs: int
    """The most passes over the training images."""
    batch_size: int
    """Images in each training step."""
    patience: int
    """Epochs without a better validation accuracy before training stops."""
    learning_rate: float
    """The learning rate of the first step."""
    augmentation: AugmentationConfig | None = None
    """How training images are augmented; with None they get only a slight affine transform."""
    epochs_per_dataset: int = 2
    """Epochs that use the same augmented images: making them takes longer than an epoch of training."""


RECIPES = {
    "cnn": Recipe(
        epochs=36, batch_size=128, patience=15, learning_rate=4e-3, augmentation=AugmentationConfig()
    ),
    "mlp": Recipe(epochs=14, batch_size=128, patience=8, learning_rate=2e-3),
    FAST_CNN: Recipe(
        epochs=36, batch_size=128, patience=15, learning_rate=3e-3, augmentation=AugmentationConfig()
    ),
    LINE: Recipe(epochs=30, batch_size=16, patience=15, learning_rate=2e-3, epochs_per_dataset=5),
}
"""The recipe of each architecture."""

DISTILLED_MLP_RECIPE = Recipe(
    epochs=240,
    batch_size=256,
    patience=80,
    learning_rate=3e-3,
    augmentation=replace(NO_AUGMENTATION, distorted=1.0, weakly_augmented=1.0),
    epochs_per_dataset=10,
)
"""The recipe of an MLP that has teachers: many epochs of weakly augmented digits, without negatives."""


def resolve_recipe(config: TrainConfig, recipe: Recipe | None = None) -> Recipe:
    """Return the recipe of a training run: `recipe` or the architecture's own, with the settings of `config`.

    A setting of `config` that is None leaves the recipe's value.
    """
    if recipe is None:
        is_distilled_mlp = config.architecture == "mlp" and config.teachers
        recipe = DISTILLED_MLP_RECIPE if is_distilled_mlp else RECIPES[config.architecture]
    settings = {name: getattr(config, name) for name in ("epochs", "batch_size", "patience")}
    return replace(recipe, **{name: value for name, value in settings.items() if value is not None})


def check_pens_are_drawn(config: TrainConfig, recipe: Recipe) -> None:
    """Raise UsageError where pen strokes are given to a recipe that draws nothing from them."""
    augmentation = recipe.augmentation
    if config.architecture == LINE:
        return
    if config.pens and not (augmentation and (augmentation.pen_digits or augmentation.pen_non_digits)):
        raise UsageError(
            f"{config.architecture} learns from the digits of MNIST or --data only: leave out --pens, "
            "or train cnn, cnn-fast or line"
        )
