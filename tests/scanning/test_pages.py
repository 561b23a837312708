"""A file of several pages has a row for each, in order, and no page costs another its row."""

import csv
import io
import os

import pytest

import digitscan
from digitscan.errors import UsageError
from digitscan.prediction import ImageFile, Status
from digitscan.scanning.config import ScanConfig
from digitscan.scanning.output.csv_format import CsvReader
from digitscan.scanning.pages import expand_pages, find_pages
from digitscan.scanning.scheduler import predict
from digitscan.workers.supervisor import ProcessFactory
from tests.support.command import run
from tests.support.outputs import leave_as_killed
from tests.support.pictures import digit_picture, encode_image, encode_pages, make_pages

CRASHED = "crashed the decoder: the process that read it ended"


def expand(files, counts, max_pages=1000, **options):
    """The names and pages of the files, of which those in `counts` have several pages."""
    asked = []

    def count_pages(batch):
        asked.extend(file.path for file in batch)
        return [counts.get(file.path, 1) for file in batch]

    pages = expand_pages(files, count_pages, max_pages, **options)
    return [(file.name, file.page) for file in pages], asked


def test_the_pages_of_a_file_stand_in_its_place():
    files = [ImageFile(name, name) for name in ("a.png", "b.tif", "c.tif", "d.pdf")]
    pages, asked = expand(files, {"b.tif": 2, "d.pdf": 3})
    assert pages == [
        ("a.png", 0), ("b.tif#1", 1), ("b.tif#2", 2), ("c.tif", 0),
        ("d.pdf#1", 1), ("d.pdf#2", 2), ("d.pdf#3", 3),
    ]  # fmt: skip
    assert asked == ["b.tif", "c.tif", "d.pdf"]


def test_with_frames_every_file_may_have_several():
    assert expand([ImageFile("a.gif", "a.gif")], {"a.gif": 2}, frames=True)[0] == [
        ("a.gif#1", 1),
        ("a.gif#2", 2),
    ]


def test_one_more_page_than_are_allowed_stands_for_all_that_are_left_out():
    assert len(expand([ImageFile("a.tif", "a.tif")], {"a.tif": 5}, max_pages=3)[0]) == 4
    assert len(expand([ImageFile("a.tif", "a.tif")], {"a.tif": 3}, max_pages=3)[0]) == 3


def test_pages_that_have_rows_are_passed_over():
    files = [ImageFile("a.tif", "a.tif", first_page=3), ImageFile("b.tif", "b.tif")]
    assert expand(files, {"a.tif": 4, "b.tif": 2})[0] == [
        ("a.tif#3", 3),
        ("a.tif#4", 4),
        ("b.tif#1", 1),
        ("b.tif#2", 2),
    ]
    assert expand([ImageFile("a.tif", "a.tif", first_page=5)], {"a.tif": 4})[0] == []


def test_a_page_is_not_counted_again():
    assert expand([ImageFile("a.tif", "a.tif#2", page=2)], {"a.tif": 4}) == ([("a.tif#2", 2)], [])


def test_files_are_taken_lazily():
    taken = []
    files = (taken.append(index) or ImageFile(f"{index}.png", "") for index in range(10_000))
    next(expand_pages(files, len, 1000))
    assert len(taken) < 100


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunk_size", [1, 4, 64])
def test_a_page_that_ends_its_process_or_hangs_costs_only_its_own_row(
    tmp_path, stub_model, stub_command, workers, chunk_size
):
    texts = {
        "a.tif": "1\ncrash\n3\nhang\n5",
        "b.png": "6",
        "c.pdf": "7\ndamaged",
        "d": "8\ncrash while classifying\n0",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [ImageFile(str(tmp_path / name), name) for name in texts]
    config = ScanConfig(workers=workers, chunk_size=chunk_size, timeout=1)
    factory = ProcessFactory(stub_command)
    rows = list(predict(find_pages(files, config, factory), stub_model, config, factory))
    assert [(row.path, row.note if row.digit is None else row.digit) for row in rows] == [
        ("a.tif#1", 1), ("a.tif#2", CRASHED), ("a.tif#3", 3),
        ("a.tif#4", "timed out: more than 1 seconds"), ("a.tif#5", 5), ("b.png", 6),
        ("c.pdf#1", 7), ("c.pdf#2", "damaged"), ("d#1", 8), ("d#2", CRASHED), ("d#3", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("trouble", ["crash", "hang"])
def test_a_file_that_ends_or_blocks_who_counts_its_pages_has_one_row(
    tmp_path, stub_model, stub_command, trouble
):
    for name, text in {"a.tif": f"{trouble}\n1", "b.tif": "1\n2"}.items():
        (tmp_path / name).write_text(text)
    files = [ImageFile(str(tmp_path / name), name) for name in ("a.tif", "b.tif")]
    config, factory = ScanConfig(timeout=0.5), ProcessFactory(stub_command)
    rows = list(predict(find_pages(files, config, factory), stub_model, config, factory))
    assert [row.path for row in rows] == ["a.tif", "b.tif#1", "b.tif#2"]
    assert rows[0].status is Status.ERROR


@pytest.fixture
def folder(tmp_path):
    """A folder with a TIFF of 5 pages, a PDF of 3, a GIF of 2, and files of one page, one with a `#`."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "b.tif").write_bytes(encode_pages(make_pages(5), "TIFF"))
    (images / "d.pdf").write_bytes(encode_pages(make_pages(3), "PDF", resolution=72))
    (images / "e.gif").write_bytes(
        encode_pages([digit_picture(), digit_picture().rotate(9, fillcolor=255)], "GIF")
    )
    (images / "a.png").write_bytes(encode_image(digit_picture(), "PNG"))
    (images / "c#1").write_bytes(encode_image(digit_picture(), "TIFF"))
    return images


PATHS = ["a.png", *(f"b.tif#{n}" for n in range(1, 6)), "c##1", *(f"d.pdf#{n}" for n in range(1, 4)), "e.gif"]


def scan(folder, *options):
    done = run("scan", folder, "-o", "rows.csv", *options, cwd=folder.parent)
    return done.returncode, done.stderr.decode(), (folder.parent / "rows.csv").read_bytes()


def parse(data):
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_every_page_has_its_row_in_order_and_the_bytes_are_the_same_for_any_workers(folder):
    code, words, data = scan(folder)
    rows = parse(data)
    assert code == 0 and "for 11 images" in words
    assert [row["path"] for row in rows] == PATHS
    assert {row["digit"] for row in rows} == {"7"}
    assert [row["status"] for row in rows] == ["ok"] * 10 + ["review"]
    assert rows[-1]["note"] == "frame 1 of 2"
    for workers, size in (("1", "1"), ("2", "3")):
        assert scan(folder, "--overwrite", "--workers", workers, "--chunk-size", size)[2] == data


def test_all_frames_of_an_animation_have_rows_if_they_are_wanted(folder):
    rows = parse(scan(folder, "--frames", "all")[2])
    assert [row["path"] for row in rows[-2:]] == ["e.gif#1", "e.gif#2"]
    assert [(row["digit"], row["status"], row["note"]) for row in rows[-2:]] == [("7", "ok", "")] * 2


def test_what_is_left_out_of_a_long_file_has_an_error_row(folder):
    code, words, data = scan(folder, "--max-pages", "3")
    rows = parse(data)
    assert code == 3 and "1 too many pages" in words
    assert [row["path"] for row in rows] == [path for path in PATHS if path != "b.tif#5"]
    assert (rows[4]["status"], rows[4]["note"]) == ("error", "too many pages: 5 (--max-pages is 3)")
    assert scan(folder, "--max-pages", "3", "--retry-errors")[2] == data


def test_a_csv_cut_in_the_middle_of_a_file_is_continued_with_the_next_page(folder):
    whole = scan(folder)[2]
    output = folder.parent / "rows.csv"
    starts = [whole.index(f"\n{path},".encode()) + 1 for path in PATHS]
    for start in starts:
        for cut in (start, start + 4):
            leave_as_killed(output, whole[:cut])
            code, words, data = scan(folder, "--resume")
            assert (code, data) == (0, whole), words
    assert scan(folder, "--resume")[2] == whole


def test_a_resumed_scan_of_named_files_keeps_their_order(folder):
    arguments = ("scan", "images/b.tif", "images/b.tif", "images/d.pdf", "-o", "rows.csv")
    run(*arguments, cwd=folder.parent)
    output = folder.parent / "rows.csv"
    whole = output.read_bytes()
    assert [row["path"].rpartition("#")[2] for row in parse(whole)] == [*"12345123"]
    for rows in range(1, 8):
        leave_as_killed(output, b"".join(whole.splitlines(keepends=True)[: rows + 1]))
        done = run(*arguments, "--resume", cwd=folder.parent)
        assert done.returncode == 0, done.stderr
        assert output.read_bytes() == whole


def test_other_pages_or_frames_are_other_settings(folder):
    whole = scan(folder)[2]
    for option, words in (
        (("--max-pages", "3"), "max pages was 1000 and is 3"),
        (("--frames", "all"), 'frames was "first" and is "all"'),
    ):
        code, said, data = scan(folder, "--resume", *option)
        assert code == 6 and words in said and data == whole


def test_pages_that_could_not_be_read_are_read_again_one_by_one(folder):
    good = (folder / "b.tif").read_bytes()
    bad = encode_pages(make_pages(5), "TIFF", compression="tiff_adobe_deflate")
    middle = bad.index(b"\x78", 8)
    (folder / "b.tif").write_bytes(bad[:middle] + bytes(8) + bad[middle + 8 :])
    code, _, data = scan(folder)
    assert code == 3 and [row["path"] for row in parse(data) if row["status"] == "error"] == ["b.tif#1"]
    (folder / "b.tif").write_bytes(good)
    code, _, data = scan(folder, "--retry-errors")
    assert code == 0 and data == scan(folder, "--overwrite")[2]


def test_a_file_that_could_not_be_opened_gets_a_row_for_each_page_when_it_is_read_again(folder):
    """As a PDF that was scanned before the library for it was installed."""
    good = {name: (folder / name).read_bytes() for name in ("b.tif", "d.pdf")}
    for name, data in good.items():
        (folder / name).write_bytes(data[:7])
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, _, data = scan(folder)
    assert code == 3 and [row["path"] for row in parse(data)] == [
        "0.png",
        "a.png",
        "b.tif",
        "c##1",
        "d.pdf",
        "e.gif",
    ]
    for name, data in good.items():
        (folder / name).write_bytes(data)
    code, _, data = scan(folder, "--retry-errors")
    assert code == 3 and data == scan(folder, "--overwrite")[2]


def test_a_scan_of_an_older_version_that_knew_no_pages_can_be_continued(folder):
    import json

    whole = scan(folder)[2]
    manifest = folder.parent / "rows.csv.json"
    values = json.loads(manifest.read_text())
    del values["max_pages"], values["frames"]
    lines = whole.splitlines(keepends=True)
    (folder.parent / "rows.csv").write_bytes(b"".join(lines[:2]) + b"b.tif,7,0.9990,ok,\n")
    manifest.write_text(json.dumps(values, indent=1) + "\n")
    code, _, data = scan(folder, "--resume")
    assert code == 0
    assert [row["path"] for row in parse(data)] == ["a.png", "b.tif", *PATHS[6:]]


def test_the_copies_for_review_hold_a_file_once_however_many_of_its_pages_need_it(folder):
    blank = digit_picture().point(lambda value: 255)
    (folder / "b.tif").write_bytes(encode_pages([blank, digit_picture(), blank], "TIFF"))
    run("scan", folder, "-o", "rows.csv", "--copy-review", "copies", cwd=folder.parent)
    assert sorted(os.listdir(folder.parent / "copies")) == ["b.tif", "e.gif"]


def test_the_python_function_gives_pages_too(folder):
    rows = list(digitscan.scan(folder))
    assert [row.path for row in rows] == PATHS
    config = digitscan.ScanConfig(frames="all", max_pages=1)
    assert next(digitscan.scan(folder / "e.gif", config)).path.endswith("e.gif#1")
    with pytest.raises(UsageError, match="frames must be first or all"):
        ScanConfig(frames="second")
    with pytest.raises(UsageError, match="max_pages must be a whole number of at least 1"):
        ScanConfig(max_pages=0)


def test_a_tiff_under_the_name_of_another_format_is_review_and_says_that_it_has_pages(folder):
    os.rename(folder / "b.tif", folder / "b.png")
    scan(folder)
    row = next(row for row in CsvReader(folder.parent / "rows.csv") if row.path == "b.png")
    assert (row.status, row.note) == (Status.REVIEW, "page 1 of 5")
