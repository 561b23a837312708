"""The pictures that a person should look at are in one folder, under their own names."""

import os

import pytest
from PIL import Image

from digitscan.errors import OutputError, UsageError
from digitscan.prediction import Prediction, Status
from digitscan.scanning import review_copies
from digitscan.scanning.review_copies import ReviewCopies
from tests.support.command import run


@pytest.fixture
def images(tmp_path, picture):
    """A folder with a seven and, in a subfolder, an empty sheet and a broken file."""
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    picture.save(folder / "seven.png")
    Image.new("L", (40, 40), 255).save(folder / "sub" / "empty.png")
    (folder / "sub" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_scan_links_what_a_person_should_look_at(tmp_path, images):
    done = run("scan", "images", "-o", "rows.csv", "--copy-review", "look", cwd=tmp_path)
    assert done.returncode == 3  # of the broken file
    assert names(tmp_path / "look") == ["sub/empty.png"]
    link = tmp_path / "look" / "sub" / "empty.png"
    assert link.is_symlink() and link.samefile(images / "sub" / "empty.png")


def test_a_resumed_scan_goes_on_with_the_folder(tmp_path, images):
    arguments = ("scan", "images", "-o", "rows.csv", "--copy-review", "look")
    run(*arguments, cwd=tmp_path)
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 6 and b"exists already" in done.stderr
    (tmp_path / "look" / "sub" / "empty.png").unlink()
    assert run(*arguments, "--resume", cwd=tmp_path).returncode == 3
    assert names(tmp_path / "look") == ["sub/empty.png"]


def test_the_summary_ends_with_the_command_that_comes_next(tmp_path, images):
    done = run("scan", "images", "-o", "my rows.csv", cwd=tmp_path)
    assert done.stderr.decode().strip().endswith("digitscan review 'my rows.csv'")


def test_where_there_are_no_links_pictures_are_copied(tmp_path, images, monkeypatch):
    def refuse(*_):
        raise OSError("no links")

    monkeypatch.setattr(review_copies.Path, "symlink_to", refuse)
    copies = ReviewCopies(tmp_path / "look", [images], continues=False)
    copies.add([Prediction("sub/empty.png", None, None, Status.NO_DIGIT, "blank")])
    copy = tmp_path / "look" / "sub" / "empty.png"
    assert not copy.is_symlink() and copy.read_bytes() == (images / "sub" / "empty.png").read_bytes()


def test_named_files_and_names_that_are_not_utf8_stay_in_the_folder(tmp_path, picture, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    picture.save(tmp_path / name)
    monkeypatch.chdir(tmp_path / "up")
    path = review_copies.Path(f"../{name}")
    copies = ReviewCopies(review_copies.Path("look"), [path, path], continues=False)
    copies.add([Prediction(r"../caf\xe9.png", 7, 0.5, Status.REVIEW, "doubtful; name is not UTF-8")])
    assert (tmp_path / "up" / "look" / "parent" / name).samefile(tmp_path / name)


def test_a_picture_that_is_gone_is_said_and_ends_nothing(tmp_path, images, monkeypatch, capsys):
    (tmp_path / "look").mkdir()
    (tmp_path / "look" / "sub").write_text("a file where a folder is needed")
    copies = ReviewCopies(tmp_path / "look", [images], continues=True)
    copies.add([Prediction("sub/empty.png", None, None, Status.NO_DIGIT, "blank")])
    assert "empty.png is not put into" in capsys.readouterr().err


def test_a_folder_that_would_be_scanned_or_holds_something_is_refused(tmp_path, images):
    with pytest.raises(UsageError, match=r"is inside .*, which is scanned"):
        ReviewCopies(images / "look", [images], continues=False)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    with pytest.raises(OutputError, match="exists already: name a new folder with --copy-review"):
        ReviewCopies(tmp_path / "used", [images], continues=False)
