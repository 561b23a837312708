"""Which model a name, a path or nothing stands for, and what loading it returns."""

from __future__ import annotations

import dataclasses
import doctest
import hashlib
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.errors import ModelError, UsageError
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model import compiled_cache, model_files, registry
from digitscan.model.classifier import Cascade, Classifier
from digitscan.model.export import save_model
from digitscan.model.h5_file import to_h5_bytes
from digitscan.model.input_range import InputRange
from digitscan.model.line_classifier import LineClassifier
from digitscan.model.metadata import ModelMetadata
from digitscan.model.model_files import resolve_model
from digitscan.model.registry import Model, load_bundled_models, load_model
from digitscan.model.user_calibrations import Calibration, store_calibration
from tests.support.command import run_code
from tests.support.hostile_models import build_network, save_h5


def bundle(model: Model, bundled_folder: Path, name: str) -> None:
    """Copy a model into the folder of the bundled ones."""
    shutil.copy(model.path, bundled_folder / f"{name}.h5")
    for suffix in (".tflite", ".json"):
        shutil.copy(model.compiled_path.with_suffix(suffix), bundled_folder / "programs")


@pytest.fixture
def default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`models/digits.h5` in a new current folder, to be filled."""
    (tmp_path / "current" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "current")
    return model_files.DEFAULT_PATH


def test_a_file_planted_as_the_default_model_is_never_used_unasked(
    saved_model: Model, tmp_path: Path, bundled_folder: Path, default_path: Path, compiled_paths: list[Path]
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    save_h5(build_network(), tmp_path).rename(default_path)
    messages: list[str] = []
    for _ in range(2):
        assert load_model(log=messages.append).name == "cnn"
        message = messages.pop()
        digest = hashlib.sha256(default_path.read_bytes()).hexdigest()
        assert message.endswith(f"name it with --model {default_path} --model-sha256 {digest}")
        assert messages == []
        # Whoever names it once has not said that it is to be used unasked.
        assert load_model(default_path).path == default_path
    assert compiled_paths == [default_path]
    assert [model.name for model in load_bundled_models()] == ["cnn"]


def test_a_copy_of_a_bundled_model_is_not_used_unasked_either(
    saved_model: Model, bundled_folder: Path, default_path: Path
) -> None:
    for name in ("cnn", "mlp"):
        bundle(saved_model, bundled_folder, name)
    shutil.copy(saved_model.path, default_path)
    messages: list[str] = []
    assert load_model(log=messages.append).name == "cnn"
    assert "is not used, because there is no record that you trained it" in messages[0]
    # Its bytes are those of the bundled one, so where it is named it is as good.
    assert load_model(default_path).metadata == saved_model.metadata


def test_numbers_are_read_with_the_bundled_model_of_numbers_and_digits_with_that_of_digits(
    saved_model: Model, saved_line_model: Model, bundled_folder: Path, default_path: Path
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    bundle(saved_line_model, bundled_folder, "line")
    numbers = load_model(numbers=True)
    assert (numbers.name, numbers.metadata) == ("line", saved_line_model.metadata)
    assert numbers.fast_model is None
    assert isinstance(numbers.load_line_classifier(), LineClassifier)
    assert load_model().name == "cnn"
    assert [model.name for model in load_bundled_models()] == ["cnn", "line"]


def test_a_model_of_the_other_kind_is_refused_with_what_to_do(
    saved_model: Model, saved_line_model: Model, bundled_folder: Path
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    bundle(saved_line_model, bundled_folder, "line")
    message = "^cnn reads single digits: leave out --numbers, or give a model of numbers such as line$"
    with pytest.raises(ModelError, match=message):
        load_model("cnn", numbers=True)
    with pytest.raises(ModelError, match=message):
        load_model("cnn").load_line_classifier()
    message = "^line reads numbers: give --numbers, or a model of single digits such as cnn$"
    with pytest.raises(ModelError, match=message):
        load_model("line")
    with pytest.raises(ModelError, match=message):
        load_model(numbers=True).load_classifier()


def test_a_model_of_numbers_of_somebody_else_reads_them_for_review(
    saved_line_model: Model, compiled_paths: list[Path]
) -> None:
    for _ in range(2):
        model = load_model(saved_line_model.path, numbers=True)
        assert model.metadata == saved_line_model.metadata.without_claims()
        assert model.metadata.ok_confidence is None
    assert compiled_paths == [saved_line_model.path]


def test_without_the_bundled_model_of_numbers_the_others_are_there(
    saved_model: Model, bundled_folder: Path, tmp_path: Path
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    assert [model.name for model in load_bundled_models()] == ["cnn"]
    with pytest.raises(ModelError, match=r"the bundled model 'line' is missing at .*: install"):
        load_model(numbers=True)
    with pytest.raises(ModelError, match=r"give the path of a \.h5 or \.keras file, or line$"):
        load_model(tmp_path / "none.h5", numbers=True)


def test_a_model_of_numbers_is_not_the_default_for_digits_though_this_user_trained_it(
    saved_model: Model,
    small_line_network: Any,
    line_metadata: ModelMetadata,
    bundled_folder: Path,
    default_path: Path,
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    save_model(small_line_network, line_metadata, default_path)
    messages: list[str] = []
    assert load_model(log=messages.append).name == "cnn"
    assert messages == [f"{default_path} is not used, because it reads numbers, not single digits"]


@pytest.fixture
def forged_path(small_cnn: Any, metadata: ModelMetadata, tmp_path: Path) -> Path:
    """A `.h5` of somebody else whose metadata makes every row `ok`."""
    forged = dataclasses.replace(
        metadata, architecture="digitscan-best", ok_confidence=0.0, temperature=0.01, scores={"a": 1.0}
    )
    path = tmp_path / "forged.h5"
    path.write_bytes(to_h5_bytes(small_cnn, forged))
    return path


def test_what_a_model_of_somebody_else_says_of_itself_is_not_believed(
    forged_path: Path, compiled_paths: list[Path]
) -> None:
    messages: list[str] = []
    model = load_model(forged_path, log=messages.append)
    known = {"classes": 11, "preprocess_version": PREPROCESS_VERSION, "input_shape": (28, 28, 1)}
    assert model.metadata == ModelMetadata(architecture="unknown", **known)
    assert "is not used, and its rows are review" in messages[-1]
    assert messages[-1].endswith(f"pin it with --model-sha256 {model.digest}")


def test_whoever_pins_a_model_by_its_digest_vouches_for_what_it_says(
    forged_path: Path, compiled_paths: list[Path]
) -> None:
    digest = hashlib.sha256(forged_path.read_bytes()).hexdigest()
    assert load_model(forged_path, sha256=digest).metadata.ok_confidence == 0.0
    # For this time: the next one must say so again.
    assert load_model(forged_path).metadata.ok_confidence is None
    assert len(compiled_paths) == 1


def test_an_edited_cache_makes_no_row_ok(
    saved_model: Model, cache_folder: Path, compiled_paths: list[Path]
) -> None:
    model = load_model(saved_model.path, sha256=saved_model.digest)
    entry_path = model.compiled_path.with_suffix(".json")
    entry_path.write_text(entry_path.read_text().replace('"ok_confidence": 0.8', '"ok_confidence": 0.0'))
    assert load_model(saved_model.path).metadata.ok_confidence is None
    assert load_model(saved_model.path, sha256=saved_model.digest) == model
    assert compiled_paths == [saved_model.path] * 2


def test_clearing_the_cache_forgets_no_trained_model(
    small_cnn: Any,
    metadata: ModelMetadata,
    calibration_images: NDArray[np.float32],
    cache_folder: Path,
    default_path: Path,
    compiled_paths: list[Path],
) -> None:
    trained = save_model(small_cnn, metadata, default_path, None, calibration_images)
    assert load_model() == load_model(default_path) == trained
    shutil.rmtree(cache_folder)
    assert load_model().metadata == metadata
    assert compiled_paths == [default_path]


@pytest.mark.parametrize(
    ("accuracy", "is_tested_on_mnist", "is_used"),
    [(0.9951, True, True), (0.9949, True, False), (0.5, False, True), (None, True, True)],
)
def test_a_trained_model_that_is_much_worse_than_the_bundled_one_is_not_used_unasked(
    accuracy: float | None,
    is_tested_on_mnist: bool,
    is_used: bool,
    small_cnn: Any,
    metadata: ModelMetadata,
    bundled_folder: Path,
    default_path: Path,
) -> None:
    bundled = dataclasses.replace(metadata, scores={"test accuracy": 1.0})
    save_model(small_cnn, bundled, bundled_folder / "cnn.h5", bundled_folder / "programs", compiled=b"")
    trained = dataclasses.replace(metadata, scores={"test accuracy": accuracy})
    save_model(small_cnn, trained, default_path, compiled=b"compiled", is_tested_on_mnist=is_tested_on_mnist)
    resolved = resolve_model()
    assert resolved.name == (str(default_path) if is_used else "cnn")
    assert resolved.message == (
        ""
        if is_used
        else f"{default_path} is not used, because it reads 99.49% of its test images right, and the "
        f"bundled cnn 100.00%: to use it, name it with --model {default_path}"
    )
    assert load_model(default_path).metadata == trained


@pytest.mark.parametrize(("bundled_accuracy", "is_used"), [(0.9, True), (0.905, True), (0.906, False)])
def test_models_are_compared_on_the_test_images_of_the_users_own_data(
    bundled_accuracy: float,
    is_used: bool,
    small_cnn: Any,
    metadata: ModelMetadata,
    bundled_folder: Path,
    default_path: Path,
) -> None:
    save_model(small_cnn, metadata, bundled_folder / "cnn.h5", bundled_folder / "programs", compiled=b"")
    trained = dataclasses.replace(metadata, scores={"test accuracy": 0.9})
    save_model(small_cnn, trained, default_path, compiled=b"compiled", bundled_accuracy=bundled_accuracy)
    assert resolve_model().name == (str(default_path) if is_used else "cnn")


def test_a_default_model_that_cannot_be_read_does_not_end_a_scan(
    saved_model: Model, bundled_folder: Path, default_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    default_path.write_bytes(bytes(1000))
    with monkeypatch.context() as patch:
        patch.setattr(model_files, "MAX_MODEL_BYTES", 999)
        message = resolve_model().message
    assert message == f"not used: {default_path} has 1000 bytes: models of more than 999 are refused"


@pytest.mark.parametrize(
    ("training", "command"),
    [
        ({"data": "MNIST"}, "digitscan train --arch cnn -o {path} --overwrite"),
        (
            {"data": "mine.npz"},
            "digitscan train --arch cnn --data (the images that it learned from) -o {path} --overwrite",
        ),
    ],
)
def test_a_model_for_older_preprocessing_is_answered_with_the_command_that_trains_it_again(
    training: dict[str, str],
    command: str,
    small_cnn: Any,
    metadata: ModelMetadata,
    calibration_images: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bundled_folder: Path,
    saved_model: Model,
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    monkeypatch.chdir(tmp_path)
    path = Path("models/digits.h5")
    older = dataclasses.replace(metadata, preprocess_version=1, training=training)
    save_model(small_cnn, older, path, None, calibration_images)
    with pytest.raises(ModelError) as refusal:
        load_model(path)
    assert str(refusal.value).endswith(f"train it again with {command.format(path=path)}")
    # Where it would only have been preferred, the bundled model reads, and a line says why.
    messages: list[str] = []
    assert load_model(log=messages.append).name == "cnn"
    assert messages == [f"not used: {refusal.value}"]


def test_a_pinned_model_must_have_that_digest(saved_model: Model, compiled_paths: list[Path]) -> None:
    with pytest.raises(ModelError, match=f"is not the pinned model: its SHA-256 is {saved_model.digest}"):
        load_model(saved_model.path, sha256="0" * 64)
    assert compiled_paths == []
    assert load_model(saved_model.path, sha256=saved_model.digest.upper()).digest == saved_model.digest


def test_a_missing_model_is_reported_with_what_can_be_given(tmp_path: Path, bundled_folder: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"does not exist: give the path of a \.h5 or \.keras file, or cnn or mlp or cnn-fast$",
    ):
        load_model(tmp_path / "none.h5")
    with pytest.raises(ModelError, match=r"is a folder, not a model file"):
        load_model(tmp_path)
    with pytest.raises(
        ModelError, match=r"the bundled model 'mlp' is missing at .*: install digitscan again"
    ):
        load_model("mlp")


def test_the_former_name_of_the_fast_model_is_answered_with_its_new_one() -> None:
    with pytest.raises(
        ModelError, match="the bundled model 'quick' is called 'cnn-fast' now: give that name"
    ):
        load_model("quick")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.h5").write_bytes(bytes(1000))
    monkeypatch.setattr(model_files, "MAX_MODEL_BYTES", 999)
    with pytest.raises(ModelError, match="has 1000 bytes: models of more than 999 are refused"):
        load_model(tmp_path / "large.h5")


def test_the_input_range_of_a_model_without_metadata_can_be_given(
    tmp_path: Path, images: NDArray[np.uint8], compiled_paths: list[Path]
) -> None:
    keras.utils.set_random_seed(3)
    path = save_h5(build_network(layers.Rescaling(1 / 255), shape=(28, 28)), tmp_path)
    model = load_model(path, input_range="0..255")
    assert model.metadata.input_range == "0..255"
    assert load_model(path, input_range="0..255") == model
    expected = keras.models.load_model(path).predict(images.astype(np.float32), verbose=0)
    assert np.abs(model.load_classifier().classify(images) - expected).max() < 1e-4
    assert load_model(path).compiled_path != model.compiled_path
    assert compiled_paths == [path, path]


def test_a_model_of_dark_ink_on_light_paper_gets_such_pictures(
    tmp_path: Path, images: NDArray[np.uint8], compiled_paths: list[Path]
) -> None:
    keras.utils.set_random_seed(3)
    path = save_h5(build_network(layers.Rescaling(1 / 255), shape=(28, 28)), tmp_path)
    model = load_model(path, input_range="255..0")
    expected = keras.models.load_model(path).predict((255 - images).astype(np.float32), verbose=0)
    assert np.abs(model.load_classifier().classify(images) - expected).max() < 1e-4
    assert load_model(path, input_range="255..0") == model
    assert compiled_paths == [path]


def test_an_input_range_that_there_is_not_is_a_wrong_use(saved_model: Model) -> None:
    with pytest.raises(UsageError, match=r"must be one of 0\.\.1, 0\.\.255, 1\.\.0, 255\.\.0, not 'bytes'"):
        load_model(saved_model.path, input_range="bytes")


def test_the_input_range_of_a_model_with_metadata_cannot_be_changed(
    saved_model: Model, compiled_paths: list[Path]
) -> None:
    with pytest.raises(UsageError, match=r"says that its input is 0\.\.1: .* leave it out"):
        load_model(saved_model.path, input_range="0..255")


def test_a_fast_model_answers_only_for_the_model_that_it_was_made_for(
    saved_model: Model,
    small_cnn: Any,
    calibration_images: NDArray[np.float32],
    bundled_folder: Path,
    tmp_path: Path,
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    metadata = dataclasses.replace(
        saved_model.metadata, cascade_target=saved_model.digest, cascade_threshold=0.99
    )
    programs = bundled_folder / "programs"
    fast = save_model(small_cnn, metadata, bundled_folder / "cnn-fast.h5", programs, calibration_images)
    model = load_model("cnn")
    assert model.fast_model is not None and model.fast_model.digest == fast.digest
    assert isinstance(model.load_classifier(), Cascade)

    assert load_model("cnn-fast").fast_model is None
    assert isinstance(load_model("cnn-fast").load_classifier(), Classifier)
    other = dataclasses.replace(saved_model.metadata, temperature=2.0)
    save_model(small_cnn, other, tmp_path / "other.h5", programs, calibration_images)
    assert load_model(tmp_path / "other.h5").fast_model is None


CALIBRATION = Calibration("theirs.h5", temperature=3.0, ok_confidence=0.7, pictures=1234, date="2026-11-27")


def test_a_model_that_the_user_calibrated_has_rows_that_are_ok(
    forged_path: Path, cache_folder: Path, compiled_paths: list[Path]
) -> None:
    digest = hashlib.sha256(forged_path.read_bytes()).hexdigest()
    store_calibration(digest, InputRange.ONE, CALIBRATION)
    messages: list[str] = []
    model = load_model(forged_path, log=messages.append)
    assert model.calibration == CALIBRATION
    assert (model.metadata.temperature, model.metadata.ok_confidence) == (3.0, 0.7)
    assert model.metadata.architecture == "unknown"
    assert not any("its rows are review" in message for message in messages)
    shutil.rmtree(cache_folder)
    assert load_model(forged_path).calibration == CALIBRATION
    # Training must not depend on it.
    assert load_model(forged_path, uses_calibration=False).metadata.ok_confidence is None


def test_a_calibration_counts_before_what_the_model_says_of_itself(saved_model: Model) -> None:
    store_calibration(saved_model.digest, InputRange.ONE, CALIBRATION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_cache, "user_compiled_folder", lambda: saved_model.compiled_path.parent)
        model = load_model(saved_model.path, sha256=saved_model.digest)
    assert (model.metadata.ok_confidence, model.metadata.temperature) == (0.7, 3.0)
    assert model.metadata.architecture == "cnn"


def test_a_calibration_for_another_input_range_is_not_used(
    tmp_path: Path, compiled_paths: list[Path]
) -> None:
    path = save_h5(build_network(layers.Rescaling(1 / 255)), tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    store_calibration(digest, InputRange.BYTE, CALIBRATION)
    assert load_model(path).calibration is None
    assert load_model(path, input_range="0..255").calibration == CALIBRATION


def test_a_calibration_with_other_preprocessing_is_not_used_and_a_line_says_so(
    tmp_path: Path, compiled_paths: list[Path]
) -> None:
    path = save_h5(build_network(), tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    store_calibration(digest, InputRange.ONE, dataclasses.replace(CALIBRATION, preprocess_version=1))
    messages: list[str] = []
    assert load_model(path, log=messages.append).calibration is None
    assert messages[-1] == (
        f"your calibration of {path} is not used: it was made with preprocessing version 1, this digitscan "
        f"has version {PREPROCESS_VERSION}. Calibrate again, or remove it with --forget"
    )


def test_a_calibrated_model_has_no_fast_model_and_a_fast_model_no_calibration(
    saved_model: Model,
    small_cnn: Any,
    calibration_images: NDArray[np.float32],
    bundled_folder: Path,
) -> None:
    bundle(saved_model, bundled_folder, "cnn")
    metadata = dataclasses.replace(
        saved_model.metadata, cascade_target=saved_model.digest, cascade_threshold=0.99
    )
    programs = bundled_folder / "programs"
    fast = save_model(small_cnn, metadata, bundled_folder / "cnn-fast.h5", programs, calibration_images)
    store_calibration(fast.digest, InputRange.ONE, CALIBRATION)
    assert load_model("cnn-fast").calibration == CALIBRATION
    model = load_model("cnn")
    # Its threshold in the cascade was fitted to its own temperature.
    assert model.fast_model is not None and model.fast_model.calibration is None
    store_calibration(saved_model.digest, InputRange.ONE, CALIBRATION)
    assert load_model("cnn").fast_model is None


def test_loading_a_compiled_model_imports_neither_numpy_nor_keras(saved_model: Model) -> None:
    code = f"""
import sys
from pathlib import Path
from digitscan.model import compiled_cache, registry
compiled_cache.user_compiled_folder = lambda: Path({str(saved_model.compiled_path.parent)!r})
model = registry.load_model({str(saved_model.path)!r})
assert model.compiled_digest == {saved_model.compiled_digest!r}
assert not {{"tensorflow", "keras", "h5py", "numpy", "cv2"}} & set(sys.modules)
"""
    result = run_code(code)
    assert result.returncode == 0, result.stderr


def test_the_examples_in_the_docstrings_work() -> None:
    results = doctest.testmod(registry)
    assert results.failed == 0
    assert results.attempted > 0
