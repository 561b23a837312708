"""Images of a folder by label are decoded in supervised processes: no file costs more than itself."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import DataError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.image_folders import read_image_folders
from digitscan.workers import file_reader
from digitscan.workers.supervisor import ProcessFactory
from tests.support.command import PACKAGE_FOLDER
from tests.support.pictures import digit_picture, encode_pages

STUB_WORKER = Path(__file__).parents[2] / "support" / "stub_preprocess_worker.py"


@pytest.fixture
def use_stub(monkeypatch):
    """A function that has the stub worker started in place of the real one, with these arguments."""

    def use(*arguments):
        command = [sys.executable, str(STUB_WORKER), str(PACKAGE_FOLDER), *map(str, arguments)]
        monkeypatch.setattr(file_reader, "ProcessFactory", partial(ProcessFactory, command))

    return use


def write_texts(folder, *texts):
    """Write a file of the digit 7 for each text, between fourteen good ones."""
    (folder / "7").mkdir()
    for index, text in enumerate(["digit"] * 7 + [*texts] + ["digit"] * 7):
        (folder / "7" / f"{index:02}").write_text(text)


def read(folder):
    """The number of images that are read, and the reasons for those that are left out, by name."""
    reasons = {}
    data = read_image_folders(folder, lambda path, reason: reasons.update({path.name: reason}))
    return len(data.x_train) + len(data.x_test), reasons


def test_files_that_hang_or_crash_their_decoder_are_left_out(use_stub, tmp_path, monkeypatch):
    use_stub()
    monkeypatch.setattr(file_reader, "TIMEOUT_SECONDS", 0.3)
    write_texts(tmp_path, "hang", "crash", "garbage", "no digit at all")
    count, reasons = read(tmp_path)
    assert count == 14
    assert reasons == {
        "07": "timed out: more than 0.3 seconds",
        "08": "crashed the decoder: the process that read it ended",
        "09": "crashed the decoder: the process that read it gave no answer of ours",
        "10": "no digit at all",
    }


def test_a_file_whose_worker_was_killed_from_outside_is_read_again(use_stub, tmp_path):
    use_stub(tmp_path / "marker")
    write_texts(tmp_path)
    assert read(tmp_path) == (14, {})
    assert (tmp_path / "marker").exists()


def test_workers_that_end_as_soon_as_they_start_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reader, "ProcessFactory", partial(ProcessFactory, [sys.executable, "-c", ""]))
    write_texts(tmp_path)
    with pytest.raises(DataError, match="The processes that read the files end as soon as they start"):
        read(tmp_path)


def test_workers_that_cannot_be_started_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reader, "ProcessFactory", partial(ProcessFactory, ["/missing/python"]))
    write_texts(tmp_path)
    with pytest.raises(DataError, match="No process to read the files can be started"):
        read(tmp_path)


def test_images_are_what_a_scan_sees_and_crafted_ones_are_left_out(tmp_path):
    folder = tmp_path / "7"
    folder.mkdir()
    for index in range(14):
        digit_picture(60 + 10 * index).save(folder / f"{index:02}.png")
    (folder / "six bytes.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10")
    (folder / "empty.png").write_bytes(b"")
    Image.new("L", (8100, 8100), 255).save(folder / "large.png")
    with (folder / "sparse.tif").open("wb") as file:
        file.write(b"II*\0" + (8).to_bytes(4, "little"))
        file.truncate(8 << 30)
    os.mkfifo(folder / "pipe.png")
    (folder / "link.png").symlink_to("nowhere")
    (folder / "sub").mkdir()
    count, reasons = read(tmp_path)
    assert count == 14
    assert reasons["large.png"].startswith("too large: 65.61 megapixels")
    assert reasons.keys() == {"six bytes.jpg", "empty.png", "large.png", "sparse.tif", "pipe.png", "link.png"}
    data = read_image_folders(tmp_path, lambda path, reason: None)
    expected = [preprocess(decode_image(path).pixels).pixels for path in sorted(folder.glob("[0-9]*.png"))]
    assert sorted(image.tobytes() for image in np.concatenate([data.x_train, data.x_test])) == sorted(
        image.tobytes() for image in expected
    )


def test_what_systems_leave_in_folders_is_neither_read_nor_named(tmp_path):
    for name in ("7/a.png", "7/b.png", "7/._a.png", "7/Thumbs.db", "7/c.png.part", "@eaDir/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        digit_picture().save(tmp_path / name, "PNG")
    (tmp_path / "letters").mkdir()
    assert read(tmp_path) == (2, {"letters": "its name is no digit, 0 to 9"})


def test_each_page_of_a_file_is_an_image(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "forms.tif").write_bytes(encode_pages([digit_picture()] * 20, "TIFF"))
    assert read(tmp_path) == (20, {})
