"""Settings of the output that contradict each other are refused."""

import pytest

from digitscan.errors import UsageError
from digitscan.scanning.output.config import OutputConfig


@pytest.mark.parametrize("other", [{"resume": True}, {"retry_errors": True}])
def test_an_output_is_either_started_again_or_continued(other):
    with pytest.raises(UsageError, match="choose one"):
        OutputConfig(overwrite=True, **other)


@pytest.mark.parametrize(
    "path", ["rows.xlsx", "a.b/rows.JSON", "rows.csv.gz", "rows.parquet", "rows.db", "rows.tsv", "page.html"]
)
def test_a_name_of_another_format_is_refused(path):
    with pytest.raises(UsageError, match="would hold CSV under the name of another format"):
        OutputConfig(path)


@pytest.mark.parametrize("path", [None, "-", "rows", "rows.txt", "rows.csv", "x.json/rows", "/dev/fd/63"])
def test_other_names_are_taken(path):
    assert OutputConfig(path).path == path
