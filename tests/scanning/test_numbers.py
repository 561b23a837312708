"""A scan of numbers as a user runs it: one row for each picture, the same for any number of workers.

The network has random weights: which digits it finds is chance, but always the same.
"""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import digitscan
from digitscan.errors import ExitCode
from digitscan.scanning.output.csv_format import CsvReader
from tests.imaging.drawing import draw_number
from tests.support.command import run
from tests.support.line_models import provide_line_model

HEADER = ["path", "number", "confidence", "status", "note"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of numbers that this user has trained, with random weights."""
    with provide_line_model(tmp_path_factory.mktemp("model")) as path:
        yield path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of forty numbers, with a broken file, a blank one and one of several lines."""
    folder = tmp_path_factory.mktemp("images") / "fields"
    (folder / "sub").mkdir(parents=True)
    for index in range(40):
        number = str(7 ** (index % 11 + 1))[: 1 + index % 6]
        place = folder if index % 3 else folder / "sub"
        cv2.imwrite(str(place / f"{index:02}.png"), draw_number(number, index))
    (folder / "broken.png").write_bytes((folder / "01.png").read_bytes()[:90])
    cv2.imwrite(str(folder / "blank.png"), np.full((40, 90), 230, np.uint8))
    line = draw_number("407", 0)
    cv2.imwrite(str(folder / "lines.png"), np.vstack([line, line]))
    return folder


@pytest.fixture
def scan(model, images, tmp_path):
    """A function that scans the images for numbers into rows.csv of a new folder."""

    def scan(*options, output="rows.csv", folder=images):
        return run("scan", folder, "--numbers", "--model", model, "-o", output, *options, cwd=tmp_path)

    return scan


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_every_picture_has_one_row_with_its_number(scan, tmp_path):
    done = scan()
    assert done.returncode == ExitCode.UNREADABLE_FILES, done.stderr
    header, *rows = read(tmp_path / "rows.csv")
    assert header == HEADER and len(rows) == 43
    others = {row[0]: (row[1], row[3], row[4]) for row in rows if not row[1]}
    assert others["blank.png"] == ("", "no-digit", "blank")
    assert others["broken.png"] == ("", "error", "truncated PNG")
    assert others["lines.png"] == ("", "no-digit", "several lines: cut it first")
    numbers = [row[1] for row in rows if row[1]]
    assert len({*numbers}) > 5 and all(number.isdigit() for number in numbers)
    summary = done.stderr.decode()
    assert summary.splitlines()[0].startswith("Read by ") and "(line, " in summary.splitlines()[0]
    assert "digits" in summary and "43 images" in summary


@pytest.mark.parametrize(("workers", "chunk_size"), [(1, 1), (2, 5), (3, 512)])
def test_the_bytes_are_the_same_for_any_number_of_workers_and_chunk_size(scan, tmp_path, workers, chunk_size):
    scan("--digit-confidence", output="first.csv")
    scan("--digit-confidence", "--workers", str(workers), "--chunk-size", str(chunk_size))
    assert (tmp_path / "rows.csv").read_bytes() == (tmp_path / "first.csv").read_bytes()
    header, *rows = read(tmp_path / "rows.csv")
    assert header == [*HEADER, "digit_confidence"]
    assert all(len(row[5].split()) == len(row[1]) for row in rows)


def test_the_api_gives_the_rows_of_the_command(scan, tmp_path, model, images):
    scan("--length", "5-8", "--digit-confidence", "--min-confidence", "0")
    settings = {"length": "5-8", "digit_confidence": True, "min_confidence": 0}
    config = digitscan.ScanConfig(model=model, numbers=True, **settings)
    with digitscan.scan(images, config) as predictions:
        rows = list(predictions)
    written = list(CsvReader(tmp_path / "rows.csv"))
    assert [(row.path, row.number, row.status, row.note) for row in rows] == [
        (row.path, row.number, row.status, row.note) for row in written
    ]
    assert all(row.digit is None and row.probabilities is None for row in rows)
    assert {len(row.number) for row in rows if row.status is digitscan.Status.OK} <= {5, 6, 7, 8}
    assert any(row.status is digitscan.Status.OK for row in rows)


def test_a_number_that_does_not_fit_what_is_known_is_never_ok(scan, tmp_path):
    scan("--check", "luhn", "--length", "7,12", "--min-confidence", "0")
    rows = [row for row in read(tmp_path / "rows.csv")[1:] if row[1]]
    assert all(row[3] == "review" for row in rows if len(row[1]) not in {7, 12})
    assert any("7 or 12 digits expected" in row[4] for row in rows)


def test_an_interrupted_scan_of_numbers_goes_on_to_the_same_bytes(scan, tmp_path):
    scan()
    output, manifest = tmp_path / "rows.csv", tmp_path / "rows.csv.json"
    whole = output.read_bytes()
    cut = len(whole) * 2 // 3
    output.write_bytes(whole[:cut])
    stored = manifest.read_bytes()
    manifest.write_bytes(
        stored.replace(b'"written_bytes":                 null', b'"written_bytes":                    0')
    )
    assert manifest.read_bytes() != stored
    done = scan("--resume")
    assert done.returncode == ExitCode.UNREADABLE_FILES, done.stderr
    assert output.read_bytes() == whole


def test_rows_of_numbers_and_of_digits_are_never_mixed(scan, tmp_path, images, model):
    scan()
    run("scan", images, "-o", "digits.csv", cwd=tmp_path)
    done = scan("--update", output="digits.csv")
    assert done.returncode == ExitCode.OUTPUT
    assert b"digits.csv holds single digits: leave out --numbers, or name another file" in done.stderr
    for option in ("--resume", "--retry-errors"):
        done = run("scan", images, "-o", "rows.csv", option, cwd=tmp_path)
        assert done.returncode == ExitCode.OUTPUT
        assert b"rows.csv holds numbers: add --numbers, or name another file" in done.stderr
    done = scan("--resume", "--length", "3")
    assert done.returncode == ExitCode.OUTPUT and b'length was none and is "3"' in done.stderr
    assert json.loads((tmp_path / "rows.csv.json").read_bytes())["numbers"] is True


def test_zeros_that_a_spreadsheet_took_away_are_there_again_after_an_update(scan, tmp_path):
    scan()
    output = tmp_path / "rows.csv"
    whole = output.read_bytes()
    header, *rows = read(output)
    assert any(len(row[1]) > 1 and row[1][0] == "0" for row in rows)
    with output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *([row[0], row[1] and int(row[1]), *row[2:]] for row in rows)])
    assert output.read_bytes().replace(b"\r\n", b"\n") != whole
    done = scan("--update")
    assert b"0 files read again; " not in done.stderr and b"The file as it was is rows.csv.bak" in done.stderr
    assert output.read_bytes() == whole


def test_images_that_have_moved_are_known_by_their_numbers(scan, tmp_path, images):
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
        for path in sorted(images.glob("*.png"))[:12]:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    scan(folder="first")
    whole = (tmp_path / "rows.csv").read_bytes()
    done = scan("--resume", folder="second")
    assert b"The images were in" in done.stderr and (tmp_path / "rows.csv").read_bytes() == whole
    for path in (tmp_path / "third").iterdir():
        cv2.imwrite(str(path), draw_number("31415", 3))
    assert b"those of the same names here are others" in scan("--resume", folder="third").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--numbers", "--probabilities"], "for --numbers there is --digit-confidence"),
        (["--numbers", "--length", "5-3"], "the length '5-3' cannot be"),
        (["--numbers", "--length", "many"], "a length is a count of digits such as 5, 1-3 or 2,4-6"),
        (["--numbers", "--check", "sum"], "the check must be one of luhn"),
        (["--length", "5"], "--length is for whole numbers: add --numbers"),
        (["--digit-confidence"], "--digit-confidence is for whole numbers: add --numbers"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_sentence(images, tmp_path, options, message):
    done = run("scan", images, *options, cwd=tmp_path)
    assert done.returncode == ExitCode.USAGE and message in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_model_of_the_other_kind_is_refused(images, model, tmp_path):
    done = run("scan", images, "--numbers", "--model", "cnn", cwd=tmp_path)
    assert (
        done.returncode == ExitCode.MODEL and b"cnn reads single digits: leave out --numbers" in done.stderr
    )
    done = run("scan", images, "--model", model, cwd=tmp_path)
    assert done.returncode == ExitCode.MODEL and b"reads numbers: give --numbers" in done.stderr


def test_a_csv_of_numbers_can_be_reviewed_and_scored(scan, tmp_path, images):
    scan()
    assert run("review", "rows.csv", cwd=tmp_path).returncode == 0
    header, *rows = read(tmp_path / "rows.csv")
    with (tmp_path / "corrected.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*header, "corrected"], *([*row, row[1] or "none"] for row in rows)])
    done = run("evaluate", "corrected.csv", cwd=tmp_path)
    assert done.returncode == 0 and b"numbers read right" in done.stdout
    assert Path(tmp_path / "review.html").is_file()
