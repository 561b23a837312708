"""Settings out of their range are refused where they are made."""

import math

import pytest

from digitscan.errors import UsageError
from digitscan.scanning.config import ScanConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_confidence": 1.5}, "min_confidence must be between 0 and 1, not 1.5"),
        ({"min_confidence": math.nan}, "min_confidence must be between 0 and 1, not nan"),
        ({"timeout": 0}, "timeout must be at least 0.1, not 0"),
        ({"timeout": math.inf}, "timeout must be at least 0.1, not inf"),
        ({"max_megapixels": -1.0}, "max_megapixels must be at least 0.001, not -1.0"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"chunk_size": 5000}, "chunk_size must be between 1 and 4096, not 5000"),
        ({"input_maximum": 2.0}, "input_maximum must be 1.0 or 255.0, not 2.0"),
    ],
)
def test_a_value_out_of_its_range_is_a_usage_error(settings, message):
    with pytest.raises(UsageError) as caught:
        ScanConfig(**settings)
    assert str(caught.value) == message
