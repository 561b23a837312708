"""The rows of a CSV keep all their cells, and their pictures are found where they are."""

import os
from pathlib import Path

import pytest

from digitscan.errors import DataError
from digitscan.review.rows import read_rows
from tests.support.command import run
from tests.support.pictures import make_many_pictures

HEADER = "path,digit,confidence,status,note\n"


@pytest.fixture
def write(tmp_path):
    """A function that writes a CSV and returns its path."""

    def write(text):
        path = tmp_path / "predictions.csv"
        path.write_bytes(text.encode())
        return path

    return write


def paths_of(rows):
    return [Path(picture.path) for picture in rows.pictures]


def test_every_cell_is_kept_also_in_columns_that_people_added(write):
    header = "\ufeffPath,digit,confidence,status,note,My remark\n"
    rows = read_rows(write(header + '\'=1.png,7,0.9990,ok,"a,b",so so\n'), Path("x"))
    assert rows.header == ("Path", "digit", "confidence", "status", "note", "My remark")
    assert rows.cells == [["'=1.png", "7", "0.9990", "ok", "a,b", "so so"]]
    assert paths_of(rows) == [Path("x/=1.png")]
    assert rows.has_mark and rows.ok_indices == [0]


@pytest.mark.parametrize("arguments", [["images"], ["images/a.png", "more"], ["images", "more/sub/c.png"]])
def test_pictures_are_found_where_the_scan_found_them(tmp_path, picture, arguments):
    for name in ("images/a.png", "more/sub/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "out").mkdir()
    assert run("scan", *arguments, "-o", "out/rows.csv", cwd=tmp_path).returncode == 0
    rows = read_rows(tmp_path / "out" / "rows.csv", None)
    assert rows.pictures and all(Path(picture.path).is_file() for picture in rows.pictures)


def test_the_pictures_of_a_long_list_are_found_from_the_folder_of_the_scan(tmp_path):
    many = make_many_pictures(tmp_path / "many", 1001)
    (tmp_path / "out").mkdir()
    names = "\n".join(f"many/{path.name}" for path in many.iterdir())
    words = ("scan", "--files-from", "-", "-o", "out/rows.csv", "--quiet")
    assert run(*words, cwd=tmp_path, input=names.encode()).returncode == 0
    rows = read_rows(tmp_path / "out" / "rows.csv", None)
    assert len(rows.pictures) == 1001
    assert all(Path(picture.path).is_file() for picture in rows.pictures)


def test_digits_that_a_spreadsheet_changed_are_as_a_scan_writes_them(write):
    header = "path,digit,confidence,status,note,corrected\n"
    rows = read_rows(write(header + "a.png,7.0,0.9,OK,,\nb.png,,,no-digit,,X\n"), Path("x"))
    assert [row[1:] for row in rows.cells] == [
        ["7", "0.9", "ok", "", ""],
        ["", "", "no-digit", "", "none"],
    ]


def test_a_manifest_of_something_else_is_not_followed(write, tmp_path):
    path = write(HEADER + "b.png,7,0.9,ok,\n")
    for text in ("[]", "{}", '{"places": [], "roots": []}', '{"places": 1, "roots": []}', "\0"):
        (tmp_path / "predictions.csv.json").write_text(text)
        assert paths_of(read_rows(path, None)) == [tmp_path / "b.png"]


def test_pictures_that_were_moved_are_found_in_the_named_folder(write):
    rows = read_rows(write(HEADER + "a/b.png,7,0.9,ok,\n"), Path("elsewhere"))
    assert paths_of(rows) == [Path("elsewhere/a/b.png")]


def test_without_a_manifest_pictures_are_looked_for_beside_the_csv(write, tmp_path):
    assert paths_of(read_rows(write(HEADER + "b.png,7,0.9,ok,\n"), None)) == [tmp_path / "b.png"]


def test_a_name_that_is_not_utf8_is_found(write):
    rows = read_rows(write(HEADER + "caf\\xe9.png,7,0.9,ok,name is not UTF-8\n"), Path("x"))
    assert os.fsencode(rows.pictures[0].path) == b"x/caf\xe9.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "is not a CSV of digitscan: it has no column named path or digit"),
        (HEADER, "has no rows"),
        (HEADER + "a.png,7,0.9,fine,\n", "line 2: 'fine' is no status"),
        ("path,digit,confidence,status,note,corrected\na.png,7,0.9,ok,,12\n", "line 2: '12' is no label"),
        ("path,path,digit\n", "has two columns of one name"),
    ],
)
def test_what_is_no_csv_of_a_scan_is_refused_with_its_line(write, text, message):
    with pytest.raises(DataError) as caught:
        read_rows(write(text), None)
    assert message in str(caught.value)


def test_each_page_of_a_file_is_found_and_a_file_that_is_named_like_one(write):
    rows = read_rows(
        write(HEADER + "a.tif#1,7,0.9,ok,\na.tif#2,,,no-digit,blank\nb##2,7,0.9,ok,\n"), Path("x")
    )
    assert paths_of(rows) == [Path("x/a.tif"), Path("x/a.tif"), Path("x/b#2")]
    assert [picture.page for picture in rows.pictures] == [1, 2, 0]


def test_numbers_that_a_spreadsheet_changed_are_as_a_scan_and_the_page_write_them(write):
    header = "path,number,confidence,status,note,corrected\n"
    rows = read_rows(
        write(
            header
            + "a.png,7.0,0.9,OK,in full: 007,7\n"
            + "b.png,,,no-digit,,X\n"
            + "c.png,007,0.9,ok,in full: 007,7\n"
            + "d.png,12,0.9,ok,,\n"
        ),
        Path("x"),
    )
    assert rows.has_numbers and rows.ok_indices == [0, 2, 3]
    assert [(row[1], row[3], row[5]) for row in rows.cells] == [
        ("007", "ok", "007"),
        ("", "no-digit", "none"),
        ("007", "ok", "7"),
        ("12", "ok", ""),
    ]


def test_a_cell_that_is_no_number_is_refused_with_its_line(write):
    with pytest.raises(DataError, match=r"line 2: '4\.5' is no number"):
        read_rows(write("path,number,confidence,status,note\na.png,4.5,0.9,ok,\n"), Path("x"))
