"""Where the pictures of a scan's CSV are, by what the scan noted beside it."""

import json
from pathlib import Path

from digitscan.evaluation.picture_paths import create_picture_finder


def test_a_path_below_two_of_the_folders_given_is_in_the_one_whose_name_is_longer(tmp_path):
    """The longer one may be a link to elsewhere, which is not followed below the other."""
    csv = tmp_path / "rows.csv"
    manifest = {"roots": ["a", "a/b"], "places": ["/images/a", "/elsewhere"]}
    csv.with_name("rows.csv.json").write_text(json.dumps(manifest))
    find = create_picture_finder(csv, None)
    paths = [Path(find(name, True).path) for name in ("a/1.png", "a/b/2.png", "a/bc.png")]
    assert paths == [Path("/images/a/1.png"), Path("/elsewhere/2.png"), Path("/images/a/bc.png")]
