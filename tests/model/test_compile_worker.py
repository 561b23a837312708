"""Checking and compiling a file in a child process: whatever happens there becomes one sentence."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import pytest
from keras import layers
from PIL import Image

from digitscan.errors import ExitCode, ModelError
from digitscan.model import compile_worker
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model, load_model
from tests.support.command import environment, run
from tests.support.hostile_models import build_lambda, build_network, save_h5

ReplaceChildren = Callable[..., None]


@pytest.fixture
def replace_children(monkeypatch: pytest.MonkeyPatch) -> ReplaceChildren:
    """A function that has code of a test run in place of the functions that it names."""

    def replace(**codes: str) -> None:
        commands = {function: [sys.executable, "-c", code] for function, code in codes.items()}
        monkeypatch.setattr(compile_worker, "python_command", lambda module, function: commands[function])

    return replace


def test_a_lambda_never_runs(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    network = build_network(keras.Sequential([keras.Input((28, 28, 1)), build_lambda(proof)]))
    path = save_h5(network, tmp_path)
    proof.unlink(missing_ok=True)  # Keras ran the Lambda when the network was built
    with pytest.raises(ModelError, match=r"untrusted\.h5 is refused: 'Lambda' is not on the list") as caught:
        load_model(path)
    assert caught.value.exit_code == ExitCode.MODEL
    assert not proof.exists()


def test_nothing_is_imported_from_the_current_folder_nor_set_up_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_h5(build_network(layers.Conv2D(2, 3)), tmp_path)
    keras_settings = tmp_path / "home" / ".keras" / "keras.json"
    keras_settings.parent.mkdir(parents=True)
    keras_settings.write_text('{"image_data_format": "channels_first", "floatx": "float16"}')
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("json", "keras", "h5py", "digitscan"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    metadata = load_model(path).metadata
    assert (metadata.architecture, metadata.classes) == ("unknown", 11)
    assert metadata.input_shape == (28, 28, 1)
    assert not (tmp_path / "proof").exists()
    assert [entry for entry in (tmp_path / "home").rglob("*") if entry.is_file()] == [keras_settings]


def test_a_scan_without_a_home_folder_uses_a_model_from_memory_and_leaves_nothing(
    tmp_path: Path, picture: Image.Image
) -> None:
    path = save_h5(build_network(layers.Conv2D(2, 3)), tmp_path)
    picture.save(tmp_path / "seven.png")
    cleared = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"), "")
    done = run("scan", "seven.png", "--model", path, "-o", "-", cwd=tmp_path, env=environment(**cleared))
    assert done.returncode == ExitCode.OK, done.stderr
    assert b"seven.png," in done.stdout
    assert b"set HOME" in done.stderr or sys.platform != "linux"
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "seven.png"}


def test_metadata_that_does_not_fit_the_network_is_refused(
    saved_model: Model, metadata: ModelMetadata, tmp_path: Path
) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(saved_model.path.read_bytes())
    with h5py.File(path, "a") as file:
        file["digitscan"].attrs["facts"] = dataclasses.replace(metadata, classes=10).to_json()
    with pytest.raises(ModelError, match="the metadata inside the model does not fit its network"):
        compile_worker.check_and_compile(path.read_bytes(), None)


def test_a_model_of_numbers_is_compiled_in_a_child_process_and_tried_on_lines(
    saved_line_model: Model, line_metadata: ModelMetadata
) -> None:
    data = saved_line_model.path.read_bytes()
    compilation = compile_worker.compile_in_child_process(saved_line_model.path, data, None)
    assert compilation == (line_metadata, saved_line_model.read_compiled(), None)


def test_a_trial_refuses_a_compiled_model_of_digits_with_metadata_of_numbers(
    saved_model: Model, line_metadata: ModelMetadata
) -> None:
    with pytest.raises(ModelError, match="the process that read a few images with it ended with 1"):
        compile_worker._try_in_child_process(Path("a.h5"), line_metadata, saved_model.read_compiled())


def test_legacy_keras_which_runs_code_in_model_files_is_refused(
    saved_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.raises(ModelError, match="TF_USE_LEGACY_KERAS is set"):
        load_model(saved_model.path)


def test_a_file_that_crashes_native_code_ends_only_the_child(
    saved_model: Model, replace_children: ReplaceChildren
) -> None:
    replace_children(main="import os; os.abort()")
    with pytest.raises(ModelError, match=r"small\.h5 is broken: the process that checked it ended with"):
        load_model(saved_model.path)


@pytest.mark.parametrize("crashing", ["main", "run_trial"])
def test_a_model_whose_quantization_crashes_native_code_is_compiled_in_float(
    saved_model: Model, metadata: ModelMetadata, replace_children: ReplaceChildren, crashing: str
) -> None:
    answer = json.dumps({"metadata": json.loads(metadata.to_json()), "input_comparison": None})
    main = "import json, os, sys; quantizes = json.loads(sys.stdin.readline())['quantizes']; "
    main += "quantizes and os.abort(); " if crashing == "main" else ""
    main += f"print({answer!r}); print(quantizes)"
    trial = "import os, sys; b'True' in sys.stdin.buffer.read() and os.abort()"
    replace_children(main=main, run_trial=trial if crashing == "run_trial" else "pass")
    compiled = compile_worker.compile_in_child_process(Path("untrusted.h5"), b"", None).compiled
    assert compiled.strip() == b"False"


def test_a_file_that_takes_too_long_is_refused(
    saved_model: Model, monkeypatch: pytest.MonkeyPatch, replace_children: ReplaceChildren
) -> None:
    replace_children(main="import time; time.sleep(60)")
    monkeypatch.setattr(compile_worker, "MAX_COMPILE_SECONDS", 0.5)
    with pytest.raises(ModelError, match=r"is refused: compiling it took over 0\.5 seconds"):
        load_model(saved_model.path)


def test_a_child_that_is_killed_leaves_no_copy_of_the_model(
    saved_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace_children: ReplaceChildren
) -> None:
    code = "import os, tempfile; open(tempfile.mkdtemp() + '/copy', 'w').close(); os.abort()"
    replace_children(main=code)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(ModelError, match="the process that checked it ended with"):
        load_model(saved_model.path)
    assert list(tmp_path.rglob("copy")) == list(tmp_path.glob("digitscan-*")) == []


@pytest.mark.parametrize(
    ("code", "max_seconds", "message"),
    [
        ("import os; os.abort()", 60, "the process that read a few images with it ended with"),
        ("import time; time.sleep(60)", 0.5, "reading a few images with it took over 0.5 seconds"),
    ],
)
def test_a_compiled_model_that_ends_or_blocks_its_readers_is_refused(
    saved_model: Model,
    metadata: ModelMetadata,
    monkeypatch: pytest.MonkeyPatch,
    replace_children: ReplaceChildren,
    code: str,
    max_seconds: float,
    message: str,
) -> None:
    answer = json.dumps({"metadata": json.loads(metadata.to_json()), "input_comparison": None})
    replace_children(main=f"print({answer!r})", run_trial=code)
    monkeypatch.setattr(compile_worker, "MAX_TRIAL_SECONDS", max_seconds)
    with pytest.raises(ModelError, match=f"is refused: {message}") as caught:
        load_model(saved_model.path)
    assert caught.value.exit_code == ExitCode.MODEL


def test_an_unexpected_error_in_the_child_is_told_with_its_name(
    saved_model: Model, replace_children: ReplaceChildren
) -> None:
    code = """print('{"failed": "ImportError: no TensorFlow"}')"""
    replace_children(main=code)
    with pytest.raises(ModelError, match=r"could not be compiled \(ImportError: no TensorFlow\)"):
        load_model(saved_model.path)
