"""An interrupted run continues from its checkpoint, and ends with the weights of an uninterrupted one."""

import os
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from digitscan.errors import OutputError
from digitscan.training import checkpoint as checkpoint_module
from digitscan.training.checkpoint import (
    HISTORY_COLUMNS,
    Checkpoint,
    CheckpointFile,
    checkpoint_path,
    load_checkpoint,
    save_checkpoint,
)
from digitscan.training.config import TrainConfig
from digitscan.training.pipeline import run_training
from tests.support import command
from tests.support.pen_strokes import make_pen_arrays

DEPENDS_ON = {"seed": 1}


@pytest.fixture
def checkpoint():
    history = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.2], "val_loss": [3, 2], "val_accuracy": [0.5, 0.4]}
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(0.5).reshape(())]
    many_arrays = [*arrays, *[np.zeros(size) for size in range(12)]]
    return Checkpoint(DEPENDS_ON, 12.5, 0, history, many_arrays, arrays, arrays[:1])


def interrupt_after(epoch_count, config, monkeypatch):
    """Run a training that is interrupted right after it has saved the checkpoint of an epoch."""
    saved = []

    def save(path, checkpoint):
        save_checkpoint(path, checkpoint)
        saved.append(path)
        if len(saved) == epoch_count:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_module, "save_checkpoint", save)
        with pytest.raises(KeyboardInterrupt):
            run_training(config)


def read_weights(path):
    return keras.models.load_model(path, compile=False).get_weights()


@pytest.mark.parametrize(
    ("architecture", "teachers", "epoch_count"),
    [("mlp", (), 2), ("cnn-fast", ("cnn",), 1)],
)
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    architecture, teachers, epoch_count, few_digits, tmp_path, monkeypatch
):
    """To the last bit, so the optimizer, dropout and the order of the images are restored too."""
    config = TrainConfig(
        architecture,
        tmp_path / "whole.h5",
        teachers,
        data=few_digits,
        epochs=3,
        batch_size=64,
        seed=3,
        quiet=True,
    )
    whole = run_training(config)
    config = replace(config, output=tmp_path / "resumed.h5")
    interrupt_after(epoch_count, config, monkeypatch)
    assert not config.output.exists()
    resumed = run_training(replace(config, resume=True))
    pairs = zip(read_weights(whole.path), read_weights(resumed.path), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert resumed.metadata.ok_confidence == whole.metadata.ok_confidence
    assert resumed.metadata.training["epochs"] == whole.metadata.training["epochs"]
    assert not checkpoint_path(resumed.path).exists()


def test_a_run_interrupted_after_its_last_epoch_is_only_calibrated_and_saved(
    few_digits, tmp_path, monkeypatch
):
    config = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=2, resume=True, quiet=True)
    interrupt_after(2, config, monkeypatch)
    assert run_training(config).metadata.training["epochs"] == 2


def test_a_run_with_other_pen_strokes_is_another_run(few_digits, pens_path, tmp_path, monkeypatch):
    config = TrainConfig(
        "cnn-fast", tmp_path / "a.h5", ("cnn",), few_digits, (pens_path,), epochs=2, quiet=True
    )
    interrupt_after(1, config, monkeypatch)
    np.savez(tmp_path / "other.npz", **make_pen_arrays(copies=2))
    with pytest.raises(OutputError, match="belongs to another run: pens was"):
        run_training(replace(config, pens=(tmp_path / "other.npz",), resume=True))


def test_ctrl_c_leaves_the_old_model_and_a_checkpoint_to_continue_from(few_digits, tmp_path):
    output = tmp_path / "a.h5"
    output.write_bytes(b"the old model")
    arguments = ["train", "--arch", "mlp", "--data", few_digits, "--epochs", "3000", "--patience", "3000"]
    arguments += ["-o", output, "--overwrite", "--no-plots", "--resume"]
    process = command.start(*arguments, start_new_session=True)
    while not checkpoint_path(output).exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume continues" in stderr
    assert output.read_bytes() == b"the old model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "a.h5.checkpoint.npz"]


def test_a_run_that_is_stopped_while_it_saves_its_checkpoint_knows_that_there_is_one(
    tmp_path, monkeypatch, request
):
    def save_and_stop(path, checkpoint):
        save_checkpoint(path, checkpoint)
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored in background jobs of a shell
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    monkeypatch.setattr("digitscan.training.checkpoint.save_checkpoint", save_and_stop)
    keras_model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    keras_model.compile("adam", "mse")
    checkpoint_file = CheckpointFile(tmp_path / "a.npz", DEPENDS_ON, resume=False)
    with pytest.raises(KeyboardInterrupt):
        checkpoint_file.save(keras_model, {"loss": [1.0]}, keras_model.get_weights(), 0, 1.0)
    assert checkpoint_file.is_resumable


def test_a_checkpoint_is_read_as_it_was_saved(checkpoint, tmp_path):
    path = tmp_path / "a.npz"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path, DEPENDS_ON)
    assert loaded.history == checkpoint.history
    assert (loaded.seconds, loaded.best_epoch, loaded.epoch_count) == (12.5, 0, 2)
    for field in ("variables", "optimizer_variables", "best_weights"):
        pairs = zip(getattr(loaded, field), getattr(checkpoint, field), strict=True)
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_the_checkpoint_of_another_run_is_refused_with_the_values_that_differ(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "a.npz", checkpoint)
    with pytest.raises(OutputError, match="belongs to another run: seed was 1 and is 2"):
        load_checkpoint(tmp_path / "a.npz", {"seed": 2})


def test_a_checkpoint_of_another_network_is_refused(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "a.npz", checkpoint)
    keras_model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    keras_model.compile("adam", "mse")
    with pytest.raises(OutputError, match="is damaged: start again with --overwrite, not --resume"):
        CheckpointFile(tmp_path / "a.npz", DEPENDS_ON, resume=True).restore(keras_model)


class MakeFolder:
    """An object that creates the folder `trap` when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("trap",)


@pytest.mark.parametrize(
    "change",
    [
        {"best_epoch": 2},
        {"best_epoch": -1},
        {"best_epoch": True},
        {"best_epoch": 0.5},
        {"best_epoch": "0"},
        {"seconds": "long"},
        {"seconds": float("nan")},
        {"seconds": 10**400},
        {"depends_on": 1},
        {"history": [1.0]},
        {"history": "loss accuracy val_loss val_accuracy"},
        {"history": {"loss": [1.0], "accuracy": [1.0], "val_loss": [1.0]}},
        {"history": {"loss": [1.0], "accuracy": [1.0], "val_loss": [1.0], "val_accuracy": [1.0], "x": [1.0]}},
        {"history": {"loss": [1.0], "accuracy": [1.0], "val_loss": [1.0], "val_accuracy": [1.0, 2.0]}},
        {"history": {"loss": [1.0], "accuracy": [1.0], "val_loss": [1.0], "val_accuracy": ["high"]}},
        {"history": {"loss": [1.0], "accuracy": [1.0], "val_loss": [1.0], "val_accuracy": [float("inf")]}},
        {"history": {"loss": 1.0, "accuracy": 1.0, "val_loss": 1.0, "val_accuracy": 1.0}},
        {"history": {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}},
        {"variables": [np.array([np.nan, 1.0])]},
        {"best_weights": [np.array(["weights"])]},
    ],
)
def test_a_checkpoint_with_values_that_no_run_writes_is_refused(change, checkpoint, tmp_path):
    save_checkpoint(tmp_path / "a.npz", replace(checkpoint, **change))
    with pytest.raises(OutputError, match=r"cannot be read .*start again with --overwrite, not --resume"):
        load_checkpoint(tmp_path / "a.npz", DEPENDS_ON)


@pytest.mark.parametrize("kind", ["pipe", "folder", "broken link", "device"])
def test_what_is_no_file_is_refused_in_the_place_of_a_checkpoint(kind, tmp_path):
    path = tmp_path / "a.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("missing" if kind == "broken link" else "/dev/zero")
    with pytest.raises(OutputError, match=r"cannot be read .*start again with --overwrite, not --resume"):
        CheckpointFile(path, DEPENDS_ON, resume=True)


@pytest.mark.parametrize("field", ["variables", "optimizer_variables", "best_weights"])
@pytest.mark.parametrize("change", ["missing", "shape", "type"])
def test_arrays_that_do_not_fit_the_network_are_refused(field, change, tmp_path):
    keras_model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    keras_model.compile("adam", "mse")
    keras_model.optimizer.build(keras_model.trainable_variables)
    path = tmp_path / "a.npz"
    columns = {name: [1.0] for name in HISTORY_COLUMNS}
    CheckpointFile(path, DEPENDS_ON, resume=False).save(
        keras_model, columns, keras_model.get_weights(), 0, 1.0
    )
    CheckpointFile(path, DEPENDS_ON, resume=True).restore(keras_model)
    checkpoint = load_checkpoint(path, DEPENDS_ON)
    first, *others = getattr(checkpoint, field)
    changed = {"missing": [], "shape": [first.ravel()[:-1]], "type": [first.astype(np.float16)]}[change]
    save_checkpoint(path, replace(checkpoint, **{field: [*changed, *others]}))
    with pytest.raises(OutputError, match="is damaged: start again with --overwrite, not --resume"):
        CheckpointFile(path, DEPENDS_ON, resume=True).restore(keras_model)


@pytest.mark.parametrize(
    "damage", ["truncated", "random", "empty", "no metadata", "other JSON", "no epochs", "pickle", "nested"]
)
def test_a_damaged_or_malicious_checkpoint_is_one_sentence_and_runs_nothing(
    damage, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = Path("a.npz")
    save_checkpoint(path, checkpoint)
    data = path.read_bytes()
    if damage == "no metadata":
        np.savez(path, variables0=np.zeros(3))
    elif damage == "other JSON":
        np.savez(path, facts=np.frombuffer(b'{"seconds": 1}', np.uint8))
    elif damage == "no epochs":
        save_checkpoint(path, replace(checkpoint, history={name: [] for name in HISTORY_COLUMNS}))
    elif damage == "pickle":
        np.savez(path, facts=np.array([MakeFolder()], dtype=object), allow_pickle=True)
        assert pickle.dumps(MakeFolder())[:1] in path.read_bytes()
    elif damage == "nested":
        np.savez(path, facts=np.frombuffer(b"[" * 100_000, np.uint8))
    else:
        path.write_bytes(
            {"truncated": data[: len(data) // 2], "random": os.urandom(500), "empty": b""}[damage]
        )
    with pytest.raises(OutputError, match=r"cannot be read .*start again with --overwrite, not --resume"):
        load_checkpoint(path, DEPENDS_ON)
    assert not Path("trap").exists()


def test_the_checkpoint_of_an_interrupted_run_is_not_replaced_without_overwrite(few_digits, tmp_path):
    config = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=1, quiet=True)
    checkpoint_path(config.output).write_bytes(b"of many hours")
    with pytest.raises(OutputError, match="add --resume to continue that run, or --overwrite to start again"):
        run_training(config)
    assert checkpoint_path(config.output).read_bytes() == b"of many hours"
    run_training(replace(config, overwrite=True))
    assert not checkpoint_path(config.output).exists()


def test_resuming_is_suggested_only_after_an_epoch_of_this_run(few_digits, tmp_path, monkeypatch, capsys):
    def interrupt(path, checkpoint):
        raise KeyboardInterrupt

    config = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=2, overwrite=True)
    checkpoint_path(config.output).write_bytes(b"of another run")
    monkeypatch.setattr(checkpoint_module, "save_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_training(config)
    assert "--resume" not in capsys.readouterr().err
