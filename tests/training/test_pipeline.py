"""A training run writes a model that plain Keras opens, the same for the same seed, or says what is wrong."""

import os
from collections import namedtuple
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from digitscan.errors import DataError, OutputError, UsageError
from digitscan.imaging.condition import Condition
from digitscan.model import tflite_compiler
from digitscan.model.classifier import Classifier, classify_preprocessed, decide
from digitscan.model.compiled_cache import read_compiled
from digitscan.model.registry import load_model
from digitscan.prediction import Status
from digitscan.training import calibration, distillation
from digitscan.training.calibration import MAX_DIGITS_REJECTED, MAX_NEGATIVES_OK, MAX_OK_WRONG
from digitscan.training.config import TrainConfig
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.data.sources import load_data
from digitscan.training.pipeline import run_training
from digitscan.training.recipes import RECIPES
from tests.support import command
from tests.support.training_data import save_few_digits


@pytest.fixture
def config(few_digits, tmp_path):
    """The settings of a short and quiet training of an MLP."""
    return TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=3, quiet=True)


def open_in_keras(model):
    return keras.models.load_model(model.path, compile=False)


def has_same_weights(model, other):
    pairs = zip(open_in_keras(model).get_weights(), open_in_keras(other).get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_run_writes_a_model_and_plots_and_the_same_seed_gives_the_same_weights(config, tmp_path):
    first = run_training(replace(config, plots=tmp_path / "plots"))
    second = run_training(replace(config, output=tmp_path / "b.h5"))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "accuracy_plot.png",
        "loss_plot.png",
        "sample_predictions.png",
        "confusion_matrix.png",
    }
    assert open_in_keras(first).count_params() == 109_386
    assert has_same_weights(first, second)
    assert first.metadata.scores["test accuracy"] > 0.5
    assert first.metadata.classes == 10
    assert first.metadata.training["seed"] == 1


def test_a_cnn_learns_from_pen_strokes_and_its_metadata_name_them(config, pens_path):
    recipe = replace(RECIPES["cnn-fast"], epochs=1)
    learned = replace(config, architecture="cnn-fast", teachers=("cnn",), epochs=1)
    with_pens = run_training(
        replace(learned, pens=(pens_path,), output=config.output.with_name("b.h5")), recipe
    )
    without = run_training(learned, recipe)
    assert with_pens.metadata.training["pens"] == "pens.npz"
    assert "pens" not in without.metadata.training
    assert not has_same_weights(with_pens, without)


@pytest.mark.parametrize("teachers", [(), ("cnn",)])
def test_an_mlp_does_not_learn_from_pen_strokes(teachers, config, pens_path):
    with pytest.raises(UsageError, match=r"mlp learns from .* only: leave out --pens, or train cnn"):
        run_training(replace(config, teachers=teachers, pens=(pens_path,)))
    assert not config.output.exists()


def test_an_mlp_learns_from_a_teacher_with_more_classes(config):
    model = run_training(replace(config, teachers=("cnn",), epochs=8))
    assert model.metadata.classes == 10
    assert model.metadata.scores["test accuracy"] > 0.5


def test_the_fast_network_compiles_once_and_loads_its_teacher_once(config, monkeypatch):
    compiled, loaded = [], []

    def compile_and_count(*arguments):
        compiled.append(arguments)
        return compile_model(*arguments)

    compile_model = tflite_compiler.compile_model
    monkeypatch.setattr(tflite_compiler, "compile_model", compile_and_count)
    monkeypatch.setattr(calibration, "compile_model", compile_and_count)
    monkeypatch.setattr(distillation, "load_model", lambda name, **_: loaded.append(name) or load_model(name))
    model = run_training(replace(config, architecture="cnn-fast", teachers=("cnn",), epochs=1))
    cnn = load_model("cnn")
    assert model.metadata.cascade_target == cnn.digest
    assert model.metadata.cascade_threshold >= cnn.metadata.ok_confidence
    assert len(compiled) == 1
    assert loaded == ["cnn"]


@pytest.mark.parametrize("teachers", [(), ("cnn", "cnn")])
def test_the_fast_network_needs_exactly_one_teacher(teachers, config):
    with pytest.raises(UsageError, match=r"cnn-fast .* name that with one --teacher"):
        run_training(replace(config, architecture="cnn-fast", teachers=teachers))


def test_an_existing_model_is_not_replaced_without_overwrite(config):
    config.output.write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.h5 exists: name another file with -o, or add --overwrite"):
        run_training(config)
    assert config.output.read_bytes() == b"mine"


def test_too_few_images_are_refused(config, tmp_path):
    save_few_digits(tmp_path / "d.npz", 12, 5)
    with pytest.raises(DataError, match=r"d\.npz has 12 usable images to train on, .*: at least 20"):
        run_training(replace(config, data=tmp_path / "d.npz"))


def test_a_full_disk_is_reported_before_training(config, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(OutputError, match=r"has 1 MB of free space, and .* up to 32 MB"):
        run_training(replace(config, output=tmp_path / "new" / "a.h5"))


def test_the_test_images_influence_nothing_but_the_scores(config, few_digits, tmp_path):
    with np.load(few_digits) as file:
        arrays = dict(file)
    arrays |= {"x_test": arrays["x_test"][:20], "y_test": (arrays["y_test"][:20] + 1) % 10}
    np.savez(tmp_path / "other.npz", **arrays)
    first = run_training(config)
    second = run_training(replace(config, output=tmp_path / "b.h5", data=tmp_path / "other.npz"))
    assert first.metadata.scores != second.metadata.scores
    assert has_same_weights(first, second)
    assert first.metadata.temperature == second.metadata.temperature
    assert first.metadata.ok_confidence == second.metadata.ok_confidence


@pytest.mark.parametrize(("architecture", "epochs"), [("mlp", 8), ("cnn", 3)])
def test_the_saved_model_keeps_its_promises_on_the_images_of_its_calibration(
    architecture, epochs, config, monkeypatch
):
    calibration_sets = []
    make_calibration_set = AugmentedDataGenerator.make_calibration_images

    def make_and_keep(generator):
        calibration_sets.append(make_calibration_set(generator))
        return calibration_sets[-1]

    monkeypatch.setattr(AugmentedDataGenerator, "make_calibration_images", make_and_keep)
    model = run_training(replace(config, architecture=architecture, epochs=epochs))
    (dataset,) = calibration_sets
    compiled = read_compiled(model.compiled_path, model.compiled_digest)
    classified = classify_preprocessed(Classifier(compiled, model.metadata), dataset.results)
    decisions = [
        decide(image.probabilities, model.metadata, None, image.preprocessed.condition)
        for image in classified
    ]
    is_clean = np.array([image.preprocessed.condition is Condition.CLEAN for image in classified])
    may_be_ok = np.array([not image.preprocessed.needs_review for image in classified])
    is_ok = np.array([decision.status is Status.OK for decision in decisions]) & may_be_ok
    digits = np.array([-1 if decision.digit is None else decision.digit for decision in decisions])
    is_digit = dataset.labels < 10
    wrong_count = (digits != dataset.labels)[is_clean & is_ok & is_digit].sum()
    assert wrong_count <= MAX_OK_WRONG * is_ok[is_clean & is_digit].sum()
    if architecture == "cnn":
        assert is_ok[is_clean & ~is_digit & may_be_ok].mean() <= MAX_NEGATIVES_OK
        rejected = (digits < 0)[is_clean & is_digit]
        assert rejected.mean() <= MAX_DIGITS_REJECTED + 1 / rejected.size
    assert compiled == tflite_compiler.compile_model(open_in_keras(model))


def test_nothing_of_a_strangers_folder_runs_or_reaches_the_terminal(tmp_path):
    """Neither modules and settings beside the data, nor escape codes in names; `keras.json` is not obeyed."""
    mnist = load_data()
    folder = tmp_path / "red \x1b[31m"
    for digit in range(10):
        (folder / str(digit)).mkdir(parents=True)
        for index in np.flatnonzero(mnist.y_train == digit)[:4].tolist():
            Image.fromarray(mnist.x_train[index]).save(folder / str(digit) / f"{index}.png")
    (folder / "3" / "broken \x1b[32m.png").write_bytes(b"no image")
    for module in ("multiprocessing", "pickle", "json", "numpy", "matplotlib", "_strptime"):
        (folder / f"{module}.py").write_text(f"open('trap-{module}', 'w')")
    os.mkfifo(folder / "matplotlibrc")  # whoever reads it waits for ever
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    (home / ".keras" / "keras.json").write_text('{"image_data_format": "no", "backend": "torch"}')
    environment = command.environment(
        HOME=str(home),
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        XDG_DATA_HOME=str(tmp_path / "data"),
        KERAS_BACKEND="jax",
        MPLBACKEND="no such backend",
    )
    arguments = ["train", "--arch", "mlp", "--epochs", "1", "--data", folder, "-o", "a.h5"]
    done = command.run(*arguments, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"red \x1b[31m/3/broken \x1b[32m.png" in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"\x1b" not in done.stdout
    assert {path.name for path in folder.iterdir() if path.name.startswith(("trap", "__pycache__"))} == set()
    assert len(list((folder / "a").iterdir())) == 4
    assert [path.name for path in home.rglob("*") if path.is_file()] == ["keras.json"]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["digitscan"]
    assert not (folder / "~").exists()
