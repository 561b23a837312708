"""The manifest: what older versions stored stays readable, and differences are named."""

import dataclasses
import json
import os

import pytest

from digitscan.errors import OutputError
from digitscan.scanning.output.manifest import (
    ScanManifest,
    WrittenLength,
    check_can_start,
    check_manifest,
    manifest_path,
    start_output,
)

MANIFEST = ScanManifest(
    digitscan="0.1.0",
    roots=(),
    targets=("/images",),
    model="a" * 64,
    fast_model="b" * 64,
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
    later = {"is_calibrated": True, "include": [], "exclude": [], "hidden": False}
    later |= {"path_list": None, "current_folder": None, "max_pages": 1000, "frames": "first"}
    later |= {"input_inverted": False, "calibration": None}
    assert json.loads(MANIFEST.to_json()) == {**STORED_BY_OLDER_VERSIONS, **later}
    manifest_path(tmp_path / "rows.csv").write_text(json.dumps(STORED_BY_OLDER_VERSIONS))
    check_manifest(tmp_path / "rows.csv", MANIFEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast_model": None}, "fast model was"),
        ({"targets": ("/other",)}, 'the real paths was ["/images"] and is ["/other"]'),
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


def started(tmp_path, content=None):
    """Return a CSV with its manifest, or with another content in its place."""
    output = tmp_path / "rows.csv"
    output.touch()
    manifest_path(output).write_bytes(MANIFEST.to_json() if content is None else content)
    return output


def test_the_manifest_of_an_output_that_was_moved_away_is_not_overwritten(tmp_path):
    output = started(tmp_path)
    check_can_start(output, MANIFEST, overwrite=False, resume=False)
    output.unlink()
    with pytest.raises(OutputError, match=r"rows.csv.json exists already, though .*rows.csv does not"):
        check_can_start(output, MANIFEST, overwrite=False, resume=False)
    check_can_start(output, MANIFEST, overwrite=True, resume=False)
    check_can_start(output, MANIFEST, overwrite=False, resume=True)
    with pytest.raises(OutputError, match="other settings"):
        check_can_start(output, dataclasses.replace(MANIFEST, raw=True), overwrite=False, resume=True)


def test_the_length_of_the_rows_is_kept_in_place(tmp_path):
    output = started(tmp_path)
    with output.open("r+b") as file:
        start_output(output, file, MANIFEST)
    before = manifest_path(output).read_bytes()
    length = WrittenLength(output)
    assert length.value == 0
    for value in (123, None, 10**15):
        length.update(value)
        assert WrittenLength(output).value == value
        assert len(manifest_path(output).read_bytes()) == len(before)
        check_manifest(output, MANIFEST)


@pytest.mark.parametrize("content", [MANIFEST.to_json(), b"", b"{}", b'"written_bytes": '])
def test_a_manifest_without_the_length_is_left_as_it_is(tmp_path, content):
    output = started(tmp_path, content)
    length = WrittenLength(output)
    length.update(5)
    assert length.value is None and manifest_path(output).read_bytes() == content


def test_a_manifest_that_somebody_else_has_written_meanwhile_is_left_as_it_is(tmp_path):
    output = started(tmp_path)
    with output.open("r+b") as file:
        start_output(output, file, MANIFEST)
    length = WrittenLength(output)
    manifest_path(output).write_bytes(b"x" * 1000)
    length.update(5)
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
                check_can_start(output, MANIFEST, overwrite, resume=not overwrite)
        with output.open("wb") as file, pytest.raises(OutputError, match="is in the way"):
            start_output(output, file, MANIFEST)
        assert WrittenLength(output).value is None
        assert path.lstat() == before and (tmp_path / "other.json").read_bytes() == MANIFEST.to_json()
