"""`digitscan review` writes one page, and says what it cannot do; `tests/system` looks at the page."""

from pathlib import Path

import pytest

from digitscan.errors import OutputError, UsageError
from digitscan.model.registry import load_model
from digitscan.review import review
from digitscan.review.config import ReviewConfig
from digitscan.review.review import run_review
from digitscan.review.rows import read_rows
from digitscan.review.sprites import make_sprites
from tests.support.command import run
from tests.support.pictures import digit_picture, encode_pages


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture
def scanned(tmp_path, picture):
    """A folder with pictures and the CSV of their scan."""
    (tmp_path / "images").mkdir()
    for index in range(3):
        picture.save(tmp_path / "images" / f"{index}.png")
    assert run("scan", "images", "-o", "predictions.csv", cwd=tmp_path).returncode == 0
    return tmp_path


def test_the_page_is_one_file_of_text_without_addresses(scanned):
    done = run("review", "predictions.csv", "--audit", "2", cwd=scanned)
    assert done.returncode == 0 and done.stdout == b""
    assert done.stderr.decode().startswith("Page: review.html")
    page = (scanned / "review.html").read_text(encoding="utf-8")
    assert "http://" not in page and "https://" not in page
    assert not (scanned / "review-files").exists()


def test_the_same_file_gives_the_same_audit_sample(scanned):
    pages = []
    for name in ("first.html", "second.html"):
        run_review(ReviewConfig(scanned / "predictions.csv", scanned / name, audit=1))
        pages.append((scanned / name).read_bytes())
    assert pages[0] == pages[1]


def test_more_rows_for_the_audit_than_there_are_is_said(scanned, capsys):
    run_review(ReviewConfig(scanned / "predictions.csv", scanned / "review.html", audit=4))
    assert "There are only 3 ok rows: all of them are in the audit sample." in capsys.readouterr().err


def test_pictures_that_are_not_there_are_counted_and_cost_no_row(scanned, capsys):
    (scanned / "images" / "1.png").unlink()
    run_review(ReviewConfig(scanned / "predictions.csv", scanned / "review.html"))
    assert "1 of 3 pictures are not there, or cannot be read: --images" in capsys.readouterr().err
    assert (scanned / "review.html").exists()


def test_the_pictures_of_many_rows_are_beside_the_page(scanned, monkeypatch):
    monkeypatch.setattr(review, "MAX_INLINE_ROWS", 2)
    config = ReviewConfig(scanned / "predictions.csv", scanned / "my page.html")
    run_review(config)
    assert [path.name for path in (scanned / "my page-files").iterdir()] == ["00001.png"]
    assert "my%20page-files/00001.png" in (scanned / "my page.html").read_text(encoding="utf-8")
    with pytest.raises(OutputError, match=r"my page\.html exists already"):
        run_review(config)
    run_review(ReviewConfig(config.csv, config.output, overwrite=True))
    (scanned / "my page-files" / "mine.png").touch()
    with pytest.raises(OutputError, match="holds more than the pictures of a page"):
        run_review(ReviewConfig(config.csv, config.output, overwrite=True))
    assert (scanned / "my page-files" / "mine.png").exists()


def test_a_page_that_is_not_finished_leaves_no_pictures(scanned, monkeypatch):
    monkeypatch.setattr(review, "MAX_INLINE_ROWS", 2)
    monkeypatch.setattr(review, "write_result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_review(ReviewConfig(scanned / "predictions.csv", scanned / "page.html"))
    assert not (scanned / "page-files").exists()


def test_a_corrected_csv_beside_the_original_finds_its_pictures(scanned, capsys):
    (scanned / "out").mkdir()
    for name in ("predictions.csv", "predictions.csv.json"):
        (scanned / name).rename(scanned / "out" / name)
    corrected = scanned / "out" / "predictions-corrected (1).csv"
    corrected.write_bytes((scanned / "out" / "predictions.csv").read_bytes())
    run_review(ReviewConfig(corrected, scanned / "review.html"))
    assert "not there" not in capsys.readouterr().err


def test_a_folder_that_does_not_exist_is_named(scanned):
    with pytest.raises(OutputError, match=r"the folder .*missing does not exist"):
        run_review(ReviewConfig(scanned / "predictions.csv", scanned / "missing" / "review.html"))


def test_an_output_that_is_no_page_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"the page is HTML: name it rows\.html"):
        ReviewConfig(tmp_path / "rows.csv", tmp_path / "rows.csv")


def test_a_csv_that_does_not_exist_has_the_exit_code_of_unusable_data(tmp_path):
    done = run("review", "missing.csv", cwd=tmp_path)
    assert done.returncode == 7 and b"missing.csv does not exist" in done.stderr


def test_the_pages_of_a_file_have_pictures_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    blank = digit_picture().point(lambda value: 255)
    Path("images/forms.tif").write_bytes(encode_pages([digit_picture(), blank, digit_picture()], "TIFF"))
    assert run("scan", "images", "-o", "rows.csv").returncode == 0
    seen = list(make_sprites(read_rows(Path("rows.csv"), None).pictures, load_model("cnn")))
    assert [sprite.has_picture for sprite in seen] == ["212"]
