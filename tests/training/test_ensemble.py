"""The logits of an ensemble are the mean of its members', and it is calibrated and saved like any model."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from digitscan.errors import ModelError, UsageError
from digitscan.model.classifier import Classifier
from digitscan.model.compiled_cache import read_compiled
from digitscan.model.export import save_model
from digitscan.model.metadata import ModelMetadata
from digitscan.training.architectures import build_mlp
from digitscan.training.config import TrainConfig
from digitscan.training.ensemble import average_networks, load_members
from digitscan.training.pipeline import run_training


@pytest.fixture
def images():
    return np.random.default_rng(1).random((7, 28, 28, 1), np.float32)


@pytest.fixture(scope="module")
def member_paths(few_digits, tmp_path_factory):
    """The paths of two MLPs, trained from different seeds."""
    folder = tmp_path_factory.mktemp("members")
    paths = []
    for seed in (1, 2):
        path = folder / f"{seed}.h5"
        run_training(TrainConfig("mlp", path, data=few_digits, epochs=3, seed=seed, quiet=True))
        paths.append(str(path))
    return tuple(paths)


def with_random_weights(keras_model, seed):
    """Set weights like those of a trained network, the statistics of batch normalization included."""
    random = np.random.default_rng(seed)
    keras_model.set_weights(
        [random.uniform(0.001, 0.02, weights.shape) for weights in keras_model.get_weights()]
    )
    return keras_model


def build_small_cnn():
    """Return a network with a convolution, batch normalization and dropout."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(3, 5, strides=4),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(11, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("build", [build_mlp, build_small_cnn])
@pytest.mark.parametrize("count", [2, 3])
def test_the_logits_are_the_mean_of_the_members(build, count, images):
    members = [with_random_weights(build(), seed) for seed in range(count)]
    probabilities = np.array(average_networks(members)(images, training=False))
    logits = np.mean([np.log(np.array(each(images, training=False), np.float64)) for each in members], axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(probabilities, expected, atol=1e-5)


def test_an_ensemble_in_an_ensemble_keeps_all_weights_when_it_is_saved(images, tmp_path):
    """A .h5 names the weights of a nested network by its layers, which were the same in each member."""
    first, second, third = (with_random_weights(build_small_cnn(), seed) for seed in range(3))
    inner = average_networks([first, second])
    outer = average_networks([inner, third])
    outer.save(tmp_path / "outer.h5")
    loaded = keras.models.load_model(tmp_path / "outer.h5", compile=False)
    members = [inner, third]
    logits = np.mean([np.log(np.array(each(images, training=False), np.float64)) for each in members], axis=0)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(np.array(loaded(images, training=False)), expected, atol=1e-5)


def test_an_ensemble_is_calibrated_and_saved_like_a_trained_model(member_paths, few_digits, tmp_path):
    config = TrainConfig(
        "mlp", tmp_path / "a.h5", ensemble=member_paths, data=few_digits, plots=tmp_path / "plots", quiet=True
    )
    model = run_training(config)
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "sample_predictions.png",
        "confusion_matrix.png",
    }
    assert model.metadata.training["ensemble"] == "1.h5, 2.h5"
    assert "epochs" not in model.metadata.training
    assert model.metadata.scores["test accuracy"] > 0.5
    assert model.metadata.ok_confidence is None  # 50 validation images cannot show what it promises
    pixels = np.random.default_rng(1).integers(0, 256, (3, 28, 28), np.uint8)
    keras_model = keras.models.load_model(model.path, compile=False)
    members = [keras.models.load_model(path, compile=False) for path in member_paths]
    expected = np.mean([np.log(np.array(each(pixels[..., None] / 255.0))) for each in members], axis=0)
    difference = np.log(np.array(keras_model(pixels[..., None] / 255.0))) - expected
    assert np.allclose(difference, difference[:, :1], atol=1e-3)  # logits are known but for a constant
    classifier = Classifier(read_compiled(model.compiled_path, model.compiled_digest), model.metadata)
    assert np.allclose(classifier.classify(pixels).sum(axis=1), 1.0)


def test_an_ensemble_can_be_in_an_ensemble(member_paths, few_digits, tmp_path):
    config = TrainConfig("mlp", tmp_path / "a.h5", ensemble=member_paths, data=few_digits, quiet=True)
    run_training(config)
    again = replace(config, ensemble=(member_paths[0], str(config.output)), output=tmp_path / "b.h5")
    assert run_training(again).metadata.scores["test accuracy"] > 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ensemble": ("mlp",)}, "an ensemble needs two models or more, and only mlp is named"),
        ({"ensemble": ("mlp", "mlp"), "epochs": 3}, "nothing is trained for an ensemble: leave out epochs"),
        ({"ensemble": ("mlp", "mlp"), "teachers": ("cnn",)}, "nothing is trained .*: leave out teachers"),
        ({"ensemble": ("mlp", "mlp"), "resume": True}, "nothing is trained .*: leave out resume"),
    ],
)
def test_settings_that_do_not_fit_an_ensemble_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        TrainConfig("mlp", **settings)


def test_the_fast_network_cannot_be_an_ensemble():
    """It would be told to name a teacher, and then to leave that out."""
    with pytest.raises(UsageError, match="cnn-fast answers for another model: it cannot be an ensemble"):
        TrainConfig("cnn-fast", ensemble=("cnn-fast", "cnn-fast"))


def test_a_member_with_other_classes_is_refused():
    with pytest.raises(UsageError, match=r"^mlp cannot be in this ensemble, .* 11 classes: name another"):
        load_members(["cnn", "mlp"], 11)


def test_a_member_without_softmax_at_its_end_is_refused(few_digits, tmp_path):
    network = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="sigmoid")]
    )
    metadata = ModelMetadata(architecture="mlp", classes=10, preprocess_version=3)
    save_model(network, metadata, tmp_path / "sigmoid.h5")
    config = TrainConfig(
        "mlp", tmp_path / "a.h5", ensemble=("mlp", str(tmp_path / "sigmoid.h5")), data=few_digits, quiet=True
    )
    with pytest.raises(ModelError, match=r"sigmoid.h5 does not end in a dense layer with softmax"):
        run_training(config)
    assert not config.output.exists()
