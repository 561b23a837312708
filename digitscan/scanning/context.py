"""What all parts of a scan need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from digitscan.scanning.config import ScanConfig
from digitscan.workers.supervisor import ProcessFactory

if TYPE_CHECKING:
    from digitscan.model.registry import Model


class ScanContext(NamedTuple):
    """What is scanned, how, with which model, and by which processes."""

    paths: Sequence[Path]
    """The paths given, each once."""
    config: ScanConfig
    model: Model
    process_factory: ProcessFactory
    """What starts the workers; whoever made it closes it."""
