"""The manifest: what older versions stored stays readable, and differences are named."""

import dataclasses
import json
import os

import pytest

from digitscan.errors import OutputError
from digitscan.scanning.output.manifest import (
    ScanManifest,
    check_can_start,
    check_manifest,
    manifest_path,
    start_output,
)
from digitscan.scanning.output.written_state import StateField, WrittenState

MANIFEST = ScanManifest(
    digitscan="0.1.0",
    started=1e9,
    roots=(),
    targets=("/images",),
    model="a" * 64,
    fast_model="b" * 64,
    digit_model=None,
    preprocess_version=2,
    input_maximum=1.0,
    input_inverted=False,
    min_confidence=None,
    is_calibrated=True,
    calibration=None,
    max_megapixels=64.0,
    max_pages=1000,
    frames="first",
    path_list=None,
    current_folder=None,
    include=(),
    exclude=(),
    hidden=False,
    numbers=False,
    length=None,
    check=None,
    columns=("path", "digit", "confidence", "status", "note"),
    raw=False,
    excel=False,
)
STORED_BY_OLDER_VERSIONS = {
    "digitscan_scan": 1,
    "digitscan": "0.1.0",
    "roots": [],
    "places": ["/images"],
    "model": "a" * 64,
    "quick_model": "b" * 64,
    "preprocess_version": 2,
    "input_maximum": 1.0,
    "min_confidence": None,
    "max_megapixels": 64.0,
    "columns": ["path", "digit", "confidence", "status", "note"],
    "raw": False,
    "excel": False,
}


def test_the_stored_names_are_those_of_older_versions(tmp_path):
    later = {"started": 1e9, "is_calibrated": True, "include": [], "exclude": [], "hidden": False}
    later |= {"path_list": None, "current_folder": None, "max_pages": 1000, "frames": "first"}
    later |= {"input_inverted": False, "calibration": None}
    later |= {"numbers": False, "length": None, "check": None, "digit_model": None}
    assert json.loads(MANIFEST.to_json()) == {**STORED_BY_OLDER_VERSIONS, **later}
    manifest_path(tmp_path / "rows.csv").write_text(json.dumps(STORED_BY_OLDER_VERSIONS))
    check_manifest(tmp_path / "rows.csv", MANIFEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast_model": None}, "fast model was"),
        ({"roots": ("other",)}, 'the paths as given was [] and is ["other"]'),
        ({"min_confidence": 0.5}, "min confidence was the model's own threshold and is 0.5"),
        ({"preprocess_version": 3}, "preprocess version was 2 and is 3"),
        ({"calibration": "ok from 0.9"}, 'calibration was none and is "ok from 0.9"'),
        ({"is_calibrated": False}, "whether the model's calibration is believed was true and is false"),
    ],
)
def test_a_difference_is_named_in_the_words_of_the_settings(tmp_path, change, message):
    manifest_path(tmp_path / "rows.csv").write_bytes(MANIFEST.to_json())
    with pytest.raises(OutputError) as caught:
        check_manifest(tmp_path / "rows.csv", dataclasses.replace(MANIFEST, **change))
    assert message in str(caught.value)


NUMBERS = dataclasses.replace(
    MANIFEST,
    numbers=True,
    length="5",
    model="c" * 64,
    columns=("path", "number", "confidence", "status", "note"),
)


def test_an_output_of_digits_and_one_of_numbers_do_not_go_on_as_the_other(tmp_path):
    output = started(tmp_path)
    for stored in (MANIFEST.to_json(), json.dumps(STORED_BY_OLDER_VERSIONS).encode()):
        manifest_path(output).write_bytes(stored)
        with pytest.raises(OutputError) as caught:
            check_manifest(output, NUMBERS)
        assert str(caught.value) == (
            f"{output} holds single digits: leave out --numbers, or name another file with -o"
        )
    manifest_path(output).write_bytes(NUMBERS.to_json())
    check_manifest(output, NUMBERS)
    with pytest.raises(OutputError, match=r"rows.csv holds numbers: add --numbers, or name another file"):
        check_manifest(output, MANIFEST)
    with pytest.raises(OutputError, match='length was "5" and is none'):
        check_manifest(output, dataclasses.replace(NUMBERS, length=None))


def started(tmp_path, content=None):
    """Return a CSV with its manifest, or with another content in its place."""
    output = tmp_path / "rows.csv"
    output.touch()
    manifest_path(output).write_bytes(MANIFEST.to_json() if content is None else content)
    return output


def test_the_manifest_of_an_output_that_was_moved_away_is_not_overwritten(tmp_path):
    output = started(tmp_path)
    check_can_start(output, MANIFEST, overwrite=False, continues=False)
    output.unlink()
    with pytest.raises(OutputError, match=r"rows.csv.json exists already, though .*rows.csv does not"):
        check_can_start(output, MANIFEST, overwrite=False, continues=False)
    check_can_start(output, MANIFEST, overwrite=True, continues=False)
    check_can_start(output, MANIFEST, overwrite=False, continues=True)
    with pytest.raises(OutputError, match="other settings"):
        check_can_start(output, dataclasses.replace(MANIFEST, raw=True), overwrite=False, continues=True)


def test_images_at_another_place_and_another_version_are_no_other_settings(tmp_path):
    output = started(tmp_path)
    assert check_manifest(output, MANIFEST) == (1e9, None, False)
    moved = dataclasses.replace(MANIFEST, targets=("/other",), digitscan="9.9", started=2e9)
    assert check_manifest(output, moved) == (1e9, "/images", False)


@pytest.mark.parametrize(
    ("before", "now", "agrees"),
    [
        ({"roots": ("a", "b")}, {"roots": ("a", "c", "b")}, True),
        ({"path_list": "c" * 64}, {"roots": ("a", "b")}, False),
        ({"roots": ("a", "b")}, {"roots": ("a", "c")}, False),
        ({"roots": ("a", "b")}, {"roots": (), "path_list": "c" * 64}, True),
        ({"path_list": "c" * 64}, {"path_list": "d" * 64}, True),
        ({}, {"roots": ("a",)}, False),
        ({}, {"path_list": "d" * 64}, False),
        ({"path_list": "c" * 64}, {}, False),
    ],
)
def test_only_an_update_may_add_paths(tmp_path, before, now, agrees):
    output = started(tmp_path, dataclasses.replace(MANIFEST, **before).to_json())
    manifest = dataclasses.replace(MANIFEST, **now)
    with pytest.raises(OutputError, match="other settings"):
        check_manifest(output, manifest)
    if agrees:
        assert check_manifest(output, manifest, adds_paths=True).has_other_roots
    else:
        with pytest.raises(OutputError, match="other settings"):
            check_manifest(output, manifest, adds_paths=True)


def test_without_its_manifest_it_is_said_what_can_be_done(tmp_path):
    output = tmp_path / "rows.csv"
    output.touch()
    with pytest.raises(OutputError, match=r"rows.csv.json is missing.*same new name.*-o.*rows.csv.bak"):
        check_manifest(output, MANIFEST)
    (tmp_path / "old.csv.json").write_bytes(MANIFEST.to_json())
    (tmp_path / "data.csv.json").write_text("{}")
    with pytest.raises(OutputError, match=r"If rows.csv was old.csv, rename old.csv.json to rows.csv.json"):
        check_manifest(output, MANIFEST)


def test_what_was_written_is_kept_in_place(tmp_path):
    output = started(tmp_path)
    with output.open("r+b") as file:
        start_output(output, file, MANIFEST)
    before = manifest_path(output).read_bytes()
    field = StateField(manifest_path(output))
    assert field.value == WrittenState(0, 0, "")
    for value in (
        WrittenState(123, 100, "a" * 64),
        WrittenState(None, 10**15, "0" * 64, is_complete=True, is_edited=True),
    ):
        field.update(value)
        assert StateField(manifest_path(output)).value == value
        assert len(manifest_path(output).read_bytes()) == len(before)
        check_manifest(output, MANIFEST)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (MANIFEST.to_json(), None),
        (b"", None),
        (b"{}", None),
        (b'"written_bytes": ', None),
        (b'"written_bytes": %20d\n}' % 5, WrittenState(5, 0, "")),
    ],
)
def test_the_manifest_of_an_older_version_is_left_as_it_is(tmp_path, content, value):
    output = started(tmp_path, content)
    field = StateField(manifest_path(output))
    field.update(WrittenState(7, 7, ""))
    assert field.value == value and manifest_path(output).read_bytes() == content


def test_a_manifest_that_somebody_else_has_written_meanwhile_is_left_as_it_is(tmp_path):
    output = started(tmp_path)
    with output.open("r+b") as file:
        start_output(output, file, MANIFEST)
    field = StateField(manifest_path(output))
    manifest_path(output).write_bytes(b"x" * 1000)
    field.update(WrittenState(5, 5, ""))
    assert manifest_path(output).read_bytes() == b"x" * 1000


if os.name == "posix":

    @pytest.mark.parametrize("kind", ["pipe", "device", "link", "dead link", "folder"])
    def test_what_is_no_file_is_neither_believed_nor_replaced(tmp_path, kind):
        """A pipe would be waited for, and a link leads to the manifest of another output."""
        output, path = tmp_path / "rows.csv", tmp_path / "rows.csv.json"
        (tmp_path / "other.json").write_bytes(MANIFEST.to_json())
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to({"device": "/dev/zero", "link": "other.json", "dead link": "nothing"}[kind])
        before = path.lstat()
        with pytest.raises(OutputError, match=r"rows.csv.json (cannot be read|is missing)"):
            check_manifest(output, MANIFEST)
        for overwrite in (True, False):
            with pytest.raises(OutputError, match="is in the way"):
                check_can_start(output, MANIFEST, overwrite, continues=not overwrite)
        with output.open("wb") as file, pytest.raises(OutputError, match="is in the way"):
            start_output(output, file, MANIFEST)
        assert StateField(path).value is None
        assert path.lstat() == before and (tmp_path / "other.json").read_bytes() == MANIFEST.to_json()
