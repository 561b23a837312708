"""A model learns from corrections, says how much better it is, and is saved only then."""

from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from digitscan.errors import DataError, OutputError, TrainingError, UsageError
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.model.registry import load_model
from digitscan.training.config import FineTuneConfig, check_fine_tuning_options
from digitscan.training.fine_tuning import run_fine_tuning
from tests.support import command


def save_by_label(images, labels, folder):
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def slant(images):
    """Return images (N, 28, 28) that lean so far to the right that the MLP misreads a third of them."""
    matrix = np.array([[1, -1.0, 13.5], [0, 1, 0]], np.float32)
    return [cv2.warpAffine(image, matrix, (28, 28)) for image in images]


@pytest.fixture
def slanted(mnist, tmp_path):
    """A folder of 60 digits of a writer who slants."""
    return save_by_label(slant(mnist.x_train[:60]), mnist.y_train[:60], tmp_path / "writer")


@pytest.fixture
def config(slanted, tmp_path):
    return FineTuneConfig("mlp", slanted, output=tmp_path / "a.h5", quiet=True)


def test_a_writer_is_learned_and_mnist_is_not_forgotten(config, mnist):
    model, result = run_fine_tuning(config)
    assert result.corrections == 60
    assert result.adaptation.right_before < result.adaptation.right_after
    assert result.is_better
    assert result.mnist_after > result.mnist_before - 0.001
    saved = load_model(config.output)
    assert saved.metadata.ok_confidence is not None  # recorded as trained here, so it is believed
    assert saved.metadata.training["from"] == "mlp"
    assert saved.metadata.training["from_sha256"] == load_model("mlp").digest
    assert saved.metadata.training["corrections"] == 60
    assert saved.metadata.scores["test accuracy"] == result.mnist_after
    assert saved.digest == model.digest
    labels = mnist.y_train[60:360]
    others = np.stack([result.pixels for result in preprocess_batch(slant(mnist.x_train[60:360]))])
    before, after = (
        np.count_nonzero(load_model(name).load_classifier().classify(others).argmax(1) != labels)
        for name in ("mlp", config.output)
    )
    assert after < 0.9 * before


def test_only_the_last_layer_changes(config):
    run_fine_tuning(config)
    before, after = (
        keras.models.load_model(path, compile=False).get_weights()
        for path in (load_model("mlp").path, config.output)
    )
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True] * (len(same) - 2) + [False] * 2


@pytest.fixture
def like_others(mnist, tmp_path):
    """A folder of digits that are read right already."""
    return save_by_label(mnist.x_train[:10], mnist.y_train[:10], tmp_path / "others")


def test_a_model_that_is_no_better_is_saved_only_with_force(config, like_others):
    config = replace(config, corrections=like_others)
    with pytest.raises(TrainingError, match=r"is no better, so nothing is saved: .* --force"):
        run_fine_tuning(config)
    assert not config.output.exists()
    _, result = run_fine_tuning(replace(config, force=True))
    assert config.output.exists()
    assert not result.is_better
    assert (result.adaptation.right_before, result.adaptation.right_after) == (10, 10)


def test_images_without_a_digit_teach_an_mlp_nothing(config, slanted, mnist, capsys):
    save_by_label(mnist.x_train[:3], ["none"] * 3, slanted)
    run_fine_tuning(replace(config, quiet=False))
    messages = capsys.readouterr().err
    assert messages.count("the model knows digits only, and this is said to be none") == 3
    assert "Learning from 60 corrected images" in messages
    assert "of 60 read right before" in messages
    assert "MNIST's test images: " in messages


def test_the_fast_model_cannot_be_fine_tuned(config):
    with pytest.raises(UsageError, match=r"^cnn-fast answers in place of another model: fine-tune that one"):
        run_fine_tuning(replace(config, model="cnn-fast"))


def test_an_existing_model_is_kept_unless_it_may_be_replaced(config):
    config.output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        run_fine_tuning(config)
    assert config.output.read_bytes() == b"mine"


def test_corrections_that_cannot_be_read_end_the_run_before_tensorflow_starts(config, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        run_fine_tuning(replace(config, corrections=tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(
    ("model", "corrections", "others", "message"),
    [
        (None, "a.csv", [], "give both"),
        ("cnn", None, [], "give both"),
        ("cnn", "a.csv", ["--epochs", "--data"], "--epochs, --data does not go with --from and --add"),
    ],
)
def test_options_that_do_not_fit_are_refused(model, corrections, others, message):
    with pytest.raises(UsageError, match=message):
        check_fine_tuning_options(model, corrections, others)


@pytest.mark.parametrize(
    "arguments", [["--from", "cnn"], ["--add", "a.csv"], ["--force"], ["--images", "folder"]]
)
def test_the_command_line_refuses_half_of_the_options(arguments, tmp_path):
    result = command.run("train", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert b"give both" in result.stderr


def test_the_command_line_fine_tunes(slanted, tmp_path):
    result = command.run("train", "--from", "mlp", "--add", str(slanted), "-o", "mine.h5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"Model: mine.h5" in result.stderr
    assert (tmp_path / "mine.h5").exists()
