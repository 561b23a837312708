"""The plots of a training run: the files, what they show, and that the same figures give the same bytes."""

import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import OutputError
from digitscan.training.plots import (
    PLOT_NAMES,
    plot_confusion_matrix,
    plot_run,
    plot_sample_predictions,
)

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


def has_red(png):
    """Whether anything in the picture is in the colour of the mistakes."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return bool(((pixels[..., 0] > 150) & (pixels[..., 1:].max(axis=-1) < 90)).any())


def draw_all(history=HISTORY, **more):
    return plot_run(history, *predictions(**({"number": 60, "wrong": 3} | more)))


def test_four_small_pictures_are_drawn():
    pngs = draw_all()
    assert tuple(pngs) == PLOT_NAMES
    for png in pngs.values():
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG" and min(image.size) >= 250
            assert not image.info.keys() & {"Software", "Creation Time"}
        assert len(png) < 150_000


def test_the_same_figures_give_the_same_bytes_whatever_the_folder_and_the_environment_say(
    tmp_path, monkeypatch
):
    """A `matplotlibrc` may come with somebody's data: with this one, LaTeX would be started."""
    before = draw_all()
    (tmp_path / "latex").write_text(f"#!/bin/sh\ntouch {tmp_path}/trap\n")
    (tmp_path / "latex").chmod(0o755)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: red\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "module://trap")
    monkeypatch.chdir(tmp_path)
    assert draw_all() == before
    assert not (tmp_path / "trap").exists()


def test_matplotlib_keeps_its_list_of_fonts_in_our_cache_folder_and_nothing_in_the_home_folder(
    tmp_path, monkeypatch
):
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    assert draw_all(number=1, wrong=0)
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.parent == tmp_path / "cache" / "digitscan" / "matplotlib"
    assert "MPLCONFIGDIR" not in os.environ


def test_plots_are_drawn_where_no_cache_can_be_made_and_nothing_stays(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "temporary" / "file" / "cache"))
    (tmp_path / "temporary" / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert draw_all(number=1, wrong=0)
    assert [path.name for path in (tmp_path / "temporary").iterdir()] == ["file"]


def test_a_pipe_named_matplotlibrc_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "matplotlibrc")
    monkeypatch.chdir(tmp_path)
    assert draw_all(number=1, wrong=0)


@pytest.mark.parametrize("wrong", [0, 1, 60])
def test_only_mistakes_are_red(wrong):
    images, labels, probabilities = predictions(60, wrong)
    assert has_red(plot_sample_predictions(images, labels, probabilities)) == (wrong > 0)


def test_one_image_and_one_epoch_are_enough():
    assert draw_all({name: values[:1] for name, values in HISTORY.items()}, number=1, wrong=0)


def test_a_digit_taken_for_none_is_a_mistake_too():
    images, labels, probabilities = predictions(20, 0, classes=11)
    probabilities[3] = np.eye(11)[10]
    assert has_red(plot_sample_predictions(images, labels, probabilities))
    assert plot_confusion_matrix(labels, probabilities.argmax(axis=1))


def test_a_drawing_process_that_cannot_be_started_is_an_error_in_words(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/missing/python")
    with pytest.raises(OutputError, match=r"the plots cannot be drawn \(.*\); the model is saved"):
        draw_all()
