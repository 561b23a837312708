"""A model is one .h5: saved, opened by plain Keras, compiled once, answered from; a stranger's is checked."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.errors import ModelError, OutputError, UsageError
from digitscan.imaging.preprocess import PREPROCESS_VERSION
from digitscan.model import compile_worker
from digitscan.model import compiled_cache as cache
from digitscan.model import registry as model
from digitscan.model import tflite_compiler as program
from digitscan.model.classifier import Classifier
from digitscan.model.compiled_cache import find_compiled, read_compiled
from digitscan.model.export import save_model
from digitscan.model.h5_file import load_keras_model, read_metadata
from digitscan.model.h5_validation import validate_h5
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model, load_bundled_models, load_model
from digitscan.training.data.sources import load_data
from tests.support import hostile_models as hostile
from tests.support.hostile_models import (
    changed,
    first_layer,
    h5_of,
    lambda_that_writes,
    network,
    replace_layer,
)

FACTS = ModelMetadata(
    architecture="cnn",
    classes=11,
    preprocess_version=PREPROCESS_VERSION,
    temperature=1.5,
    ok_confidence=0.8,
    training={"epochs": 3, "seed": 0},
    scores={"test_accuracy": 0.99},
)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return load_data().x_test[:300]


@pytest.fixture(scope="module")
def tiny() -> Any:
    keras.utils.set_random_seed(7)
    convolutions = [
        layers.Conv2D(8, 5, strides=2, padding="same", use_bias=False, name="c1"),
        layers.BatchNormalization(name="b1"),
        layers.ReLU(name="r1"),
        layers.MaxPooling2D(name="p1"),
    ]
    return network(*convolutions)


@pytest.fixture(scope="module")
def samples(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[:100, ..., None].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def saved(tiny: Any, samples: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("saved")
    return save_model(tiny, FACTS, folder / "tiny.h5", folder / "programs", samples)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the real cache, and the shipped models are not seen."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(cache, "user_cache_folder", lambda: folder)
    monkeypatch.setattr(model, "user_cache_folder", lambda: folder)
    monkeypatch.setattr("digitscan.model.export.user_cache_folder", lambda: folder)
    monkeypatch.setattr(cache, "bundled_folder", lambda: tmp_path / "shipped")
    monkeypatch.setattr(model, "bundled_folder", lambda: tmp_path / "shipped")
    return folder


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, samples: NDArray[np.float32]) -> list[Path]:
    """Compile in this process, which has Keras loaded already; the list tells what was compiled."""
    compiled: list[Path] = []

    def compile_here(path: Path, data: bytes, input_maximum: float | None) -> tuple[ModelMetadata, bytes]:
        compiled.append(path)
        return compile_worker.check_and_compile(data, input_maximum)

    monkeypatch.setattr(model, "_compile_in_child", compile_here)
    monkeypatch.setattr(program, "load_calibration_images", lambda maximum: samples * np.float32(maximum))
    return compiled


def answers(opened: Model, images: NDArray[np.uint8], threads: int = 1) -> NDArray[np.float64]:
    return Classifier(
        read_compiled(opened.compiled_path, opened.compiled_digest), opened.metadata, threads
    ).classify(images)


# --- our own models ---------------------------------------------------------------------------------


def test_plain_keras_opens_a_saved_model(saved: Model, tiny: Any, samples: NDArray[np.float32]) -> None:
    """The facts inside do not disturb it."""
    loaded = keras.models.load_model(saved.path)
    assert np.array_equal(loaded.predict(samples, verbose=0), tiny.predict(samples, verbose=0))


def test_facts_come_back_from_the_file_as_they_went_in(saved: Model) -> None:
    """And from the record beside the program."""
    assert read_metadata(saved.path.read_bytes()) == FACTS
    record = json.loads(saved.compiled_path.with_suffix(".json").read_text())
    assert ModelMetadata.from_json(json.dumps(record["facts"])) == FACTS


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 12},
        {"classes": "ten"},
        {"temperature": 0},
        {"temperature": None},
        {"ok_confidence": 2},
        {"architecture": "a b\x1b[2J"},
        {"input_shape": [28, 29]},
        {"input_shape": 28},
        {"input_maximum": 7},
        {"format_version": 99},
        {"training": []},
        {"cascade_target": "0" * 64},
        {"cascade_target": "../cnn", "sure": 0.9},
        {"more": 1},
    ],
)
def test_facts_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    """They may come from a stranger."""
    with pytest.raises(ModelError, match="facts inside the model"):
        ModelMetadata.from_json(json.dumps(json.loads(FACTS.to_json()) | change))


def test_the_same_weights_make_the_same_file_and_program(
    saved: Model, tiny: Any, samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """No time stamps, no left-over memory."""
    again = save_model(tiny, FACTS, tmp_path / "again.h5", None, samples)
    assert again.path.read_bytes() == saved.path.read_bytes()
    assert (again.digest, again.compiled_digest) == (saved.digest, saved.compiled_digest)
    assert again.compiled_path.parent == tmp_path / "cache"


def test_a_model_that_cannot_be_written_leaves_the_old_one_whole(
    saved: Model, tiny: Any, samples: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk: exit 6, the old bytes, nothing left beside it."""
    path = tmp_path / "digits.h5"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("digitscan.model.export.store_compiled", lambda *parts: (path, ""))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_model(tiny, FACTS, path, None, samples)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["digits.h5"]


def test_answers_agree_with_keras_and_are_finely_resolved(
    saved: Model, tiny: Any, images: NDArray[np.uint8]
) -> None:
    """Int8 inside, float32 logits at the end, the temperature applied."""
    got = answers(saved, images)
    expected = tiny.predict(images[..., None] / np.float32(255), verbose=0) ** (1 / FACTS.temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(got - expected).max() < 0.02
    assert len(np.unique(got)) > 0.95 * got.size
    assert np.allclose(got.sum(axis=1), 1.0)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 63, 64, 65, 300])
def test_an_image_has_the_same_answer_in_any_company(
    saved: Model, images: NDArray[np.uint8], batch: int, threads: int
) -> None:
    """To the last bit, for any batch size and number of threads."""
    classifier = Classifier(
        read_compiled(saved.compiled_path, saved.compiled_digest), saved.metadata, threads
    )
    parts = [classifier.classify(images[k : k + batch]) for k in range(0, len(images), batch)]
    assert np.array_equal(np.concatenate(parts), answers(saved, images))


def test_a_model_of_another_preprocessing_is_refused(saved: Model) -> None:
    """It would be shown other pictures than it learned from; a stranger's model learned from neither."""
    program = read_compiled(saved.compiled_path, saved.compiled_digest)
    with pytest.raises(
        ModelError, match=f"version 99, this digitscan has {PREPROCESS_VERSION}: train it again"
    ):
        Classifier(program, dataclasses.replace(FACTS, preprocess_version=99))
    Classifier(program, dataclasses.replace(FACTS, preprocess_version=99, architecture="unknown"))


def test_a_quick_model_answers_only_for_the_model_it_was_made_for(
    saved: Model, tiny: Any, samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """Another model, and the quick one itself, are asked alone."""
    shipped = tmp_path / "shipped"
    (shipped / "programs").mkdir(parents=True)
    metadata = dataclasses.replace(FACTS, cascade_target=saved.digest, cascade_threshold=0.99)
    quick = save_model(tiny, metadata, shipped / "cnn-fast.h5", shipped / "programs", samples)
    (shipped / "programs" / saved.compiled_path.name).write_bytes(saved.compiled_path.read_bytes())
    record = saved.compiled_path.with_suffix(".json")
    (shipped / "programs" / record.name).write_bytes(record.read_bytes())
    opened = load_model(saved.path)
    assert opened.fast_model is not None and opened.fast_model.digest == quick.digest
    assert load_model("cnn-fast").fast_model is None
    other = dataclasses.replace(FACTS, temperature=2.0)
    save_model(tiny, other, tmp_path / "other.h5", shipped / "programs", samples)
    assert load_model(tmp_path / "other.h5").fast_model is None


def test_no_images_have_no_answers(saved: Model, images: NDArray[np.uint8]) -> None:
    """An empty batch is not an error."""
    assert answers(saved, images[:0]).shape == (0, 11)


def test_opening_a_compiled_model_loads_nothing_heavy(saved: Model, tmp_path: Path) -> None:
    """Neither TensorFlow nor Keras, h5py or NumPy, as long as its program is in the cache."""
    code = f"""
import sys
from pathlib import Path
from digitscan.model import compile_worker
from digitscan.model import compiled_cache as cache
from digitscan.model import registry as model
cache.user_cache_folder = lambda: Path({str(saved.compiled_path.parent)!r})
opened = model.load_model({str(saved.path)!r})
assert opened.compiled_digest == {saved.compiled_digest!r}
assert not {{"tensorflow", "keras", "h5py", "numpy", "cv2"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(model.__file__).parents[2])


# --- which model ------------------------------------------------------------------------------------


def test_a_planted_model_is_not_used_unasked(
    saved: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: list[Path]
) -> None:
    """models/digits.h5 answers only once this user made it or named it; until then a line says how."""
    shipped = tmp_path / "shipped"
    (shipped / "programs").mkdir(parents=True)
    (shipped / "cnn.h5").write_bytes(saved.path.read_bytes())
    for suffix in (".tflite", ".json"):
        source = saved.compiled_path.with_suffix(suffix)
        (shipped / "programs" / source.name).write_bytes(source.read_bytes())
    folder = tmp_path / "elsewhere"
    (folder / "models").mkdir(parents=True)
    h5_of(network(), folder).rename(folder / "models" / "digits.h5")
    monkeypatch.chdir(folder)
    said: list[str] = []
    assert load_model(say=said.append).name == "cnn"
    assert len(said) == 1
    assert "name it once with --model models" in said[0]
    assert load_model("models/digits.h5").metadata.ok_confidence is None
    assert in_process == [Path("models/digits.h5")]
    said.clear()
    assert load_model(say=said.append).path == Path("models/digits.h5")
    assert said == []
    assert [each.name for each in load_bundled_models()] == ["cnn"]


def test_a_model_just_trained_is_used_unasked(
    tiny: Any, samples: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program is in the user's cache."""
    monkeypatch.chdir(tmp_path)
    made = save_model(tiny, FACTS, Path("models/digits.h5"), None, samples)
    assert load_model() == made


@pytest.mark.parametrize("damage", ["program", "record", "missing", "version"])
def test_a_damaged_program_is_compiled_again(
    saved: Model, own_cache: Path, in_process: list[Path], damage: str
) -> None:
    """It is never run: a damaged program can crash the interpreter."""
    first = load_model(saved.path)
    record = first.compiled_path.with_suffix(".json")
    if damage == "program":
        data = bytearray(first.compiled_path.read_bytes())
        data[len(data) // 2] ^= 255
        first.compiled_path.write_bytes(data)
    elif damage == "record":
        record.write_text(record.read_text()[:-20])
    elif damage == "missing":
        first.compiled_path.unlink()
    else:
        now = f'"program_version": {cache.PROGRAM_VERSION}'
        record.write_text(record.read_text().replace(now, '"program_version": 0'))
    if damage == "program":
        with pytest.raises(ModelError, match="is damaged"):
            read_compiled(first.compiled_path, first.compiled_digest)
    assert find_compiled(saved.digest) is None
    assert load_model(saved.path) == first
    assert in_process == [saved.path, saved.path]
    assert load_model(saved.path) == first
    assert len(in_process) == 2


def test_a_cache_that_others_can_write_is_not_trusted(
    saved: Model, own_cache: Path, in_process: list[Path]
) -> None:
    """A program in it could be anyone's."""
    load_model(saved.path)
    own_cache.chmod(0o777)
    if os.name == "posix":
        assert find_compiled(saved.digest) is None
        with pytest.raises(ModelError, match="make it yours alone"):
            load_model(saved.path)
    own_cache.chmod(0o700)
    assert find_compiled(saved.digest) is not None


def test_saving_a_model_again_takes_its_old_program_out_of_the_shipped_ones(
    tiny: Any, samples: NDArray[np.float32], tmp_path: Path
) -> None:
    """What is committed is what is used."""
    for epochs in (1, 2):
        metadata = dataclasses.replace(FACTS, training={"epochs": epochs})
        made = save_model(tiny, metadata, tmp_path / "cnn.h5", tmp_path / "programs", samples)
    names = {each.name for each in (tmp_path / "programs").iterdir()}
    assert names == {f"{made.digest}.tflite", f"{made.digest}.json"}


def test_a_pinned_model_must_be_that_file(saved: Model, in_process: list[Path]) -> None:
    """Checked before anything else is done with it."""
    assert load_model(saved.path, sha256=saved.digest.upper()).digest == saved.digest
    with pytest.raises(ModelError, match=f"its SHA-256 is {saved.digest}"):
        load_model(saved.path, sha256="0" * 64)


def test_a_missing_model_is_named_with_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is not there, a folder, a shipped model that is not there, one that is too big."""
    with pytest.raises(ModelError, match=r"does not exist: give the path of a \.h5 file, or cnn or mlp"):
        load_model(tmp_path / "none.h5")
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="install digitscan again"):
        load_model("mlp")
    (tmp_path / "big.h5").write_bytes(bytes(1000))
    monkeypatch.setattr(model, "MAX_MODEL_BYTES", 999)
    with pytest.raises(ModelError, match="has 1000 bytes: models of more than 999 are refused"):
        load_model(tmp_path / "big.h5")


def test_the_input_range_is_for_strangers_models(
    saved: Model, tmp_path: Path, images: NDArray[np.uint8], in_process: list[Path]
) -> None:
    """A stranger's may take 0..255; ours says itself what it takes."""
    keras.utils.set_random_seed(3)
    path = h5_of(network(layers.Rescaling(1 / 255), shape=(28, 28)), tmp_path)
    opened = load_model(path, input_maximum=255.0)
    assert opened.metadata.input_maximum == 255.0
    assert opened == load_model(path, input_maximum=255.0)
    assert opened.compiled_path != load_model(path).compiled_path
    expected = keras.models.load_model(path).predict(images.astype(np.float32), verbose=0)
    assert np.abs(answers(opened, images) - expected).max() < 1e-4
    with pytest.raises(UsageError, match="leave it out"):
        load_model(saved.path, input_maximum=255.0)


# --- strangers' models that are fine ----------------------------------------------------------------


def normalised(values: NDArray[Any]) -> NDArray[Any]:
    shares: NDArray[Any] = values / values.sum(axis=1, keepdims=True)
    return shares


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    return normalised(np.exp(values - values.max(axis=1, keepdims=True)))


def unchanged(values: NDArray[Any]) -> NDArray[Any]:
    return values


def nested() -> Any:
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(2.0), network(end="softmax")])


def residual() -> Any:
    image = keras.Input((28, 28, 1))
    once = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    twice = layers.Add()([once, layers.DepthwiseConv2D(3, padding="same")(once)])
    return keras.Model(image, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(twice)))


@pytest.mark.parametrize(
    ("build", "probabilities"),
    [
        (lambda: network(end="softmax"), unchanged),
        (lambda: network(end="linear"), softmax),
        (lambda: network(end="sigmoid"), normalised),
        (lambda: keras.Sequential([network(end="linear"), layers.Softmax()]), unchanged),
        (lambda: keras.Sequential([network(end="linear"), layers.Activation("softmax")]), unchanged),
        (lambda: keras.Sequential([network(end="softmax"), layers.Dropout(0.5)]), unchanged),
        (lambda: network(shape=(784,), classes=10), unchanged),
        (lambda: network(layers.Dense(16, "relu"), shape=(28, 28), classes=10), unchanged),
        (lambda: network(layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()), unchanged),
        (nested, unchanged),
        (residual, unchanged),
    ],
    ids=[
        *("softmax inside", "logits", "sigmoids", "softmax layer", "activation layer", "dropout at the end"),
        *("flat", "without channel", "pooled", "nested", "residual"),
    ],
)
def test_strangers_models_answer_as_in_keras(
    build: Callable[[], Any],
    probabilities: Callable[[NDArray[Any]], NDArray[Any]],
    tmp_path: Path,
    images: NDArray[np.uint8],
    in_process: list[Path],
) -> None:
    """Whatever their input shape and however they end; they are never called calibrated."""
    keras.utils.set_random_seed(5)
    opened = load_model(h5_of(build(), tmp_path))
    loaded = keras.models.load_model(opened.path)
    inputs = (images / np.float32(255)).reshape(-1, *loaded.input_shape[1:])
    expected = probabilities(loaded.predict(inputs, verbose=0))
    assert np.abs(answers(opened, images) - expected).max() < 0.02
    assert opened.metadata.ok_confidence is None
    assert opened.metadata.architecture == "unknown"


@pytest.mark.parametrize("later", [False, True], ids=["2.4", "2.13"])
def test_a_file_of_keras_2_is_read(
    tmp_path: Path, images: NDArray[np.uint8], in_process: list[Path], later: bool
) -> None:
    """Its configuration is spelled otherwise, and otherwise again in its last versions."""
    path = h5_of(network(layers.Conv2D(2, 3, name="first"), layers.BatchNormalization()), tmp_path)
    before = keras.models.load_model(path).predict(images[..., None] / np.float32(255), verbose=0)

    shapes = [(28, 28, 1), (28, 28, 1), (26, 26, 2), (26, 26, 2), (1352,)]

    def as_keras_2(config: dict[str, Any]) -> None:
        for layer in config["config"]["layers"]:
            inner = layer["config"]
            inner["dtype"] = "float32"
            if later:
                layer |= {"module": "keras.layers", "registered_name": None}
                layer["build_config"] = {"input_shape": [None, *shapes.pop(0)]}
            if layer["class_name"] == "InputLayer":
                inner["batch_input_shape"] = inner.pop("batch_shape")
                inner.pop("optional", None)
            if layer["class_name"] == "BatchNormalization" and not later:
                inner["axis"] = [3]

    changed(path, as_keras_2)
    assert np.abs(answers(load_model(path), images) - before).max() < 0.02


# --- strangers' models that are refused -------------------------------------------------------------


@pytest.mark.parametrize("place", ["alone", "in a Sequential", "in a Functional"])
def test_a_lambda_is_refused_and_never_runs(tmp_path: Path, place: str) -> None:
    """Through the whole of load_model, in its own process: exit code 5, and the file is not there."""
    proof = tmp_path / "proof"
    inner: Any = lambda_that_writes(proof)
    if place == "in a Sequential":
        inner = keras.Sequential([keras.Input((28, 28, 1)), inner])
    elif place == "in a Functional":
        image = keras.Input((28, 28, 1))
        inner = keras.Model(image, inner(image))
    path = h5_of(network(inner), tmp_path)
    proof.unlink(missing_ok=True)
    with pytest.raises(ModelError, match="'Lambda' is not on the list") as caught:
        validate_h5(path.read_bytes())
    if place == "in a Sequential":
        with pytest.raises(
            ModelError, match=r"stranger\.h5 is refused: 'Lambda' is not on the list"
        ) as caught:
            load_model(path)
    assert caught.value.exit_code == 5
    assert not proof.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replace_layer(class_name="TFSMLayer"), "'TFSMLayer' is not on the list"),
        (replace_layer(class_name="StringLookup"), "'StringLookup' is not on the list"),
        (replace_layer(class_name="TorchModuleWrapper"), "'TorchModuleWrapper' is not on the list"),
        (replace_layer(class_name="Mine>Conv2D"), "'Mine>Conv2D' is not on the list"),
        (replace_layer(class_name=["Conv2D"]), "is not on the list"),
        (replace_layer(registered_name="Mine>Conv2D"), "is not Keras's own"),
        (replace_layer(module="os"), "is not Keras's own"),
        (replace_layer(module="keras.src.layers.core"), "is not Keras's own"),
        (first_layer(activation="deserialize"), "the activation 'deserialize' is not on the list"),
        (first_layer(activation={"class_name": "Lambda", "config": {}}), "the activation 'Lambda'"),
        (
            first_layer(activation={"class_name": "function", "module": "builtins", "config": "eval"}),
            "the activation 'eval'",
        ),
        (first_layer(kernel_initializer="mine"), "the initializer 'mine' is not on the list"),
        (first_layer(kernel_initializer={"class_name": "Dense", "config": {}}), "'Dense' is not on the list"),
        (first_layer(kernel_regularizer={"class_name": "Mine", "config": {}}), "'Mine' is not on the list"),
        (first_layer(kernel_constraint=[{"class_name": "__lambda__"}]), "'__lambda__' is not on the list"),
        (first_layer(anything={"deeper": [{"class_name": "TypeSpec"}]}), "'TypeSpec' is not on the list"),
        (first_layer(dtype={"class_name": "DTypePolicy", "config": {"name": "int8"}}), "needed is float32"),
        (first_layer(filters=10**10), "'filters' is 1e"),
        (first_layer(padding=[[10**10, 0], [0, 0]]), "'padding' is 1e"),
        (first_layer(kernel_size=[float("nan"), 3]), "'kernel_size' is nan"),
        (lambda config: config.update(class_name="Mine"), "is not that of a Keras Sequential"),
        (hostile.deep, "nested too deeply"),
        (hostile.many, "more than 1000 layers"),
    ],
)
def test_what_is_not_on_the_list_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    """Classes, functions, numbers, at any depth, before Keras sees any of it."""
    data = changed(h5_of(network(layers.Conv2D(2, 3)), tmp_path), change)
    with pytest.raises(ModelError, match=words):
        validate_h5(data)


@pytest.mark.parametrize(
    ("inner", "change", "words"),
    [
        (layers.Conv2D(2, 3), first_layer(filters=1_000_000), "Shape mismatch"),
        (layers.ZeroPadding2D(1), first_layer(padding=[[900_000, 0], [0, 0]]), "of an image|Shape mismatch"),
        (layers.UpSampling2D(1), first_layer(size=[1_000_000, 1_000_000]), "of an image|Shape mismatch"),
    ],
)
def test_a_network_that_asks_for_more_than_its_file_holds_is_refused(
    tmp_path: Path, inner: Any, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    """Found by a dry run in which Keras allocates nothing."""
    with pytest.raises(ModelError, match=words):
        load_keras_model(changed(h5_of(network(inner), tmp_path), change))


def test_a_layer_whose_output_is_huge_is_refused(tmp_path: Path) -> None:
    """Even where the pooling after it makes it small again and all weights fit."""
    grown = [layers.UpSampling2D(100), layers.MaxPooling2D(100)]
    with pytest.raises(ModelError, match=r"makes \(2800, 2800, 1\) of an image"):
        load_keras_model(h5_of(network(*grown), tmp_path).read_bytes())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: network(shape=(32, 32, 1)), r"its input is \(32, 32, 1\): needed is \(28, 28, 1\)"),
        (lambda: network(shape=(28, 28, 3)), r"its input is \(28, 28, 3\)"),
        (
            lambda: network(layers.GlobalMaxPooling2D(), shape=(None, None, 1)),
            r"its input is \(None, None, 1\)",
        ),
        (lambda: network(classes=26), r"its output is \(26,\): needed are 10 classes"),
        (
            lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Dense(10)]),
            r"its output is \(28, 28, 10\)",
        ),
    ],
)
def test_other_shapes_are_refused(tmp_path: Path, build: Callable[[], Any], words: str) -> None:
    """With what was found and what is needed."""
    with pytest.raises(ModelError, match=words):
        load_keras_model(h5_of(build(), tmp_path).read_bytes())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: network(end="relu"), "it ends in the activation 'relu'"),
        (lambda: keras.Sequential([network(end="linear"), layers.ReLU()]), "it ends in ReLU"),
        (
            lambda: keras.Sequential(
                [keras.Input((28, 28, 1)), layers.Conv2D(10, 28), layers.Softmax(), layers.Flatten()]
            ),
            "is not understood",
        ),
    ],
)
def test_ends_that_are_no_probabilities_are_refused(
    tmp_path: Path, build: Callable[[], Any], words: str, in_process: list[Path]
) -> None:
    """A confidence made of them would mean nothing."""
    with pytest.raises(ModelError, match=words):
        load_model(h5_of(build(), tmp_path))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """A training that went wrong."""
    broken = network()
    broken.set_weights([np.full_like(values, np.nan) for values in broken.get_weights()])
    with pytest.raises(ModelError, match="some of its weights are not numbers"):
        load_keras_model(h5_of(broken, tmp_path).read_bytes())


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (hostile.soft_link, "'again' is a link to another place"),
        (hostile.external_link, "'other' is a link to another place"),
        (hostile.hard_link, "'loop' is one group or dataset too many, or the same one again"),
        (hostile.virtual, "'values' takes its values from another file"),
        (hostile.external_storage, "'values' takes its values from another file"),
        (hostile.declared_huge, "'values' declares 4000000000000 bytes and has 0"),
        (hostile.declared_beyond_64_bits, "'values' declares 73786976294838206464 bytes and has 0"),
        (hostile.compressed, "'values' is compressed"),
        (hostile.strings, "'values' holds no numbers"),
        (hostile.odd_attribute, "'ref' is of a kind that Keras does not write"),
        (hostile.no_config, "it holds no network"),
        (hostile.no_json, "is no JSON"),
        (hostile.no_weights, "Keras cannot load it"),
    ],
)
def test_structures_that_keras_does_not_write_are_refused(
    tmp_path: Path, attack: Callable[[h5py.File, Path], None], words: str
) -> None:
    """Links, datasets that lie elsewhere, sizes that the file does not hold."""
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros(4, "f4")
    path = h5_of(network(), tmp_path)
    with h5py.File(path, "a") as file:
        attack(file, tmp_path)
    with pytest.raises(ModelError, match=words):
        load_keras_model(path.read_bytes())


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    """In one sentence, whatever is missing."""
    data = h5_of(network(), tmp_path).read_bytes()
    for length in [*range(0, 100, 9), *range(100, len(data), len(data) // 40), len(data) - 1]:
        with pytest.raises(ModelError, match=r"no HDF5 file|is broken") as caught:
            validate_h5(data[:length])
        assert "\n" not in str(caught.value)


def test_other_files_are_refused_in_words(tmp_path: Path, tiny: Any) -> None:
    """A .keras file, weights alone, noise, nothing."""
    tiny.save(tmp_path / "model.keras")
    tiny.save_weights(tmp_path / "only.weights.h5")
    for data, words in (
        ((tmp_path / "model.keras").read_bytes(), r"it is a \.keras file: load it in Keras and save it"),
        ((tmp_path / "only.weights.h5").read_bytes(), "save the whole model, not only its weights"),
        (np.random.default_rng(0).bytes(5000), "it is no HDF5 file"),
        (b"", "it is no HDF5 file"),
    ):
        with pytest.raises(ModelError, match=words):
            validate_h5(data)


def test_facts_that_do_not_fit_the_network_are_refused(
    saved: Model, tmp_path: Path, in_process: list[Path]
) -> None:
    """They came with a file, not from us."""
    path = tmp_path / "model.h5"
    path.write_bytes(saved.path.read_bytes())
    with h5py.File(path, "a") as file:
        file["digitscan"].attrs["facts"] = dataclasses.replace(FACTS, classes=10).to_json()
    with pytest.raises(ModelError, match="do not fit its network"):
        load_model(path)


def test_old_keras_is_refused(saved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not keep safe_mode."""
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.raises(ModelError, match="TF_USE_LEGACY_KERAS is set"):
        load_model(saved.path)


def test_a_process_that_dies_over_a_file_is_one_sentence(
    saved: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of native code costs the child, not the run."""
    monkeypatch.setattr(model, "_CHILD", "import os; os.abort()")
    with pytest.raises(ModelError, match=r"tiny\.h5 is broken: the process that checked it ended"):
        load_model(saved.path)


def test_a_file_that_takes_for_ever_is_one_sentence(saved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged HDF5 can send the library round in circles."""
    monkeypatch.setattr(model, "_CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(model, "COMPILE_SECONDS", 0.5)
    with pytest.raises(ModelError, match="is refused: compiling it took over"):
        load_model(saved.path)


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module planted where the user stands does not run in the process that compiles."""
    path = h5_of(network(), tmp_path)
    for name in ("json", "keras", "h5py", "digitscan"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w').close()")
    monkeypatch.chdir(tmp_path)
    opened = load_model(path)
    assert (opened.metadata.classes, opened.metadata.input_shape) == (11, (28, 28, 1))
    assert not (tmp_path / "proof").exists()
