"""The recipe of a training run is the architecture's own, unless the settings say otherwise."""

from digitscan.training.config import TrainConfig
from digitscan.training.recipes import DISTILLED_MLP_RECIPE, RECIPES, Recipe, resolve_recipe


def test_settings_replace_the_values_of_the_recipe():
    recipe = resolve_recipe(TrainConfig(architecture="mlp", epochs=3, patience=2))
    assert (recipe.epochs, recipe.patience) == (3, 2)
    assert (recipe.batch_size, recipe.learning_rate) == (128, 2e-3)


def test_without_settings_the_recipe_is_the_architectures_own():
    assert resolve_recipe(TrainConfig(architecture="cnn-fast", teachers=("cnn",))) == RECIPES["cnn-fast"]


def test_an_mlp_with_a_teacher_has_a_recipe_of_its_own():
    assert resolve_recipe(TrainConfig(architecture="mlp", teachers=("cnn",))) == DISTILLED_MLP_RECIPE


def test_a_given_recipe_replaces_the_architectures_own():
    recipe = Recipe(epochs=7, batch_size=10, patience=5, learning_rate=0.1)
    assert resolve_recipe(TrainConfig(batch_size=20), recipe) == Recipe(7, 20, 5, 0.1)
