"""Ask a supervised process what kinds of files there are, see `file_kinds`."""

from __future__ import annotations

from typing import Any

from digitscan.workers.file_kinds import FileKind
from digitscan.workers.inspector import Inspector
from digitscan.workers.protocol import WorkerSetup
from digitscan.workers.supervisor import ProcessFactory

_KINDS = {kind.value: kind for kind in FileKind}


class KindDetector(Inspector[FileKind]):
    """Tells the kinds of files; UNREADABLE for one that blocks, or ends the worker."""

    def __init__(self, process_factory: ProcessFactory, timeout: float) -> None:
        """Take what starts the worker, and the seconds that one file may take."""
        super().__init__(WorkerSetup(does="detect kinds", shared_path=None), process_factory, timeout)

    def _parse(self, value: Any) -> FileKind:
        return _KINDS[value]

    def _answer_for_failure(self) -> FileKind:
        return FileKind.UNREADABLE
