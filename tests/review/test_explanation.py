"""Explanations hold the row that a scan gives, and the pictures that led to it."""

import os

import numpy as np
import pytest

import digitscan
from digitscan.imaging.findings import Finding
from digitscan.model.registry import load_model
from digitscan.prediction import Status
from digitscan.review.explanation import _parse_row, explain_images
from digitscan.workers.protocol import FileLocation
from tests.support.command import PACKAGE_FOLDER

EXAMPLES = PACKAGE_FOLDER / "examples" / "digits"


@pytest.fixture(scope="module")
def model():
    return load_model("cnn")


def explain(paths, model, **options):
    return explain_images([FileLocation(str(path)) for path in paths], model, **options)


def test_each_example_has_the_row_of_a_scan(model):
    rows = list(digitscan.scan(EXAMPLES, digitscan.ScanConfig(model="cnn")))
    explanations = explain([EXAMPLES / row.path for row in rows], model)
    for row, explanation in zip(rows, explanations, strict=True):
        prediction = explanation.prediction
        assert prediction.path == (EXAMPLES / row.path).as_posix()
        assert (prediction.digit, prediction.status, prediction.note) == (row.digit, row.status, row.note)
        assert prediction.confidence == pytest.approx(row.confidence) if row.confidence else True


def test_the_doubtful_examples_need_review_each_for_another_reason(model):
    explanations = explain(sorted((EXAMPLES.parent / "doubtful").iterdir()), model)
    assert [each.prediction.status for each in explanations] == [Status.REVIEW] * 3
    reasons = ("point left out", "cut by the edge", "doubtful")
    assert all(reason in each.prediction.note for reason, each in zip(reasons, explanations, strict=True))


def test_the_pictures_are_what_was_seen(model):
    (explanation,) = explain([EXAMPLES / "thick-pen.png"], model)
    seen = digitscan.preprocess(explanation.picture)
    assert np.array_equal(seen.pixels, explanation.model_input)
    assert (explanation.findings == Finding.DIGIT).any()
    names = [name for name, _ in explanation.probabilities]
    assert names == [*"0123456789", "no digit"]
    assert sum(probability for _, probability in explanation.probabilities) == pytest.approx(1.0)
    assert dict(explanation.probabilities)[str(explanation.prediction.digit)] == pytest.approx(
        explanation.prediction.confidence
    )


def test_a_model_of_ten_classes_has_ten_probabilities():
    (explanation,) = explain([EXAMPLES / "thick-pen.png"], load_model("mlp"))
    assert [name for name, _ in explanation.probabilities] == [*"0123456789"]


def test_a_large_picture_is_reduced_and_a_small_one_is_not(model, tmp_path, picture):
    picture.resize((1200, 900)).save(tmp_path / "large.png")
    picture.save(tmp_path / "small.png")
    large, small = explain([tmp_path / "large.png", tmp_path / "small.png"], model)
    assert large.picture.shape == (300, 400)
    assert small.picture.shape == (64, 64)


def test_what_holds_no_digit_has_a_picture_and_no_probabilities(model, tmp_path):
    (explanation,) = explain([EXAMPLES / "blank.png"], model)
    assert explanation.prediction.status is Status.NO_DIGIT
    assert explanation.picture is not None and explanation.model_input is None
    assert explanation.probabilities == ()


def test_a_file_that_is_no_image_has_only_its_row(model, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (explanation,) = explain([tmp_path / "text.png"], model)
    assert explanation.prediction.status is Status.ERROR
    assert explanation.prediction.note == "not an image: text"
    assert explanation.picture is None


def test_a_name_that_is_not_utf8_is_shown_with_escapes(model, tmp_path, picture):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    picture.save(os.fsdecode(path))
    (explanation,) = explain([tmp_path / os.fsdecode(b"caf\xe9.png")], model)
    assert explanation.prediction.path.endswith(r"caf\xe9.png")
    assert explanation.prediction.note.endswith("name is not UTF-8")


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        [[11, 0.5, "ok", "", None], None, None, None, None],
        [[True, 0.5, "fine", "", None], None, None, None, None],
        [[1, "much", "ok", "", None], None, None, None, None],
        [[1, 0.5, "ok", "", None], None, [3, 3, "AAAA"], None, None],
        [[1, 0.5, "ok", "", None], ["?"], None, None, None],
        [[1, 0.5, "ok", "", None], [float("nan")], None, None, None],
        [[1, 10**400, "ok", "", None], None, None, None, None],
        [[1, -5, "ok", "", None], None, None, None, None],
        [[1, 0.5, "ok", "", None], None, [0, 0, ""], None, None],
        [[1, 0.5, "ok", "", None], None, None, [1, 1, "CQ=="], None],
        [[1, 0.5, "ok", "", None], None, None, None, [1, 1, "AA=="]],
    ],
)
def test_what_is_no_row_of_a_worker_is_refused(values):
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        _parse_row(values)


NUMBER_ROW = [None, 0.5, "review", "", None, "407", [0.9, 0.8, 0.7]]


def test_a_row_of_a_number_has_its_readings_for_classes():
    explained = _parse_row([NUMBER_ROW, [0.5, 0.3], None, None, None, ["407", ""]])
    assert explained.read == "407" and explained.digits == "4=0.9000, 0=0.8000, 7=0.7000"
    assert explained.probabilities == (("407", 0.5), ("no digits", 0.3))


@pytest.mark.parametrize(
    "values",
    [
        [NUMBER_ROW, [0.5], None, None, None, ["4.5"]],
        [NUMBER_ROW, [0.5], None, None, None, [407]],
        [NUMBER_ROW, [0.5], None, None, None, [None]],
        [NUMBER_ROW, [0.5, 0.3], None, None, None, ["407"]],
        [NUMBER_ROW, [0.5], None, None, [1, 1, "AA=="], None],
        [NUMBER_ROW, [1.5], None, None, None, ["407"]],
        [NUMBER_ROW, [0.5], None, None, [1, 1, "AA=="], ["407"]],
        [NUMBER_ROW, None, None, None, [0, 32, ""], None],
        [[None, 0.5, "review", "", None, "x", None], None, None, None, None, None],
    ],
)
def test_what_is_no_row_of_a_number_is_refused(values):
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        _parse_row(values)
