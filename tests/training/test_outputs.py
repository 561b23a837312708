"""What a run could not write is found before it trains, and what exists is not touched."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from digitscan.errors import OutputError
from digitscan.training.checkpoint import checkpoint_path
from digitscan.training.config import TrainConfig
from digitscan.training.outputs import (
    check_not_existing,
    check_writable,
    choose_output,
    log_unwritable_folders,
)
from digitscan.training.plots import PLOT_NAMES
from digitscan.training.report import write_plots


@pytest.fixture
def config(tmp_path):
    return TrainConfig("mlp", tmp_path / "new" / "a.h5", plots=tmp_path / "plots" / "of" / "a")


def list_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_run_may_start_where_nothing_exists_and_leaves_no_folder_for_plots(config, tmp_path):
    check_not_existing(config)
    check_writable(config)
    assert list_files(tmp_path) == ["new"]


@pytest.mark.parametrize("output", [".", "", "/", "..", "a folder", "link to a folder"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_is_not_a_model(output, overwrite, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a folder").mkdir()
    Path("link to a folder").symlink_to("a folder")
    with pytest.raises(OutputError, match=r"is a folder, and a file would have to be written there"):
        check_not_existing(replace(config, output=Path(output), overwrite=overwrite))


def make(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("missing" if kind == "broken link" else "/dev/null")


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link", "device"])
@pytest.mark.parametrize("place", ["model", "checkpoint", "plot"])
def test_what_is_no_file_is_never_replaced(kind, place, config):
    plot = config.plots / PLOT_NAMES[2]
    path = {"model": config.output, "checkpoint": checkpoint_path(config.output), "plot": plot}[place]
    path.parent.mkdir(parents=True)
    make(kind, path)
    for overwrite in (True, False):
        with pytest.raises(OutputError, match=r"is a folder|is a pipe, a device or a broken link"):
            check_not_existing(replace(config, overwrite=overwrite, resume=True))


@pytest.mark.parametrize("name", PLOT_NAMES)
def test_a_plot_that_exists_is_replaced_only_with_overwrite(name, config):
    config.plots.mkdir(parents=True)
    (config.plots / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=f"{name} exists: .* --plots, or add --overwrite or --no-plots"):
        check_not_existing(config)
    check_not_existing(replace(config, overwrite=True))
    check_not_existing(replace(config, plots=None))
    with pytest.raises(OutputError, match=f"the model is saved, but the plot .*{name} cannot be written"):
        write_plots({name: b"new"}, config.plots, overwrite=False)
    assert (config.plots / name).read_bytes() == b"mine"
    write_plots({name: b"new"}, config.plots, overwrite=True)
    assert (config.plots / name).read_bytes() == b"new"
    assert os.listdir(config.plots) == [name]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_plot_is_never_written_through_a_link(overwrite, tmp_path):
    (tmp_path / "mine").write_bytes(b"precious")
    (tmp_path / "loss_plot.png").symlink_to("mine")
    if overwrite:
        write_plots({"loss_plot.png": b"new"}, tmp_path, overwrite)
        assert not (tmp_path / "loss_plot.png").is_symlink()
    else:
        with pytest.raises(OutputError, match="the model is saved, but the plot"):
            write_plots({"loss_plot.png": b"new"}, tmp_path, overwrite)
    assert (tmp_path / "mine").read_bytes() == b"precious"


@pytest.mark.parametrize("plots", ["a.h5", "a.h5.checkpoint.npz"])
def test_the_folder_for_the_plots_is_not_the_model(plots, config):
    with pytest.raises(OutputError, match="cannot be written beside the plots: change -o or --plots"):
        check_not_existing(replace(config, plots=config.output.with_name(plots)))


def test_a_model_with_the_name_of_a_plot_is_refused(config):
    with pytest.raises(OutputError, match="cannot be written beside the plots"):
        check_not_existing(replace(config, output=config.plots / "loss_plot.png", overwrite=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": Path("file/a.h5")}, "file cannot be written: .*; choose another place with -o"),
        ({"output": Path("m" * 235 + ".h5")}, "cannot be written: File name too long; choose another place"),
        ({"plots": Path("file")}, "the folder file for the plots cannot be written: .*--no-plots"),
        ({"plots": Path("file/plots")}, "the folder file/plots for the plots cannot be written"),
        ({"plots": Path("new/" + "p" * 300)}, "for the plots cannot be written: File name too long"),
    ],
)
def test_folders_that_cannot_be_made_and_names_that_are_too_long_are_found(
    change, message, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(OutputError, match=message):
        check_writable(replace(config, **({"output": Path("a.h5")} | change)))
    assert list_files(tmp_path) == ["file"]


def test_a_cache_that_cannot_be_made_is_said_before_the_training(config, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    messages = []
    log_unwritable_folders(config.output, messages.append)
    (message,) = messages
    assert re.match("careful: the compiled model cannot be stored in .*: Not a directory", message)


def test_a_cache_that_others_can_write_to_is_said_before_the_training(config, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    messages = []
    log_unwritable_folders(config.output, messages.append)
    assert messages == []
    programs = tmp_path / "digitscan" / "programs"
    assert programs.stat().st_mode & 0o777 == 0o700
    programs.chmod(0o777)
    log_unwritable_folders(config.output, messages.append)
    assert re.search("cannot be stored in .*programs: other users can write to it", messages[0])


def test_a_missing_folder_for_temporary_files_is_found(config, monkeypatch):
    def raise_error():
        raise FileNotFoundError

    monkeypatch.setattr("tempfile.gettempdir", raise_error)
    with pytest.raises(OutputError, match="no folder for temporary files can be written: set TMPDIR"):
        check_writable(replace(config, plots=None))


def test_a_model_that_somebody_made_meanwhile_is_not_replaced(config):
    config.output.parent.mkdir(exist_ok=True)
    assert choose_output(config) == config.output
    config.output.touch()
    config.output.with_stem(f"{config.output.stem}-2").touch()
    assert choose_output(config) == config.output.with_stem(f"{config.output.stem}-3")
    assert choose_output(replace(config, overwrite=True)) == config.output
