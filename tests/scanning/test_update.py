"""An output is brought up to date: what is new or has changed is read, and all rows are in order."""

import dataclasses
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from digitscan.prediction import ImageFile, Prediction, Status
from digitscan.scanning.output.csv_format import CsvReader, CsvRow
from digitscan.scanning.update import LastRead, UpdateCounts, find_files_to_read, merge_rows
from tests.support.command import run
from tests.support.pictures import digit_picture

LONG_AGO = time.time() - 100_000


@pytest.fixture
def scanned(tmp_path):
    """The rows of six files that were read long after they were made."""
    images = tmp_path / "images"
    (images / "b").mkdir(parents=True)
    for name in ("1.png", "3.png", "5.png", "b/1.png", "b/3.png"):
        digit_picture().save(images / name)
    (images / "b" / "5.png").touch()
    assert scan(tmp_path).returncode == 3
    return tmp_path / "rows.csv"


def scan(folder, *options):
    return run("scan", "images", "-o", "rows.csv", *options, cwd=folder)


def read_later(output):
    """Let the manifest say that the files were read so late that they have not changed since."""
    manifest = output.with_name("rows.csv.json")
    lines = manifest.read_text().splitlines(keepends=True)
    lines = [f' "started": {time.time() + 100},\n' if '"started"' in line else line for line in lines]
    manifest.write_text("".join(lines))


def blank():
    return Image.new("L", (40, 40), 255)


def test_new_files_get_rows_wherever_they_sort_and_the_csv_is_that_of_a_new_scan(scanned):
    read_later(scanned)
    for name in ("0.png", "4.png", "9.png", "b/0.png", "b/2.png", "c/1.png"):
        (scanned.parent / "images" / name).parent.mkdir(exist_ok=True)
        digit_picture().save(scanned.parent / "images" / name)
    done = scan(scanned.parent, "--update")
    assert done.returncode == 3 and b"6 new files read, 0 files read again" in done.stderr
    updated = scanned.read_bytes()
    scan(scanned.parent, "--overwrite")
    assert scanned.read_bytes() == updated and len(list(CsvReader(scanned))) == 12


def test_a_file_that_has_changed_is_read_again_and_no_other(scanned):
    images = scanned.parent / "images"
    for path in (images / "1.png", images / "b" / "3.png"):
        blank().save(path)
    os.utime(images / "1.png", (LONG_AGO, LONG_AGO))
    read_later(scanned)
    os.utime(images / "b" / "3.png", (time.time() + 200,) * 2)
    done = scan(scanned.parent, "--update")
    assert b"0 new files read, 1 file read again (1 row changed)" in done.stderr
    digits = {row.path: row.digit for row in CsvReader(scanned)}
    assert digits["1.png"] == 7 and digits["b/3.png"] is None


def test_a_file_that_takes_the_place_of_another_is_read_though_it_is_older(scanned):
    blank().save(scanned.parent / "other.png")
    os.utime(scanned.parent / "other.png", (LONG_AGO, LONG_AGO))
    (scanned.parent / "other.png").replace(scanned.parent / "images" / "3.png")
    assert scan(scanned.parent, "--update").returncode == 3
    assert {row.path: row.digit for row in CsvReader(scanned)}["3.png"] is None


def test_an_update_without_anything_new_changes_no_byte_and_a_second_one_reads_nothing(scanned):
    before = scanned.read_bytes()
    assert scan(scanned.parent, "--update").returncode == 3
    read_later(scanned)
    done = scan(scanned.parent, "--update")
    assert b"0 new files read, 0 files read again" in done.stderr
    assert scanned.read_bytes() == before


def test_rows_of_files_that_are_gone_are_kept_and_counted(scanned):
    read_later(scanned)
    for name in ("1.png", "b/3.png"):
        (scanned.parent / "images" / name).unlink()
    before = scanned.read_bytes()
    done = scan(scanned.parent, "--update")
    assert b"the rows of 2 files that are gone are kept" in done.stderr
    assert scanned.read_bytes() == before


def test_what_could_not_be_read_is_read_again_if_that_is_asked_for(scanned):
    digit_picture().save(scanned.parent / "images" / "b" / "5.png")
    digit_picture().save(scanned.parent / "images" / "0.png")
    read_later(scanned)
    assert scan(scanned.parent, "--update", "--retry-errors").returncode == 0
    assert [row.digit for row in CsvReader(scanned)] == [7] * 7


def add_column(output, name, cells):
    """Add a column as a person does; `cells` has what to write for each row."""
    header, *lines = output.read_text().splitlines()
    lines = [f"{line},{cell}" for line, cell in zip(lines, cells, strict=True)]
    output.write_text("\n".join([f"{header},{name}", *lines]) + "\n")


def test_a_correction_of_a_file_that_has_changed_is_kept_and_the_row_says_what_it_said_before(scanned):
    add_column(scanned, "corrected", ["4", "5", *[""] * 4])
    unchanged = scanned.read_text().splitlines()[2]
    blank().save(scanned.parent / "images" / "1.png")
    digit_picture().save(scanned.parent / "images" / "b" / "5.png")
    for _ in range(2):  # the second time nothing has changed since
        assert scan(scanned.parent, "--update").returncode == 0
        rows = scanned.read_text().splitlines()
        assert rows[1] == '1.png,,,no-digit,"blank; before: 7, ok",4'
        assert rows[2] == unchanged
        assert rows[6].endswith(',review,"before: no digit, error, empty file",')
    digit_picture().save(scanned.parent / "images" / "1.png")
    assert scan(scanned.parent, "--update").returncode == 0
    row = scanned.read_text().splitlines()[1]
    assert row.endswith(',review,"before: no digit, no-digit, blank; before: 7, ok",4')


def test_what_people_write_into_our_columns_is_not_lost_where_a_file_is_read_again(scanned):
    """The files were made just before the scan, so they may have changed since."""
    edited = scanned.read_text().replace("3.png,7,", "3.png,4,", 1)
    scanned.write_text(edited)
    assert scan(scanned.parent, "--update").returncode == 3
    row = {row.path: row for row in CsvReader(scanned)}["3.png"]
    assert (row.digit, row.status, row.note) == (7, Status.REVIEW, "before: 4, ok")
    assert len(scanned.read_text().splitlines()) == len(edited.splitlines())


def test_an_update_of_nothing_is_a_scan(scanned):
    whole = scanned.read_bytes()
    scanned.unlink()
    assert scan(scanned.parent, "--update").returncode == 3
    assert scanned.read_bytes() == whole


def test_pages_are_replaced_with_their_file(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    pages = [digit_picture(), blank(), digit_picture()]
    pages[0].save(images / "a.tif", save_all=True, append_images=pages[1:])
    digit_picture().save(images / "b.png")
    assert scan(tmp_path).returncode == 0
    pages[1].save(images / "a.tif", save_all=True, append_images=pages[:1])
    assert scan(tmp_path, "--update").returncode == 0
    rows = [(row.path, row.digit) for row in CsvReader(tmp_path / "rows.csv")]
    assert rows == [("a.tif#1", None), ("a.tif#2", 7), ("b.png", 7)]


def test_pages_that_are_gone_keep_what_people_wrote_and_are_to_be_looked_at(tmp_path):
    images, output = tmp_path / "images", tmp_path / "rows.csv"
    images.mkdir()
    pages = [digit_picture(), digit_picture(), digit_picture()]
    pages[0].save(images / "a.tif", save_all=True, append_images=pages[1:])
    assert scan(tmp_path).returncode == 0
    add_column(output, "remark", ["", "", "mine"])
    pages[0].save(images / "a.tif", save_all=True, append_images=pages[:1])
    assert scan(tmp_path, "--update").returncode == 0
    rows = [(row.path, row.status, row.note) for row in CsvReader(output)]
    assert rows == [
        ("a.tif#1", Status.OK, ""),
        ("a.tif#2", Status.OK, ""),
        ("a.tif#3", Status.REVIEW, "no longer in the file"),
    ]


@pytest.mark.parametrize("removed", [slice(2, 3), slice(3, 4)])
def test_pages_without_a_row_are_read_though_the_file_has_not_changed(tmp_path, removed):
    """The last one is missing after an interrupted scan; others because somebody has removed them."""
    images, output = tmp_path / "images", tmp_path / "rows.csv"
    images.mkdir()
    pages = [digit_picture()] * 3
    pages[0].save(images / "a.tif", save_all=True, append_images=pages[1:])
    assert scan(tmp_path).returncode == 0
    whole = output.read_bytes()
    lines = whole.splitlines(keepends=True)
    del lines[removed]
    output.write_bytes(b"".join(lines))
    manifest = output.with_name("rows.csv.json")
    manifest.write_text(manifest.read_text().replace('"complete":  true', '"complete": false'))
    read_later(output)
    assert scan(tmp_path, "--update").returncode == 0
    assert output.read_bytes() == whole


def test_paths_may_be_given_in_another_order_and_more_of_them(scanned):
    def scan_paths(*paths):
        done = run("scan", *paths, "-o", "paths.csv", "--update", cwd=scanned.parent)
        assert done.returncode in (0, 3) and b"edited" not in done.stderr, done.stderr
        return [row.path for row in CsvReader(scanned.parent / "paths.csv")]

    top = [f"images/{name}.png" for name in (1, 3, 5)]
    below = [f"images/b/{name}.png" for name in (1, 3, 5)]
    assert scan_paths("images/b", "images/1.png") == [*below, top[0]]
    assert scan_paths("images/1.png", "images/b") == [top[0], *below]
    assert scan_paths("images", "images/1.png", "images/b") == [*top[1:], top[0], *below]
    assert scan_paths("images/b", "images/1.png", "images") == [*below, top[0], *top[1:]]
    done = run("scan", "images/b", "images", "-o", "paths.csv", "--update", cwd=scanned.parent)
    assert done.returncode == 6 and b"the paths as given was" in done.stderr
    assert not list(scanned.parent.glob("*.bak*"))


def test_a_row_that_is_there_twice_keeps_both_remarks(scanned):
    add_column(scanned, "remark", ["left", *[""] * 5])
    lines = scanned.read_text().splitlines(keepends=True)
    scanned.write_text("".join([*lines[:2], lines[1].replace("left", "right"), *lines[2:]]))
    blank().save(scanned.parent / "images" / "1.png")
    assert scan(scanned.parent, "--update").returncode == 3
    rows = scanned.read_text().splitlines()
    assert [line.rsplit(",", 1)[1] for line in rows[1:4]] == ["left", "right", ""]


def test_overwriting_and_updating_contradict_each_other(scanned):
    assert scan(scanned.parent, "--update", "--overwrite").returncode == 2


NAMES = st.sets(st.sampled_from([f"{folder}{name}" for folder in ("", "b/", "c/") for name in "123456"]))


def in_order(names):
    return sorted(names, key=lambda name: (*((1, part) for part in name.split("/")[:-1]), (0, name)))


@given(NAMES, NAMES, NAMES)
def test_every_file_and_every_old_row_has_one_row_in_order(found, written, changed):
    """A file that cannot be looked at counts as changed: these do not exist."""
    found_files = [ImageFile(f"/nowhere/{name}", name) for name in in_order(found)]
    old = [CsvRow(Prediction(name, 1, 0.5, Status.OK), ("old",), ("mine",)) for name in in_order(written)]
    counts = UpdateCounts()
    to_read = find_files_to_read(
        found_files, [row.prediction for row in old], (), LastRead(time.time(), False), counts
    )
    new = [Prediction(file.name, 2 if file.name in changed else 1, 0.5, Status.OK) for file in to_read]
    assert [row.path for row in new] == in_order(found)
    assert (counts.new_files, counts.changed_files, counts.missing_files) == (
        len(found - written),
        len(found & written),
        len(written - found),
    )
    merged = list(merge_rows(old, new, (), ("remark",), True, counts))
    assert [row.prediction.path for row in merged] == in_order(found | written)
    for row in merged:
        name = row.prediction.path
        is_new = name in found and (name in changed or name not in written)
        assert (row.cells == ()) == is_new
        assert row.extra_cells == (("mine",) if name in written else ("",))


def numbers(*texts, note=""):
    return [
        Prediction(f"{index}.png", None, 0.9, Status.OK, note, number=text, digit_confidences=(0.9, 0.8))
        for index, text in enumerate(texts)
    ]


def test_a_number_that_reads_differently_has_its_new_row_and_the_others_stay_as_they_are():
    old = [CsvRow(row, ("as", "it", "was"), ("seen",)) for row in numbers("07", "17", "40")]
    counts = UpdateCounts()
    merged = list(merge_rows(old, numbers("07", "11", "40"), (), ("remark",), False, counts))
    assert [bool(row.cells) for row in merged] == [True, False, True]
    changed = merged[1].prediction
    assert (changed.number, changed.status, changed.note) == ("11", "review", "before: 17, ok")
    assert merged[1].extra_cells == ("seen",) and counts.changed_rows == 1


def test_a_number_whose_digits_are_as_sure_as_before_reads_the_same():
    old = [CsvRow(row, ("as", "it", "was")) for row in numbers("17")]
    new = [dataclasses.replace(row, digit_confidences=(0.9, 0.80001)) for row in numbers("17")]
    counts = UpdateCounts()
    assert [*merge_rows(old, new, (), (), True, counts)] == old
    new = [dataclasses.replace(row, digit_confidences=(0.9, 0.7)) for row in numbers("17")]
    assert [row.prediction.note for row in merge_rows(old, new, (), (), True, counts)] == ["before: 17, ok"]
