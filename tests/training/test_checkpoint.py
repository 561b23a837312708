"""A training run that was interrupted goes on, and ends with the weights of one that never was."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from digitscan.errors import OutputError
from digitscan.training import trainer as fit
from digitscan.training.checkpoint import Checkpoint, checkpoint_path, load_checkpoint, save_checkpoint
from digitscan.training.config import TrainConfig
from digitscan.training.data.sources import load_data
from digitscan.training.pipeline import run
from tests.support.command import PACKAGE_FOLDER

RUN = {"seed": 1}


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mnist = load_data()
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(
        path,
        x_train=mnist.x_train[:400],
        y_train=mnist.y_train[:400],
        x_test=mnist.x_test[:60],
        y_test=mnist.y_test[:60],
    )
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of test models go into a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def checkpoint() -> Checkpoint:
    history = {"loss": [2.0, 1.0], "val_accuracy": [0.5, 0.4]}
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(0.5).reshape(())]
    return Checkpoint(RUN, 12.5, 0, history, [*arrays, *[np.zeros(k) for k in range(12)]], arrays, arrays[:1])


def interrupted_after(epochs: int, options: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []

    def save(path: Path, checkpoint: Checkpoint) -> None:
        save_checkpoint(path, checkpoint)
        saved.append(path)
        if len(saved) == epochs:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fit, "save_checkpoint", save)
        with pytest.raises(KeyboardInterrupt):
            run(options)


def weights_in(path: Path) -> list[np.ndarray]:
    return keras.models.load_model(path, compile=False).get_weights()


@pytest.mark.parametrize(
    ("architecture", "teachers", "after"),
    [("mlp", (), 2), ("cnn-fast", ("cnn",), 1)],
)
def test_a_run_that_goes_on_ends_as_one_that_was_never_interrupted(
    architecture: str,
    teachers: tuple[str, ...],
    after: int,
    few_digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last bit: optimizer, dropout and the order of images too."""

    def options(name: str, resume: bool) -> TrainConfig:
        return TrainConfig(
            architecture, tmp_path / name, teachers, few_digits, 4, 32, seed=3, resume=resume, quiet=True
        )

    whole = run(options("whole.h5", False))
    interrupted_after(after, options("part.h5", False), monkeypatch)
    assert not (tmp_path / "part.h5").exists()
    part = run(options("part.h5", True))
    assert all(
        np.array_equal(a, b) for a, b in zip(weights_in(whole.path), weights_in(part.path), strict=True)
    )
    assert part.metadata.ok_confidence == whole.metadata.ok_confidence
    assert part.metadata.training["epochs"] == whole.metadata.training["epochs"]
    assert not checkpoint_path(part.path).exists()


def test_a_run_stopped_after_its_last_epoch_only_finishes(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=2, resume=True, quiet=True)
    interrupted_after(2, options, monkeypatch)
    assert run(options).metadata.training["epochs"] == 2


def test_ctrl_c_leaves_the_old_model_and_a_checkpoint_to_go_on_from(few_digits: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    output.write_bytes(b"the old model")
    words = ["train", "--arch", "mlp", "--data", str(few_digits), "--epochs", "3000", "--patience", "3000"]
    words += ["-o", str(output), "--overwrite", "--no-plots", "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "digitscan", *words],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )
    while not checkpoint_path(output).exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"--resume goes on" in said
    assert output.read_bytes() == b"the old model"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.h5", "a.h5.checkpoint.npz"]


def test_a_checkpoint_comes_back_as_it_went_in(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_checkpoint(path, checkpoint)
    again = load_checkpoint(path, RUN)
    assert (again.history, again.seconds, again.best_epoch, again.epochs) == (
        checkpoint.history,
        12.5,
        0,
        2,
    )
    for group in ("network", "optimizer", "best"):
        pairs = zip(getattr(again, group), getattr(checkpoint, group), strict=True)
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_another_runs_checkpoint_is_refused_with_what_differs(checkpoint: Checkpoint, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.npz", checkpoint)
    with pytest.raises(OutputError, match="is of another run: seed was 1 and is 2"):
        load_checkpoint(tmp_path / "a.npz", {"seed": 2})


class Trap:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("trap",)


@pytest.mark.parametrize("damage", ["cut", "random", "empty", "no facts", "pickle", "endless"])
def test_a_damaged_or_hostile_checkpoint_is_one_sentence_and_runs_nothing(
    damage: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("a.npz")
    save_checkpoint(path, checkpoint)
    data = path.read_bytes()
    if damage == "no facts":
        np.savez(path, network0=np.zeros(3))
    elif damage == "pickle":
        np.savez(path, facts=np.array([Trap()], dtype=object), allow_pickle=True)
        assert pickle.dumps(Trap())[:1] in path.read_bytes()
    elif damage == "endless":
        np.savez(path, facts=np.frombuffer(b"[" * 100_000, np.uint8))
    else:
        path.write_bytes({"cut": data[: len(data) // 2], "random": os.urandom(500), "empty": b""}[damage])
    with pytest.raises(OutputError, match=r"cannot be read .*begin anew with --overwrite"):
        load_checkpoint(path, RUN)
    assert not Path("trap").exists()


def test_a_new_run_does_not_replace_the_checkpoint_of_an_interrupted_one_unasked(
    few_digits: Path, tmp_path: Path
) -> None:
    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=1, quiet=True)
    checkpoint_path(options.output).write_bytes(b"of many hours")
    with pytest.raises(OutputError, match="add --resume to go on with that, or --overwrite to begin anew"):
        run(options)
    assert checkpoint_path(options.output).read_bytes() == b"of many hours"
    run(replace(options, overwrite=True))
    assert not checkpoint_path(options.output).exists()


def test_going_on_is_promised_only_after_an_epoch_of_this_run(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*anything: object) -> None:
        raise KeyboardInterrupt

    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=2, overwrite=True)
    checkpoint_path(options.output).write_bytes(b"of another run")
    monkeypatch.setattr(fit, "save_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(options)
    assert "goes on" not in capsys.readouterr().err


def test_a_full_disk_is_said_before_the_hours_are_spent(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(OutputError, match=r"has room for 1 MB, and .* up to 32 MB"):
        run(TrainConfig("mlp", tmp_path / "new" / "a.h5", data=few_digits, quiet=True))
