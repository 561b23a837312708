"""Training writes a model that plain Keras opens, the same for the same seed, or says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from digitscan.errors import DataError, OutputError, TrainingError, UsageError
from digitscan.model.classifier import Classifier
from digitscan.model.compiled_cache import read_compiled
from digitscan.model.registry import load_model
from digitscan.training.architectures import ARCHITECTURES, build_cnn, build_mlp
from digitscan.training.calibration import MAX_NON_DIGITS_OK
from digitscan.training.config import TrainConfig
from digitscan.training.data.augment import AugmentationConfig
from digitscan.training.data.datasets import Dataset, preprocess_dataset
from digitscan.training.data.generator import AugmentedDataGenerator
from digitscan.training.data.sources import load_data
from digitscan.training.distillation import distillation_targets
from digitscan.training.pipeline import MAX_DIGITS_REJECTED, MAX_OK_WRONG, run, worst_pairs


@pytest.fixture(scope="module")
def few_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 600 training and 200 test digits."""
    mnist = load_data()
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(
        path,
        x_train=mnist.x_train[:600],
        y_train=mnist.y_train[:600],
        x_test=mnist.x_test[:200],
        y_test=mnist.y_test[:200],
    )
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of test models go into a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_mlp_is_trained_saved_plotted_and_repeated(few_digits: Path, tmp_path: Path) -> None:
    import keras

    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=3, seed=7, quiet=True)
    first = run(TrainConfig(**{**vars(options), "plots": tmp_path / "plots"}))
    second = run(TrainConfig(**{**vars(options), "output": tmp_path / "b.h5"}))
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "accuracy_plot.png",
        "loss_plot.png",
        "sample_predictions.png",
        "confusion_matrix.png",
    }
    one, two = (keras.models.load_model(model.path, compile=False) for model in (first, second))
    assert one.count_params() == 109_386
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
    assert first.metadata.scores["test accuracy"] > 0.5
    assert first.metadata.classes == 10


def test_an_mlp_learns_from_the_answers_of_a_teacher(few_digits: Path, tmp_path: Path) -> None:
    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, teachers=("cnn",), epochs=8, quiet=True)
    model = run(options)
    assert model.metadata.classes == 10
    assert model.metadata.scores["test accuracy"] > 0.5


def test_a_teacher_with_fewer_answers_is_refused(few_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mlp answers with 10 classes, and 11 are to be taught"):
        run(TrainConfig("cnn", tmp_path / "a.h5", data=few_digits, teachers=("mlp",), quiet=True))


def test_the_quick_network_answers_for_its_teacher_alone(few_digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name that with one --teacher"):
        run(TrainConfig("cnn-fast", tmp_path / "q.h5", data=few_digits, epochs=1, quiet=True))
    options = TrainConfig(
        "cnn-fast", tmp_path / "q.h5", data=few_digits, teachers=("cnn",), epochs=1, quiet=True
    )
    cnn, metadata = load_model("cnn"), run(options).metadata
    assert metadata.cascade_target == cnn.digest
    assert metadata.cascade_threshold is not None and cnn.metadata.ok_confidence is not None
    assert metadata.cascade_threshold >= cnn.metadata.ok_confidence


def test_a_target_is_the_label_and_the_mean_of_what_the_teachers_answer() -> None:
    mnist = load_data()
    digits = preprocess_dataset(Dataset(mnist.x_train[:50], mnist.y_train[:50]))
    wrong = Dataset(digits.images, (digits.labels + 1) % 10)
    one, both = (distillation_targets(names, 10, print)(wrong) for names in (("cnn",), ("cnn", "mlp")))
    assert one.shape == (50, 10) and one.dtype == np.float32
    assert np.allclose(one.sum(axis=1), 1.0, atol=1e-5)
    rows = np.arange(50)
    assert np.all(one[rows, wrong.labels] >= 0.3 - 1e-6)
    assert np.mean(one[rows, digits.labels]) > 0.6
    assert not np.allclose(one, both)


def test_an_existing_model_is_not_overwritten_unasked(few_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.h5 exists: name another file with -o, or add --overwrite"):
        run(TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, quiet=True))
    assert (tmp_path / "a.h5").read_bytes() == b"mine"


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    mnist = load_data()
    np.savez(
        tmp_path / "d.npz",
        x_train=mnist.x_train[:12],
        y_train=mnist.y_train[:12],
        x_test=mnist.x_test[:5],
        y_test=mnist.y_test[:5],
    )
    with pytest.raises(DataError, match="12 training images are too few"):
        run(TrainConfig("mlp", tmp_path / "a.h5", data=tmp_path / "d.npz", quiet=True))


def test_a_loss_that_is_no_number_ends_the_training(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> object:
        network = build_mlp()
        network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
        return network

    monkeypatch.setitem(ARCHITECTURES, "mlp", broken)
    with pytest.raises(TrainingError, match="the loss became nan in epoch 1"):
        run(TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, quiet=True))
    assert not (tmp_path / "a.h5").exists()


def test_the_cnn_stays_within_its_cost() -> None:
    network = build_cnn()
    cost = 0
    for layer in network.layers:
        kernel = next((weights for weights in layer.trainable_weights if len(weights.shape) >= 2), None)
        if kernel is not None:
            shape = layer.output.shape
            positions = int(np.prod(shape[1:3])) if len(shape) == 4 else 1
            cost += positions * int(np.prod(kernel.shape))
    assert cost < 10_000_000


def test_the_worst_confusions_come_first() -> None:
    labels = np.array([4, 4, 4, 9, 1])
    assert worst_pairs(labels, np.array([9, 9, 4, 4, 1])) == [(4, 9, 2), (9, 4, 1)]
    assert worst_pairs(labels, np.array([4, 4, 4, 9, 10])) == [(1, 10, 1)]


def test_thresholds_are_fitted_to_several_views_of_each_validation_image() -> None:
    mnist = load_data()
    train, val = (Dataset(mnist.x_train[part], mnist.y_train[part]) for part in (slice(20), slice(20, 30)))
    with AugmentedDataGenerator(train, val, 1, AugmentationConfig(), 2) as generator:
        validation, calibration = generator.validation, generator.calibration()
    views = calibration.images.reshape(-1, *validation.images.shape)
    assert len(views) >= 4
    assert np.array_equal(views[0], validation.images)
    assert len({view.tobytes() for view in views}) == len(views)
    assert (calibration.labels.reshape(len(views), -1) == validation.labels).all()


@pytest.mark.parametrize("augmentation", [AugmentationConfig(), None])
def test_training_pictures_are_the_same_for_any_number_of_processes(
    augmentation: AugmentationConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist = load_data()
    made = []
    for cores in (1, 3):
        monkeypatch.setattr("digitscan.training.data.generator.usable_cores", lambda cores=cores: cores)
        parts = (
            Dataset(mnist.x_train[part], mnist.y_train[part]) for part in (slice(1200), slice(1200, 1300))
        )
        with AugmentedDataGenerator(*parts, 4, augmentation, 1) as generator:
            made.append([generator.take(epoch)[0].images for epoch in range(2)])
    assert all(np.array_equal(one, three) for one, three in zip(*made, strict=True))


def test_no_picture_that_was_learned_is_calibrated_on() -> None:
    """Drawn ones and fonts come from the same generators: not from the same seeds."""
    mnist = load_data()
    parts = (Dataset(mnist.x_train[part], mnist.y_train[part]) for part in (slice(200), slice(200, 400)))
    with AugmentedDataGenerator(*parts, 4, AugmentationConfig(), 1) as generator:
        train = {image.tobytes() for epoch in range(4) for image in generator.take(epoch)[0].images}
        calibrated = generator.calibration().images
    assert not any(image.tobytes() in train for image in calibrated if image.any())


def test_the_test_images_choose_nothing(few_digits: Path, tmp_path: Path) -> None:
    import keras

    with np.load(few_digits) as file:
        arrays = dict(file)
    other = tmp_path / "other.npz"
    np.savez(other, **{**arrays, "x_test": arrays["x_test"][:20], "y_test": (arrays["y_test"][:20] + 1) % 10})
    one, two = (
        run(TrainConfig("mlp", tmp_path / f"{place}.h5", data=data, epochs=3, quiet=True))
        for place, data in enumerate((few_digits, other))
    )
    assert one.metadata.scores != two.metadata.scores
    weights = [keras.models.load_model(model.path, compile=False).get_weights() for model in (one, two)]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert (one.metadata.temperature, one.metadata.ok_confidence) == (
        two.metadata.temperature,
        two.metadata.ok_confidence,
    )


def test_the_best_epochs_weights_are_kept_and_patience_ends_the_run(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    seen = []

    def evaluate(network, examples):
        seen.append(network.get_weights())
        return 1.0, 0.9 if len(seen) == 2 else 0.5

    monkeypatch.setattr("digitscan.training.trainer.evaluate", evaluate)
    options = TrainConfig("mlp", tmp_path / "a.h5", data=few_digits, epochs=9, patience=3, quiet=True)
    model = run(options)
    assert model.metadata.training["epochs"] == 5
    kept = keras.models.load_model(model.path, compile=False).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, seen[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(kept, seen[4], strict=True))


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_what_is_saved_keeps_its_promises_on_what_it_was_calibrated_on(
    architecture: str, few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved program with the saved limit: few `ok` wrong, few digits refused, few others `ok`."""
    calibrated_on = []
    calibration = AugmentedDataGenerator.calibration

    def watched(generator: AugmentedDataGenerator) -> Dataset:
        calibrated_on.append(calibration(generator))
        return calibrated_on[-1]

    monkeypatch.setattr(AugmentedDataGenerator, "calibration", watched)
    epochs = {"mlp": 8, "cnn": 3}[architecture]
    options = TrainConfig(architecture, tmp_path / "a.h5", data=few_digits, epochs=epochs, quiet=True)
    model = run(options)
    (examples,) = calibrated_on
    digits = examples.labels < 10
    answers = Classifier(read_compiled(model.compiled_path, model.compiled_digest), model.metadata).classify(
        examples.images
    )
    assert model.metadata.ok_confidence is not None
    ok = (answers[:, :10].max(axis=1) >= model.metadata.ok_confidence) & (answers.argmax(axis=1) < 10)
    assert (answers.argmax(axis=1) != examples.labels)[ok & digits].sum() <= MAX_OK_WRONG * ok[digits].sum()
    if architecture == "cnn":
        assert (answers.argmax(axis=1) == 10)[digits].mean() <= MAX_DIGITS_REJECTED + 1 / digits.sum()
        assert ok[~digits].mean() <= MAX_NON_DIGITS_OK
