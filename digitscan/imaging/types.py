"""Array types that the imaging modules share."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

GrayImage = NDArray[Any]
"""A grayscale image, (height, width) uint8. `Any`, because OpenCV's annotations carry no pixel type."""
