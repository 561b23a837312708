"""The manifest: what older versions stored stays readable, and differences are named."""

import dataclasses
import json

import pytest

from digitscan.errors import OutputError
from digitscan.scanning.output.manifest import ScanManifest, check_manifest, manifest_path

MANIFEST = ScanManifest(
    digitscan="0.1.0",
    roots=(),
    targets=("/images",),
    model="a" * 64,
    fast_model="b" * 64,
    preprocess_version=2,
    input_maximum=1.0,
    min_confidence=None,
    max_megapixels=64.0,
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
    assert json.loads(MANIFEST.to_json()) == STORED_BY_OLDER_VERSIONS
    manifest_path(tmp_path / "rows.csv").write_text(json.dumps(STORED_BY_OLDER_VERSIONS))
    check_manifest(tmp_path / "rows.csv", MANIFEST)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast_model": None}, "fast model was"),
        ({"targets": ("/other",)}, 'the real paths was ["/images"] and is ["/other"]'),
        ({"min_confidence": 0.5}, "min confidence was null and is 0.5"),
        ({"preprocess_version": 3}, "preprocess version was 2 and is 3"),
    ],
)
def test_a_difference_is_named_in_the_words_of_the_settings(tmp_path, change, message):
    manifest_path(tmp_path / "rows.csv").write_bytes(MANIFEST.to_json())
    with pytest.raises(OutputError) as caught:
        check_manifest(tmp_path / "rows.csv", dataclasses.replace(MANIFEST, **change))
    assert message in str(caught.value)
