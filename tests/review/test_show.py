"""`digitscan show` explains images in the terminal or in a picture, and says what it cannot do."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from digitscan.errors import ExitCode, OutputError, UsageError
from digitscan.review.config import MAX_IMAGES_IN_FIGURE, ShowConfig
from digitscan.review.show import run_show
from tests.support.command import run
from tests.support.pictures import encode_pages


@pytest.fixture
def seven(tmp_path, picture):
    path = tmp_path / "seven.png"
    picture.save(path)
    return path


def show(*images, **settings):
    """The exit code, and what is printed."""
    file = io.StringIO()
    code = run_show(ShowConfig(images, model="cnn", **settings), Console(file=file, width=80))
    return code, file.getvalue()


def test_images_are_explained_in_the_order_given(tmp_path, seven, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image")
    code, text = show(Path("text.png"), Path("seven.png"))
    assert code is ExitCode.UNREADABLE_FILES
    assert text.index("text.png") < text.index("seven.png")
    assert "error  not an image: text" in text and "7  ok" in text


def test_the_command_prints_to_stdout_and_writes_no_file(tmp_path, seven):
    done = run("show", seven, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == b""
    assert "what the model saw" in done.stdout.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["seven.png"]


def test_the_command_draws_a_png(tmp_path, seven):
    done = run("show", seven, seven, "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == b""
    assert done.stderr.decode() == "Picture: out.png\n"
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == (1000, 540)
        pixels = np.asarray(drawn.convert("RGB"))
    assert ((pixels == (0x1F, 0x6F, 0xB4)).all(axis=-1)).sum() > 500  # the bar of a digit that is ok


def test_hostile_names_are_drawn_as_text(tmp_path, picture):
    path = tmp_path / "$\\frac{1}{0}$ \x1b[2J <b>.png"
    picture.save(path)
    assert show(path, output=tmp_path / "out.png")[0] is ExitCode.OK


def test_an_existing_picture_is_replaced_only_with_overwrite(tmp_path, seven):
    output = tmp_path / "out.png"
    output.write_text("mine")
    with pytest.raises(OutputError, match="exists already: name another with -o, or add --overwrite"):
        show(seven, output=output)
    assert output.read_text() == "mine"
    show(seven, output=output, overwrite=True)
    assert output.read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_does_not_exist_is_said(tmp_path, seven):
    with pytest.raises(OutputError, match="cannot be written"):
        show(seven, output=tmp_path / "missing" / "out.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.png", "does not exist. Give the path of an image."), (".", "is a folder: name images in it")],
)
def test_what_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        show(tmp_path / name)


def test_another_suffix_than_png_is_refused(seven):
    with pytest.raises(UsageError, match=r"the picture is a PNG: name it out\.png, not .*out\.pdf"):
        ShowConfig((seven,), output=seven.with_name("out.pdf"))


def test_a_picture_of_too_many_images_is_refused(seven, tmp_path):
    with pytest.raises(UsageError, match="at most 50 images, not 51"):
        ShowConfig((seven,) * (MAX_IMAGES_IN_FIGURE + 1), output=tmp_path / "out.png")


def test_the_limit_for_ok_can_be_given(seven):
    assert "7  review" in show(seven, min_confidence=1.0)[1]


def test_an_empty_path_and_no_path_are_errors_of_usage(tmp_path):
    assert b"the path is empty: name an image" in run("show", "", cwd=tmp_path).stderr
    assert run("show", cwd=tmp_path).returncode == 2
    with pytest.raises(UsageError, match="no image was named"):
        show()


def test_all_pages_of_a_file_are_explained_or_the_one_that_is_named_as_in_a_csv(
    tmp_path, picture, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    blank = picture.point(lambda value: 255)
    path = Path("forms.tif")
    path.write_bytes(encode_pages([picture, blank, picture], "TIFF"))
    code, text = show(path)
    assert code is ExitCode.OK
    assert [text.count(f"forms.tif#{page}") for page in (1, 2, 3)] == [1, 1, 1]
    assert text.count("7  ok") == 2 and text.count("no-digit") == 1
    _, text = show(Path("forms.tif#2"))
    assert "no-digit" in text and "forms.tif#2" in text and "7  ok" not in text
    with pytest.raises(UsageError, match=r"other\.tif#2.*does not exist"):
        show(Path("other.tif#2"))


def test_a_file_that_is_named_like_a_page_is_that_file(tmp_path, picture):
    picture.save(tmp_path / "a#2", "PNG")
    code, text = show(tmp_path / "a#2")
    assert code is ExitCode.OK and "a##2" in text
