"""Explanations fit into any terminal, say the same without colour, and cannot be abused by a file's name."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from digitscan.prediction import Prediction, Status
from digitscan.review.explanation import CLASS_NAMES, Explanation
from digitscan.review.terminal import print_explanation


@pytest.fixture
def explanation():
    """A seven of two strokes with a line above it."""
    model_input = np.zeros((28, 28), np.uint8)
    model_input[5:8, 6:22] = model_input[5:24, 19:22] = 255
    findings = np.kron(model_input // 255, np.ones((2, 2), np.uint8))
    picture = np.where(findings > 0, 40, 230).astype(np.uint8)
    findings[1, :] = 2
    probabilities = tuple((name, 0.9 if name == "7" else 0.01) for name in CLASS_NAMES)
    prediction = Prediction("form/7.png", 7, 0.9, Status.REVIEW, "line removed; doubtful")
    return Explanation(prediction, probabilities, picture, findings, model_input)


def render(explanation, width=80, encoding="utf-8", **options):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, highlight=False, **options)
    print_explanation(explanation, console)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [20, 40, 80, 81, 120, 300])
def test_no_line_is_wider_than_the_terminal(explanation, width):
    lines = render(explanation, width).splitlines()
    assert max(map(len, lines)) <= width


def test_80_columns_show_all_three_pictures_side_by_side(explanation):
    text = render(explanation)
    (titles,) = [line for line in text.splitlines() if "what the model saw" in line]
    assert "the picture" in titles and "found; x left out" in titles


def test_without_colour_strokes_are_shades_and_what_is_left_out_is_crossed(explanation):
    text = render(explanation)
    assert "\x1b" not in text
    rows = text.splitlines()[4:18]
    picture, findings, seen = (
        [row[start:end] for row in rows] for start, end in ((0, 24), (26, 50), (52, 80))
    )
    assert "x" * 24 in findings[0]
    assert all("█" in "".join(lines) for lines in (picture, findings, seen))
    assert sum(line[19:22] == "███" for line in seen) >= 8  # the long stroke of the seven


def test_in_colour_each_character_is_two_pixels(explanation):
    text = render(explanation, force_terminal=True, color_system="truecolor")
    assert "\x1b[38;2;255;255;255;48;2;255;255;255m▀" in text
    assert "48;2;215;60;60m▀" in text or "38;2;215;60;60;" in text
    assert "red left out" in text


def test_a_terminal_without_unicode_gets_ascii(explanation):
    text = render(explanation, encoding="ascii")
    assert "#" in text or "@" in text
    assert "=" * 27 in text


def test_the_row_and_all_probabilities_are_said(explanation):
    text = render(explanation)
    assert "7  review  confidence 0.9000  line removed; doubtful" in text
    assert "90.00 %" in text
    assert [line.split()[0] for line in text.splitlines() if " %" in line] == [*"0123456789", "no"]


def test_a_file_that_cannot_be_read_is_two_lines(explanation):
    unread = Explanation(Prediction("x.png", None, None, Status.ERROR, "not an image: text"))
    assert render(unread).split("\n") == ["x.png", "error  not an image: text", "", ""]


def test_names_and_notes_control_neither_the_terminal_nor_the_markup(explanation):
    prediction = replace(explanation.prediction, path="\x1b[2J[red]a\u202e.png", note="\x1b]0;title\x07")
    text = render(replace(explanation, prediction=prediction))
    assert text.startswith(r"\x1b[2J[red]a\u202e.png")
    assert "\x1b" not in text and "\x07" not in text
