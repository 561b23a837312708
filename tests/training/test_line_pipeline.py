"""A whole training of the line network, with few lines: what it writes can be scanned with."""

import keras
import numpy as np
import pytest

from digitscan.errors import DataError, UsageError
from digitscan.model.metadata import Reads
from digitscan.model.registry import load_model
from digitscan.training.config import TrainConfig
from digitscan.training.data.number_generator import LineCounts
from digitscan.training.data.sources import load_data
from digitscan.training.line_pipeline import train_line
from digitscan.training.line_task import LineTask
from digitscan.training.pipeline import run_training


@pytest.fixture(autouse=True)
def few_lines(monkeypatch):
    """A run composes few lines."""
    counts = LineCounts(train=80, val=30, calibration=60, test=30)
    monkeypatch.setattr(train_line, "__defaults__", (counts,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, few_digits):
    """The path of a model that learned for two epochs, and what the run said."""
    patch = pytest.MonkeyPatch()
    patch.setattr(train_line, "__defaults__", (LineCounts(train=80, val=30, calibration=60, test=30),))
    folder = tmp_path_factory.mktemp("line")
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        patch.setenv(variable, str(folder / "user"))
    config = TrainConfig("line", folder / "line.h5", data=few_digits, epochs=2, plots=folder / "plots")
    yield run_training(config), folder
    patch.undo()


def test_plain_keras_opens_the_model_and_it_takes_lines_of_any_width(trained):
    keras_model = keras.models.load_model(trained[0].path)
    assert keras_model.input_shape == (None, 32, None, 1)
    assert keras_model.output_shape == (None, 1, None, 13)


def test_its_metadata_say_what_it_reads_and_how_well(trained):
    metadata = trained[0].metadata
    assert (metadata.architecture, metadata.reads, metadata.classes) == ("line", Reads.NUMBERS, 13)
    assert metadata.ok_confidence is None  # 60 lines prove nothing
    assert 0 <= metadata.scores["test accuracy"] <= 1
    assert metadata.training["epochs"] == 2


def test_it_is_loaded_as_a_model_of_numbers(trained):
    model = load_model(trained[0].path, numbers=True)
    assert model.digest == trained[0].digest


def test_the_curves_are_plotted(trained):
    _, folder = trained
    assert {path.name for path in (folder / "plots").iterdir()} == {"accuracy_plot.png", "loss_plot.png"}


def test_an_interrupted_run_ends_with_the_same_weights(trained, tmp_path, few_digits, monkeypatch):
    model, _ = trained
    output = tmp_path / "line.h5"
    first = TrainConfig("line", output, data=few_digits, epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(LineTask, "load_epoch", _interrupt_before_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            run_training(first)
    assert not output.exists()
    resumed = run_training(TrainConfig("line", output, data=few_digits, epochs=2, resume=True))
    weights = [keras.models.load_model(path).get_weights() for path in (model.path, resumed.path)]
    assert all((one == other).all() for one, other in zip(*weights, strict=True))


_load_epoch = LineTask.load_epoch


def _interrupt_before_second_epoch(task, epoch):
    if epoch == 1:
        raise KeyboardInterrupt
    return _load_epoch(task, epoch)


def test_a_digit_without_images_is_named(few_digits, tmp_path):
    data = load_data(few_digits)
    without = data.y_train != 4
    path = tmp_path / "no-fours.npz"
    np.savez(
        path,
        x_train=data.x_train[without],
        y_train=data.y_train[without],
        x_test=data.x_test,
        y_test=data.y_test,
    )
    with pytest.raises(DataError, match="none is a 4"):
        run_training(TrainConfig("line", tmp_path / "line.h5", data=path, epochs=1))


def test_teachers_are_refused():
    with pytest.raises(UsageError, match="leave out teachers"):
        TrainConfig("line", teachers=("cnn",))


def test_the_model_is_small(trained):
    assert trained[0].path.stat().st_size < 2_000_000
