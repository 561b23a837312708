"""How many pages files have, told by a process that may be lost without harm."""

from digitscan.prediction import Folder
from digitscan.workers.page_counter import PageCounter, list_pages
from digitscan.workers.protocol import FileLocation
from tests.support.pictures import digit_picture, encode_pages, make_pages


def write_files(folder):
    (folder / "a.tif").write_bytes(encode_pages(make_pages(3), "TIFF"))
    (folder / "b").write_bytes(encode_pages(make_pages(2), "PDF"))
    (folder / "c.gif").write_bytes(encode_pages([digit_picture(), digit_picture(64).rotate(9)], "GIF"))
    (folder / "d.tif").write_bytes(b"II*\0")
    return ["a.tif", "b", "c.gif", "d.tif", "missing.tif"]


def test_pages_are_counted_and_frames_if_they_are_wanted(tmp_path, process_factory):
    files = [FileLocation(name, Folder(str(tmp_path))) for name in write_files(tmp_path)]
    with PageCounter(process_factory, 30, 64.0, frames=False) as counter:
        assert counter.ask(files) == [3, 2, 1, 1, 1]
    with PageCounter(process_factory, 30, 64.0, frames=True) as counter:
        assert counter.ask([*files, FileLocation("a.tif", Folder(str(tmp_path / "gone")))]) == [
            3,
            2,
            2,
            1,
            1,
            1,
        ]


def test_the_pages_of_files_are_listed_and_a_page_stays_what_it_is(tmp_path):
    files = [FileLocation(str(tmp_path / name)) for name in write_files(tmp_path)]
    listed = list_pages([*files, files[0]._replace(page=2)])
    assert [[file.page for file in pages] for pages in listed] == [[1, 2, 3], [1, 2], [0], [0], [0], [2]]


def test_no_process_is_started_where_no_file_may_have_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("digitscan.workers.page_counter.read_files", None)
    files = [FileLocation(str(tmp_path / name)) for name in ("a.png", "b.jpg")]
    assert list_pages(files) == [[file] for file in files]
