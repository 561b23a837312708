"""Corrections are read from a corrected CSV or a folder by label, or refused with one clear sentence."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import DataError
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.training.data.corrections import MIN_CORRECTIONS, read_corrections
from tests.support.pictures import encode_pages


@pytest.fixture
def folder(mnist, tmp_path):
    """A folder with eight images, 0.png to 7.png, and an empty sheet, 8.png."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(8):
        Image.fromarray(mnist.x_train[index]).save(folder / f"{index}.png")
    Image.new("L", (28, 28), 255).save(folder / "8.png")
    return folder


@pytest.fixture
def labels(mnist):
    return mnist.y_train[:8].tolist()


def write_csv(path, rows, columns=("path", "digit", "corrected")):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def fail(path, reason):
    raise AssertionError(f"{path}: {reason}")


def test_the_corrected_rows_of_a_csv_are_read_as_a_scan_preprocesses_them(folder, labels, mnist):
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    corrections = read_corrections(write_csv(folder / "c.csv", [*rows, ("8.png", "", "")]), None, 11, fail)
    assert corrections.labels.tolist() == labels
    expected = np.stack([result.pixels for result in preprocess_batch(mnist.x_train[:8])])
    assert np.array_equal(corrections.images, expected)


def test_rows_that_nobody_looked_at_are_left_out(folder, labels):
    rows = [(f"{index}.png", 1, label if index else "") for index, label in enumerate(labels)]
    corrections = read_corrections(write_csv(folder / "c.csv", rows), None, 11, fail)
    assert corrections.labels.tolist() == labels[1:]


def test_a_folder_by_label_is_read(folder, labels):
    by_label = folder / "by label"
    for index, label in enumerate(labels):
        (by_label / str(label)).mkdir(parents=True, exist_ok=True)
        (folder / f"{index}.png").rename(by_label / str(label) / f"{index}.png")
    assert sorted(read_corrections(by_label, None, 11, fail).labels.tolist()) == sorted(labels)


def test_the_images_may_have_moved(folder, labels, tmp_path):
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    path = write_csv(tmp_path / "c.csv", rows)
    assert read_corrections(path, folder, 11, fail).labels.tolist() == labels
    left_out = []
    with pytest.raises(DataError, match=r"0 corrected images that can be read.* say with --images"):
        read_corrections(path, None, 11, lambda path, reason: left_out.append(path.name))
    assert left_out == [f"{index}.png" for index in range(8)]


def test_an_image_without_a_digit_has_the_label_10_or_teaches_nothing(folder, labels):
    """A sheet in which preprocessing finds nothing is right already."""
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    rows[0] = ("0.png", 1, "none")
    rows.append(("8.png", "", "none"))
    corrections = read_corrections(write_csv(folder / "c.csv", rows), None, 11, fail)
    assert corrections.labels.tolist() == [10, *labels[1:]]


def test_an_image_in_which_a_digit_is_said_to_be_and_none_is_found_is_named(folder, labels):
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    left_out = []
    read_corrections(
        write_csv(folder / "c.csv", [*rows, ("8.png", "", 3)]),
        None,
        11,
        lambda path, reason: left_out.append((path.name, reason)),
    )
    assert left_out == [("8.png", "blank")]


def test_a_missing_image_that_shows_no_digit_is_named_too(folder, labels):
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    left_out = []
    read_corrections(
        write_csv(folder / "c.csv", [*rows, ("9.png", "", "none")]),
        None,
        11,
        lambda path, reason: left_out.append(path.name),
    )
    assert left_out == ["9.png"]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("0.png", 1)], ("path", "digit"), "no column named corrected: correct the rows of a scan first"),
        ([("0.png", 1)], ("file", "corrected"), "no column named path"),
        (
            [("0.png", 1, "")],
            ("path", "digit", "corrected"),
            "labels no image: its column corrected is",
        ),
        ([("0.png", 1, "seven")], ("path", "digit", "corrected"), "line 2: 'seven' is no label"),
        (
            [("0.png", 1, 7), ("0.png", 1, 3)],
            ("path", "digit", "corrected"),
            "line 3: 0.png has two different labels: remove one of the rows",
        ),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(rows, columns, message, folder):
    with pytest.raises(DataError, match=message):
        read_corrections(write_csv(folder / "c.csv", rows, columns), None, 11, fail)


def test_too_few_corrections_are_refused(folder, labels):
    rows = [(f"{index}.png", 1, labels[index]) for index in range(MIN_CORRECTIONS - 1)]
    with pytest.raises(DataError, match=rf"{MIN_CORRECTIONS - 1} corrected images .*, {MIN_CORRECTIONS} are"):
        read_corrections(write_csv(folder / "c.csv", rows), None, 11, fail)


def test_a_source_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match=r"nowhere.csv does not exist"):
        read_corrections(Path("nowhere.csv"), None, 11, fail)


def test_images_without_a_digit_are_left_out_for_a_model_that_knows_digits_only(folder, labels):
    rows = [(f"{index}.png", 1, label) for index, label in enumerate(labels)]
    left_out = []
    corrections = read_corrections(
        write_csv(folder / "c.csv", [("0.png", 1, "none"), *rows[1:]]),
        None,
        10,
        lambda path, reason: left_out.append((path.name, reason)),
    )
    assert corrections.labels.tolist() == labels[1:]
    assert left_out == [("0.png", "the model knows digits only, and this is said to be none")]


def test_what_the_model_cannot_learn_does_not_count(folder, labels):
    """With one image left, cross-validation would have nothing to learn from."""
    rows = [(f"{index}.png", 1, "none" if index else labels[0]) for index in range(8)]
    with pytest.raises(DataError, match=rf"1 corrected images .*, {MIN_CORRECTIONS} are needed"):
        read_corrections(write_csv(folder / "c.csv", rows), None, 10, lambda path, reason: None)


def test_pages_are_read_where_their_rows_say(folder, labels, mnist):
    pages = [Image.fromarray(image) for image in mnist.x_train[:8]]
    (folder / "forms.tif").write_bytes(encode_pages(pages, "TIFF"))
    rows = [(f"forms.tif#{index + 1}", 1, label) for index, label in enumerate(labels)]
    corrections = read_corrections(write_csv(folder / "c.csv", rows[::-1]), None, 11, fail)
    assert corrections.labels.tolist() == labels[::-1]
    expected = np.stack([result.pixels for result in preprocess_batch(mnist.x_train[:8])])
    assert np.array_equal(corrections.images, expected[::-1])


def test_the_pages_of_a_file_in_a_folder_by_label_have_its_label(folder, mnist):
    images = mnist.x_train[:200][mnist.y_train[:200] == 3][:6]
    (folder / "by label" / "3").mkdir(parents=True)
    pages = [Image.fromarray(image) for image in images]
    (folder / "by label" / "3" / "forms.tif").write_bytes(encode_pages(pages, "TIFF"))
    corrections = read_corrections(folder / "by label", None, 11, fail)
    assert corrections.labels.tolist() == [3] * 6
