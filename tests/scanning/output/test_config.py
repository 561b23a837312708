"""Settings of the output that contradict each other are refused."""

import pytest

from digitscan.errors import UsageError
from digitscan.scanning.output.config import OutputConfig


@pytest.mark.parametrize("other", [{"resume": True}, {"retry_errors": True}])
def test_an_output_is_either_started_again_or_continued(other):
    with pytest.raises(UsageError, match="choose one"):
        OutputConfig(overwrite=True, **other)
