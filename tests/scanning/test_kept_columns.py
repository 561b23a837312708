"""What people write into an output stays there, whatever a later scan does to it."""

import csv
import io
import re
import resource
import shutil

import pytest

from digitscan.scanning.output.csv_format import CsvReader
from tests.support.command import run
from tests.support.outputs import leave_as_killed
from tests.support.pictures import digit_picture

OPTIONS = ("--resume", "--retry-errors", "--update")


@pytest.fixture
def scanned(tmp_path):
    """The rows of four files in two folders, of which one could not be read, but can be now."""
    images = tmp_path / "images"
    (images / "b").mkdir(parents=True)
    for name in ("1.png", "2.png", "b/0.png"):
        digit_picture().save(images / name)
    (images / "b" / "3.png").touch()
    assert scan(tmp_path).returncode == 3
    digit_picture().save(images / "b" / "3.png")
    return tmp_path / "rows.csv"


def scan(folder, *options):
    return run("scan", "images", "-o", "rows.csv", *options, cwd=folder)


def cells_of(path, delimiter=","):
    return list(
        csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=delimiter)
    )


def save(path, cells, mark="", **options):
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(cells)
    path.write_bytes((mark + text.getvalue()).encode())


def correct(output, **options):
    """Add two columns as a person does, and save them as a spreadsheet does."""
    header, *rows = cells_of(output)
    rows = [[*row, "4" if row[0] == "2.png" else "", f"seen {row[0]}"] for row in rows]
    save(output, [[*header, "corrected", "Anna's remark"], *rows], **options)


def kept(output):
    header, *rows = cells_of(output)
    assert header == ["path", "digit", "confidence", "status", "note", "corrected", "Anna's remark"]
    return {row[0]: (row[1], row[5], row[6]) for row in rows}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "saved",
    [
        {"lineterminator": "\n"},
        {"delimiter": ";", "mark": "\ufeff"},
        {"delimiter": "\t", "quoting": csv.QUOTE_ALL},
    ],
)
def test_columns_that_people_add_are_kept_and_new_rows_have_them_empty(scanned, option, saved):
    correct(scanned, **saved)
    digit_picture().save(scanned.parent / "images" / "b" / "9.png")
    done = scan(scanned.parent, option)
    assert done.returncode == (3 if option == "--resume" else 0) or option == "--update", done.stderr
    third = "7" if option != "--resume" else ""
    assert kept(scanned) == {
        "1.png": ("7", "", "seen 1.png"),
        "2.png": ("7", "4", "seen 2.png"),
        "b/0.png": ("7", "", "seen b/0.png"),
        "b/3.png": (third, "", "seen b/3.png"),
        "b/9.png": ("7", "", ""),
    }
    assert [row.path for row in CsvReader(scanned)] == [*kept(scanned)]


@pytest.mark.parametrize("option", OPTIONS)
def test_rows_that_people_have_sorted_are_in_order_again_and_none_is_read_twice(scanned, option):
    header, *rows = cells_of(scanned)
    save(scanned, [header, *rows[::-1]])
    edited = scanned.read_bytes()
    done = scan(scanned.parent, option)
    assert [row.path for row in CsvReader(scanned)] == ["1.png", "2.png", "b/0.png", "b/3.png"]
    assert b"rows.csv was edited" in done.stderr
    assert (scanned.parent / "rows.csv.bak").read_bytes() == edited


def test_an_output_of_a_killed_scan_that_a_spreadsheet_has_saved_goes_on(scanned):
    whole = scanned.read_bytes()
    lines = whole.splitlines(keepends=True)
    leave_as_killed(scanned, b"".join(lines[:3]) + lines[3][:4])
    header, *rows = cells_of(scanned)
    save(scanned, [header, *rows[:-1], [*rows[-1], "", "", "", ""]], delimiter=";")
    assert scan(scanned.parent, "--resume").returncode == 0
    assert [row.path for row in CsvReader(scanned)] == ["1.png", "2.png", "b/0.png", "b/3.png"]


def test_an_output_that_people_have_changed_is_kept_when_it_is_overwritten(scanned):
    written = scanned.read_bytes()
    done = scan(scanned.parent, "--overwrite")
    assert not (scanned.parent / "rows.csv.bak").exists() and b".bak" not in done.stderr
    for name in ("rows.csv.bak", "rows.csv.bak-2"):
        correct(scanned)
        edited = scanned.read_bytes()
        assert f"it is kept as {name}".encode() in scan(scanned.parent, "--overwrite").stderr
        assert (scanned.parent / name).read_bytes() == edited
    assert scan(scanned.parent, "--overwrite").returncode == 0
    assert not (scanned.parent / "rows.csv.bak-3").exists()
    assert scanned.read_bytes() != written  # 3.png can be read now


def test_an_output_of_a_killed_scan_or_an_empty_one_is_overwritten_without_a_copy(scanned):
    manifest = scanned.with_name("rows.csv.json")
    length = f'"written_bytes": {50:20}'
    manifest.write_text(re.sub(r'"written_bytes": .{20}', length, manifest.read_text()))
    scanned.write_bytes(scanned.read_bytes() + b"b/4.pn")
    scan(scanned.parent, "--overwrite")
    scanned.write_bytes(b"")
    scan(scanned.parent, "--overwrite")
    assert not list(scanned.parent.glob("*.bak*"))


def test_no_copy_is_left_of_an_edited_output_that_cannot_be_written_anew(scanned):
    """A limit on the size of files stands for a full disk: the copy fits, and the wider new file does not."""
    header, *rows = cells_of(scanned)
    save(scanned, [header, *([*row[:2], row[2] and "1", *row[3:]] for row in rows)], delimiter=";")
    text = scanned.read_text()
    size = len(text)
    done = run(
        "scan",
        "images",
        "-o",
        "rows.csv",
        "--resume",
        cwd=scanned.parent,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == 6, done.stderr
    assert scanned.read_text() == text
    assert sorted(path.name for path in scanned.parent.iterdir()) == ["images", "rows.csv", "rows.csv.json"]


def test_an_output_that_is_started_again_is_not_edited_any_more(scanned):
    """A row of an edited output that reads differently would be review."""
    manifest = scanned.with_name("rows.csv.json")
    correct(scanned)
    scan(scanned.parent, "--resume")
    assert '"edited":  true' in manifest.read_text()
    correct(scanned)
    scan(scanned.parent, "--overwrite")
    assert '"edited": false' in manifest.read_text()


def test_a_spreadsheet_s_edits_of_a_killed_scan_count_as_edits(scanned):
    manifest = scanned.with_name("rows.csv.json")
    length = f'"written_bytes": {50:20}'
    manifest.write_text(re.sub(r'"written_bytes": .{20}', length, manifest.read_text()))
    scanned.write_text(scanned.read_text().replace("1.png,7", "1.png,4"))
    scan(scanned.parent, "--resume")
    assert '"edited":  true' in manifest.read_text()


def test_an_output_without_its_manifest_is_kept_when_it_is_overwritten(scanned):
    written = scanned.read_bytes()
    scanned.with_name("rows.csv.json").unlink()
    assert scan(scanned.parent, "--overwrite").returncode == 0
    assert (scanned.parent / "rows.csv.bak").read_bytes() == written


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_images_that_were_moved_or_copied_go_on_and_that_is_said(scanned, tmp_path, move):
    move(tmp_path / "images", tmp_path / "elsewhere")
    digit_picture().save(tmp_path / "elsewhere" / "b" / "9.png")
    done = run("scan", "elsewhere", "-o", "rows.csv", "--resume", cwd=tmp_path)
    assert done.returncode == 3 and f"The images were in {tmp_path / 'images'}".encode() in done.stderr
    assert [row.path for row in CsvReader(scanned)][-1] == "b/9.png"
    done = run("scan", "elsewhere", "-o", "rows.csv", "--retry-errors", cwd=tmp_path)
    assert done.returncode == 0 and b"The images were" not in done.stderr


def test_another_folder_with_other_files_is_refused(scanned, tmp_path):
    (tmp_path / "other").mkdir()
    digit_picture().save(tmp_path / "other" / "a.png")
    before = scanned.read_bytes(), scanned.with_name("rows.csv.json").read_bytes()
    for option in OPTIONS:
        done = run("scan", "other", "-o", "rows.csv", option, cwd=tmp_path)
        assert done.returncode == 6
        assert b"of its first 4, 0 are here as well. Name another file" in done.stderr
    assert (scanned.read_bytes(), scanned.with_name("rows.csv.json").read_bytes()) == before


def test_another_folder_with_other_images_of_the_same_names_is_refused(scanned, tmp_path):
    for name in ("1.png", "2.png", "b/0.png", "b/3.png"):
        (tmp_path / "other" / name).parent.mkdir(parents=True, exist_ok=True)
        digit_picture().rotate(180).save(tmp_path / "other" / name)
    correct(scanned, delimiter=";")
    before = scanned.read_bytes(), scanned.with_name("rows.csv.json").read_bytes()
    for option in OPTIONS:
        done = run("scan", "other", "-o", "rows.csv", option, cwd=tmp_path)
        assert done.returncode == 6
        assert (
            b"those of the same names here are others: of 3 that were tried, 0 read the same" in done.stderr
        )
    assert (scanned.read_bytes(), scanned.with_name("rows.csv.json").read_bytes()) == before
    assert not list(tmp_path.glob("*.bak*"))


def test_another_version_with_the_same_preprocessing_goes_on(scanned):
    manifest = scanned.with_name("rows.csv.json")
    manifest.write_text(manifest.read_text().replace('"digitscan": "', '"digitscan": "0.'))
    assert scan(scanned.parent, "--retry-errors").returncode == 0
