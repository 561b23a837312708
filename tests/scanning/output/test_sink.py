"""Where rows go: files, their locks and manifests, streams, and what others do to them meanwhile."""

import os
import sys

import pytest

from digitscan.errors import OutputError, UsageError
from digitscan.scanning.output import sink as sink_module
from digitscan.scanning.output.config import OutputConfig
from digitscan.scanning.output.sink import OutputSink
from tests.support.command import run, run_shell
from tests.support.pictures import digit_picture


@pytest.fixture(autouse=True)
def _stdout_comes_back():
    """A sink that is opened redirects stdout."""
    stdout = os.dup(1)
    yield
    sys.stdout.flush()
    os.dup2(stdout, 1)
    os.close(stdout)


def open_sink(path, **options):
    sink = OutputSink(OutputConfig(str(path), **options))
    sink.open()
    return sink


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
    sink = open_sink(path, resume=True)
    assert sink.file.read() == b"new rows\n"
    sink.close()


def test_the_next_free_name_is_one_without_a_manifest_of_an_output_that_was_moved_away(tmp_path, monkeypatch):
    monkeypatch.setattr(sink_module, "stdout_is_redirected", lambda: False)
    monkeypatch.chdir(tmp_path)
    for name in ("predictions.csv", "predictions-2.csv.json"):
        (tmp_path / name).touch()
    sink = OutputSink(OutputConfig())
    sink.open()
    sink.close()
    assert str(sink.path) == "predictions-3.csv" and (tmp_path / "predictions-3.csv").exists()


def test_rows_never_come_behind_a_hole_when_the_file_is_shortened(tmp_path):
    sink = open_sink(tmp_path / "rows.csv")
    sink.file.write(b"row\n" * 10)
    (tmp_path / "rows.csv").write_bytes(b"other\n")
    sink.file.write(b"row\n")
    sink.close()
    assert (tmp_path / "rows.csv").read_bytes() == b"other\nrow\n"


def test_a_rescue_never_takes_a_name_that_is_in_use(tmp_path):
    path, names = tmp_path / "rows.csv", ["rows.csv.digitscan-rescued", "rows.csv.digitscan-rescued-2"]
    (tmp_path / names[0]).symlink_to(tmp_path / "elsewhere")
    sink = open_sink(path)
    sink.file.write(b"row\n")
    assert not sink.has_changed()
    path.unlink()
    assert sink.has_changed() and sink.rescue()
    sink.file.write(b"row\n")
    sink.close()
    assert (tmp_path / names[1]).read_bytes() == b"row\nrow\n"
    assert sorted(os.listdir(tmp_path)) == names


def test_an_output_that_is_saved_over_after_the_last_row_gets_no_file_beside_it(tmp_path):
    path = tmp_path / "rows.csv"
    sink = open_sink(path)
    sink.file.write(b"row\n")
    path.write_bytes(b"r\n")
    assert sink.has_changed() and not sink.rescue(has_more_rows=False)
    assert "Rows may be missing" in sink.change
    sink.close()
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_rows_that_cannot_be_kept_are_an_output_error(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = open_sink(folder / "rows.csv")
    sink.file.write(b"row\n")
    (folder / "rows.csv").unlink()
    folder.rmdir()
    with pytest.raises(OutputError, match=r"was deleted by another program.*scan again"):
        sink.rescue()
    sink.close()


def test_an_output_that_changes_while_it_is_rewritten_stays_and_the_new_rows_are_beside_it(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"old\n")
    sink = open_sink(path, resume=True)

    def rewrite():
        with sink.atomic_rewrite() as file:
            file.write(b"new\n")
            path.write_bytes(b"by hand\n")

    with pytest.raises(OutputError, match=r"new rows are in .*rows.csv.digitscan-rescued"):
        rewrite()
    sink.close()
    assert path.read_bytes() == b"by hand\n"
    assert (tmp_path / "rows.csv.digitscan-rescued").read_bytes() == b"new\n"


if os.name == "posix":

    @pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
    @pytest.mark.parametrize("kind", ["pipe", "device"])
    def test_pipes_and_devices_are_refused_without_waiting_for_them(tmp_path, kind, options):
        path = tmp_path / "rows.csv"
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/null")
        with pytest.raises(OutputError, match="is a pipe, socket or device"):
            OutputSink(OutputConfig(str(path), **options))

    def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_refused(tmp_path):
        path = tmp_path / "rows.csv"
        path.touch()
        sink = OutputSink(OutputConfig(str(path), overwrite=True))
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(OutputError, match="is a pipe, socket or device"):
            sink.open()

    @pytest.mark.parametrize(
        "name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/stderr", "/dev/fd/9"]
    )
    def test_streams_by_name_are_no_files(name):
        if not os.path.exists(os.path.dirname(name)):
            name = "/dev/stdout"
        sink = OutputSink(OutputConfig(name, overwrite=True))
        assert sink.path is None and sink.own_files == []
        with pytest.raises(UsageError, match="cannot be resumed"):
            OutputSink(OutputConfig(name, resume=True))

    def test_a_descriptor_that_the_caller_has_not_opened_is_refused(tmp_path):
        """It may be one of our own."""
        with (
            (tmp_path / "own").open("wb") as own,
            pytest.raises(OutputError, match=f"descriptor {own.fileno()} cannot be written"),
        ):
            open_sink(f"/dev/fd/{own.fileno()}")

    def test_rows_go_to_the_stream_that_is_named_and_nothing_is_created_or_emptied(tmp_path):
        digit_picture().save(tmp_path / "7.png")
        run("scan", "7.png", "-o", "expected", cwd=tmp_path)
        script = """
            digitscan scan 7.png -o /dev/stdout --overwrite > out 2> err
            digitscan scan 7.png -o /dev/fd/5 5> five
            digitscan scan 7.png -o /dev/stderr --quiet 2> error-rows
            ln -s /dev/stdout link; digitscan scan 7.png -o link > linked
            { echo before; digitscan scan 7.png -o /proc/self/fd/1; } > appended
        """
        done = run_shell(script, cwd=tmp_path)
        expected = (tmp_path / "expected").read_bytes()
        for name in ("out", "five", "error-rows", "linked"):
            assert (tmp_path / name).read_bytes() == expected, name
        assert (tmp_path / "appended").read_bytes() == b"before\n" + expected
        assert b"on stdout" in (tmp_path / "err").read_bytes() and b"on descriptor 5" in done.stderr
        assert {path.name for path in tmp_path.glob("*.json")} == {"expected.json"}

    def test_names_on_a_terminal_cannot_control_it(tmp_path):
        import pty

        (tmp_path / "\x1b[2J\x9b7.png").touch()
        terminal, slave = pty.openpty()
        run("scan", ".", "-o", "-", "--quiet", cwd=tmp_path, stdout=slave)
        os.close(slave)
        shown = os.read(terminal, 10_000).decode().replace("\r\n", "\n")
        os.close(terminal)
        assert shown.endswith("\n\\x1b[2J\\x9b7.png,,,error,empty file\n")
