"""`digitscan show --numbers` explains pictures of numbers: the row of a scan, the line, the likely readings.

The network has random weights: which digits it finds is chance, but always the same.
"""

import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import digitscan
from digitscan.errors import ExitCode, ModelError, UsageError
from digitscan.review.config import ShowConfig
from digitscan.review.show import run_show
from tests.imaging.drawing import draw_number
from tests.support.command import run
from tests.support.line_models import provide_line_model
from tests.support.pictures import digit_picture


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with provide_line_model(tmp_path_factory.mktemp("model")) as path:
        yield path


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "amount.png"
    cv2.imwrite(str(path), draw_number("4071", 2))
    return path


def show(*images, model, width=80, **settings):
    """The exit code, and what is printed."""
    file = io.StringIO()
    code = run_show(
        ShowConfig(images, model=model, numbers=True, **settings), Console(file=file, width=width)
    )
    return code, file.getvalue()


def scan(image, model, **settings):
    (row,) = digitscan.scan(image, digitscan.ScanConfig(numbers=True, model=model, **settings))
    return row


@pytest.mark.parametrize("settings", [{}, {"length": 2}, {"check": "luhn"}, {"min_confidence": 0.999}])
def test_the_row_is_that_of_a_scan_and_the_number_the_first_reading(image, model, settings):
    row = scan(image, model, digit_confidence=True, **settings)
    code, text = show(image, model=model, **settings)
    assert code is ExitCode.OK and row.number
    assert f"{row.number}  {row.status}  confidence {row.confidence:.4f}" in text
    pairs = re.findall(r"(\d)=([\d.]+)", text.split("digits: ")[1])
    assert "".join(digit for digit, _ in pairs) == row.number
    assert [float(value) for _, value in pairs] == pytest.approx(row.digit_confidences, abs=1e-4)
    bars = [line.split() for line in text.splitlines() if " % " in line]
    best = next(bar for bar in bars if bar[0] != "no")
    assert best[:2] == [row.number, f"{100 * row.confidence:.2f}"]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_the_line_is_shown_whole_in_any_terminal(image, model, width):
    text = show(image, model=model, width=width)[1]
    assert "what the model saw" in text and "found;" not in text
    assert max(map(len, text.splitlines())) <= max(width, len(str(image)))


def test_a_number_of_one_digit_is_shown_as_the_model_of_single_digits_saw_it(model, tmp_path):
    path = tmp_path / "seven.png"
    digit_picture(60).save(path)
    row = scan(path, model)
    _, text = show(path, model=model)
    assert row.number == "7" and f"7  {row.status}  confidence {row.confidence:.4f}" in text
    bars = [line.split()[0] for line in text.splitlines() if " % " in line]
    assert bars == [*"0123456789", "no"]


def test_the_command_draws_a_png_of_numbers_and_of_what_is_none(image, model, tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((40, 90), 230, np.uint8))
    options = ("--numbers", "--length", "1-5", "--model", model, "-o", "why.png")
    done = run("show", image, "blank.png", *options, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.decode() == "Picture: why.png\n", done.stderr
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.size == (1000, 540)


def test_what_has_no_line_says_why(model, tmp_path):
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((40, 90), 230, np.uint8))
    (tmp_path / "text.png").write_text("no image")
    code, text = show(tmp_path / "blank.png", tmp_path / "text.png", model=model)
    assert code is ExitCode.UNREADABLE_FILES
    assert "no-digit  blank" in text and "error  not an image: text" in text
    assert "what the model saw" not in text


def test_a_model_of_single_digits_and_rules_without_numbers_are_refused(image):
    with pytest.raises(ModelError, match="cnn reads single digits: leave out --numbers"):
        show(image, model="cnn")
    with pytest.raises(UsageError, match="--check is for whole numbers: add --numbers"):
        ShowConfig((image,), check="luhn")
