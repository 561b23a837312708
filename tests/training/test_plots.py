"""The plots of a training run: the files, what they show, and that the same figures give the same bytes."""

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import OutputError
from digitscan.training.plots import plot_confusion_matrix, plot_sample_predictions, plot_training

HISTORY = {
    "accuracy": [0.91, 0.96, 0.98],
    "val_accuracy": [0.95, 0.97, 0.975],
    "loss": [0.4, 0.15, 0.08],
    "val_loss": [0.2, 0.12, 0.1],
}


def predictions(number, wrong, classes=10):
    """Images, labels and probabilities of a reader that reads the first `wrong` images wrong."""
    labels = np.arange(number) % 10
    answers = np.where(np.arange(number) < wrong, (labels + 1) % classes, labels)
    probabilities = np.full((number, classes), 0.02)
    probabilities[np.arange(number), answers] = 0.8
    images = np.zeros((number, 28, 28), np.uint8)
    images[:, 6:22, 12:16] = 255
    return images, labels, probabilities


def has_red(path):
    """Whether anything in the picture is in the colour of the mistakes."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return bool(((pixels[..., 0] > 150) & (pixels[..., 1:].max(axis=-1) < 90)).any())


def draw_all(folder, **more):
    images, labels, probabilities = predictions(**({"number": 60, "wrong": 3} | more))
    plot_training(HISTORY, folder)
    plot_sample_predictions(images, labels, probabilities, folder)
    plot_confusion_matrix(labels, probabilities[:, :10].argmax(axis=1), folder)


def test_four_small_pictures_are_written(tmp_path):
    draw_all(tmp_path)
    names = ["accuracy_plot.png", "confusion_matrix.png", "loss_plot.png", "sample_predictions.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG" and min(image.size) >= 250
            assert not image.info.keys() & {"Software", "Creation Time"}
        assert path.stat().st_size < 150_000


def test_the_same_figures_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        draw_all(tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_only_mistakes_are_red(tmp_path, wrong):
    images, labels, probabilities = predictions(60, wrong)
    plot_sample_predictions(images, labels, probabilities, tmp_path)
    assert has_red(tmp_path / "sample_predictions.png") == (wrong > 0)


def test_one_image_and_one_epoch_are_enough(tmp_path):
    draw_all(tmp_path, number=1, wrong=0)
    plot_training({name: values[:1] for name, values in HISTORY.items()}, tmp_path)


def test_a_digit_taken_for_none_is_a_mistake_too(tmp_path):
    images, labels, probabilities = predictions(20, 0, classes=11)
    probabilities[3] = np.eye(11)[10]
    plot_sample_predictions(images, labels, probabilities, tmp_path)
    assert has_red(tmp_path / "sample_predictions.png")


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path):
    with pytest.raises(OutputError, match=r"loss_plot|accuracy_plot.*cannot be written.*--plots"):
        plot_training(HISTORY, tmp_path / "missing")
