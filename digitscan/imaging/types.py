"""The type of a picture."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

GrayImage = NDArray[Any]
"""A picture, (H, W) uint8; OpenCV's annotations do not carry the type of a pixel."""
