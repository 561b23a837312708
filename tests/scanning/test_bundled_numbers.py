"""The bundled model reads the examples of whole numbers, through the command line."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import digitscan
from digitscan.model.known_images import load_known_digits
from digitscan.model.registry import load_model
from tests.support.command import run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def labels():
    return {row["path"]: row["label"] for row in read_csv(EXAMPLES / "numbers.csv")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    output = tmp_path_factory.mktemp("numbers") / "rows.csv"
    done = run("scan", str(EXAMPLES / "numbers"), "--numbers", "--digit-confidence", "-o", str(output))
    assert done.returncode == 0, done.stderr
    return {row["path"]: row for row in read_csv(output)}


def test_most_examples_are_read_right_and_none_that_is_ok_is_wrong(rows, labels):
    is_right = {path: (row["number"] or "none") == labels[path] for path, row in rows.items()}
    assert is_right.keys() == labels.keys()
    assert sum(is_right.values()) >= 8
    assert [path for path, row in rows.items() if row["status"] == "ok" and not is_right[path]] == []


def test_a_point_and_cells_are_said_in_the_note(rows):
    assert "in a row of 6 cells" in rows["cells.png"]["note"]
    assert rows["blank.png"]["status"] == "no-digit"


def test_each_digit_has_its_confidence(rows):
    for row in rows.values():
        assert len(row["digit_confidence"].split()) == len(row["number"])


def test_single_digits_are_read_where_the_picture_ends_at_their_ink(tmp_path):
    images, labels = load_known_digits()
    for index, (image, label) in enumerate(zip(images[:60], labels[:60].tolist(), strict=True)):
        left, top, width, height = cv2.boundingRect((image > 60).astype(np.uint8))
        crop = Image.fromarray(image[top : top + height, left : left + width])
        if width > 4:  # a 1 would be a picture without paper
            crop.resize((16, 16)).save(tmp_path / f"{label}-{index}.png")  # as USPS and Semeion are
    rows = list(digitscan.scan(tmp_path, digitscan.ScanConfig(numbers=True)))
    assert len(rows) > 45
    assert np.mean([row.number == row.path[0] for row in rows]) > 0.95


def test_another_length_is_never_ok(tmp_path, labels):
    output = tmp_path / "rows.csv"
    run("scan", str(EXAMPLES / "numbers"), "--numbers", "--length", "7", "-o", str(output))
    assert {row["status"] for row in read_csv(output)} <= {"review", "no-digit"}


def test_rows_are_ok_from_the_confidence_that_the_user_gives(tmp_path, labels):
    output = tmp_path / "rows.csv"
    run("scan", str(EXAMPLES / "numbers"), "--numbers", "--min-confidence", "0.9", "-o", str(output))
    ok = [row for row in read_csv(output) if row["status"] == "ok"]
    assert len(ok) >= 4
    assert [row["path"] for row in ok if row["number"] != labels[row["path"]]] == []


def test_the_model_is_small():
    assert load_model("line", numbers=True).path.stat().st_size < 2_000_000
