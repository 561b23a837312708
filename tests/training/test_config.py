"""The settings of a training run: their defaults, and the refusal of values out of range."""

from pathlib import Path

import pytest

from digitscan.errors import UsageError
from digitscan.training.architectures import ARCHITECTURES, CLASS_COUNTS
from digitscan.training.config import Architecture, TrainConfig, default_plot_folder
from digitscan.training.recipes import RECIPES


def test_each_architecture_has_a_network_a_class_count_and_a_recipe():
    for table in (CLASS_COUNTS, RECIPES):
        assert set(table) == set(Architecture)
    assert {*ARCHITECTURES, Architecture.LINE} == set(Architecture)  # `build_line` reads other images


def test_the_default_is_the_cnn_with_seed_1():
    config = TrainConfig()
    assert (config.architecture, config.seed) == ("cnn", 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "quick"}, "architecture must be one of cnn, mlp, cnn-fast, line, not 'quick'"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"patience": 0}, "patience must be at least 1, not 0"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"seed": 2**32}, "seed must be at most 4294967295, not 4294967296"),
        ({"epochs": 10**40}, f"epochs must be at most 1000000, not {10**40}"),
        ({"batch_size": 10**6 + 1}, "batch_size must be at most 1000000, not 1000001"),
        ({"patience": 10**40}, "patience must be at most 1000000"),
    ],
)
def test_a_value_out_of_range_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("models/digits.h5", "models/digits"),
        ("digits.v2.h5", "digits.v2"),
        ("a/digits", "a/digits-plots"),
        (".h5", ".h5-plots"),
        ("", "-plots"),
        ("/", "/-plots"),
    ],
)
def test_the_default_folder_for_plots_is_beside_the_model_and_never_the_model(output, folder):
    assert default_plot_folder(Path(output)) == Path(folder)
