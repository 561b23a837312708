"""Where rows go: the file itself, its lock, and what another scan does to it meanwhile."""

import os

from digitscan.scanning.output import sink as sink_module
from digitscan.scanning.output.config import OutputConfig


def test_a_file_that_another_scan_replaces_before_the_lock_is_opened_again(tmp_path, monkeypatch):
    """As by --retry-errors, between the moment it is opened and the lock."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old rows\n")
    real_lock = sink_module.lock_file

    def replace_then_lock(file):
        if path.read_bytes() == b"old rows\n":
            (tmp_path / "beside").write_bytes(b"new rows\n")
            (tmp_path / "beside").replace(path)
        return real_lock(file)

    monkeypatch.setattr(sink_module, "lock_file", replace_then_lock)
    sink = sink_module.OutputSink(OutputConfig(str(path), resume=True))
    stdout = os.dup(1)
    try:
        sink.open()
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    assert sink.file.read() == b"new rows\n"
    sink.close()
