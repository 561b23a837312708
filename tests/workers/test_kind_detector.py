"""What kinds of files there are, told by a process that may be lost without harm."""

import contextlib
import os
import sys
import time

import pytest

from digitscan.errors import DigitscanError
from digitscan.prediction import Folder
from digitscan.workers.file_kinds import FileKind, detect_kinds
from digitscan.workers.kind_detector import KindDetector
from digitscan.workers.protocol import FileLocation
from digitscan.workers.supervisor import ProcessFactory
from tests.support.pictures import digit_picture

IMAGE, OTHER, FOLDER, UNREADABLE = FileKind.IMAGE, FileKind.OTHER, FileKind.FOLDER, FileKind.UNREADABLE


@pytest.fixture
def detect_texts(tmp_path, stub_command):
    """Ask the stub worker about files with the given texts."""

    def detect_texts(texts, command=stub_command):
        files = []
        for index, text in enumerate(texts):
            (tmp_path / str(index)).write_text(text)
            files.append(FileLocation(str(tmp_path / str(index))))
        with contextlib.closing(KindDetector(ProcessFactory(command), timeout=0.5)) as detector:
            return [*detector.ask(files), *detector.ask([])]

    return detect_texts


def test_a_file_is_an_image_by_its_first_bytes_and_a_link_by_what_it_leads_to(tmp_path):
    digit_picture().save(tmp_path / "picture", "PNG")
    (tmp_path / "text").write_text("some text")
    (tmp_path / "empty").touch()
    for name, target in [
        ("to-picture", "picture"), ("to-text", "text"), ("to-folder.png", "."), ("to-text.png", "text"),
        ("to-nothing", "nothing"), ("circle.png", "circle.png"),
    ]:  # fmt: skip
        (tmp_path / name).symlink_to(target)
    expected = {
        "picture": IMAGE, "text": OTHER, "empty": OTHER, "missing": UNREADABLE, "to-picture": IMAGE,
        "to-text": OTHER, "to-folder.png": FOLDER, "to-text.png": IMAGE, "to-nothing": UNREADABLE,
        "circle.png": UNREADABLE,
    }  # fmt: skip
    files = [FileLocation(name, Folder(str(tmp_path))) for name in expected]
    indices = []
    assert dict(zip(expected, detect_kinds(files, indices.append), strict=True)) == expected
    assert indices == list(range(len(files)))
    with (
        contextlib.closing(ProcessFactory()) as processes,
        contextlib.closing(KindDetector(processes, 9)) as d,
    ):
        assert d.ask(files) == list(expected.values())


def test_a_signature_that_comes_one_byte_at_a_time_is_known(tmp_path, monkeypatch):
    """As network file systems may return it."""
    digit_picture().save(tmp_path / "picture", "PNG")
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: read(descriptor, min(count, 1)))
    assert detect_kinds([FileLocation(str(tmp_path / "picture"))], lambda index: None) == [IMAGE]


@pytest.mark.parametrize("trouble", ["hang", "crash"])
@pytest.mark.parametrize("places", [(0,), (2,), (4,), (0, 1, 4)])
def test_a_file_that_blocks_or_ends_the_process_is_unreadable_and_no_other(detect_texts, trouble, places):
    texts = [trouble if index in places else "7" if index % 2 else "text" for index in range(5)]
    if len(places) > 1 and trouble == "hang":
        texts = texts[:2]
    start = time.monotonic()
    kinds = detect_texts(texts)
    assert time.monotonic() - start < 20
    for index, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        assert kind is (UNREADABLE if text == trouble else IMAGE if text == "7" else OTHER), index


def test_a_file_whose_process_was_killed_from_outside_is_asked_about_again(
    detect_texts, stub_command, tmp_path
):
    """It may be no image, and then gets no row."""
    mark = tmp_path / "mark"
    assert detect_texts(["text"] * 15 + ["7"], (*stub_command, str(mark))) == [OTHER] * 15 + [IMAGE]
    assert mark.exists()


def test_processes_that_end_as_they_start_end_the_walk_with_a_sentence(detect_texts):
    with pytest.raises(DigitscanError, match="ends as soon as it starts"):
        detect_texts(["7"], (sys.executable, "-c", "pass"))
    with pytest.raises(DigitscanError, match="No process to read the files can be started"):
        detect_texts(["7"], (sys.executable + "-missing",))
