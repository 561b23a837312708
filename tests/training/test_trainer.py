"""The training loop: batches, targets, early stopping, and the refusal of a loss that is not finite."""

import numpy as np
import pytest

from digitscan.errors import TrainingError
from digitscan.training import trainer
from digitscan.training.architectures import build_mlp
from digitscan.training.checkpoint import CheckpointFile
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.sources import load_data
from digitscan.training.recipes import Recipe
from digitscan.training.trainer import DigitTask, EpochBatches, Metrics, evaluate, fit


class PlainGenerator:
    """A data generator that changes no image and starts no process."""

    dataset_seconds = calibration_seconds = 0.1

    def __init__(self, epochs_per_dataset=1):
        """Make nine equal datasets, each for some epochs."""
        mnist = load_data()
        self.datasets = [Dataset(mnist.x_train[:200], mnist.y_train[:200]) for _ in range(9)]
        self.validation = Dataset(mnist.x_train[200:300], mnist.y_train[200:300])
        self._epochs_per_dataset = epochs_per_dataset

    def load_epoch(self, epoch):
        """Return the dataset of an epoch, and the order of its images, which is their own."""
        return self.datasets[epoch // self._epochs_per_dataset], np.arange(200)


@pytest.fixture
def checkpoint_file(tmp_path):
    return CheckpointFile(tmp_path / "a.npz", {}, resume=False)


def get_labels(dataset):
    return dataset.labels


def fit_mlp(keras_model, checkpoint_file, generator=None, compute_targets=get_labels, log=print, **settings):
    recipe = Recipe(**{"epochs": 9, "batch_size": 64, "patience": 9, "learning_rate": 2e-3} | settings)
    generator = generator or PlainGenerator()
    task = DigitTask(generator, compute_targets, recipe.batch_size)
    return fit(keras_model, recipe, task, checkpoint_file, log, quiet=True)


def test_a_network_learns_from_labels(checkpoint_file):
    result = fit_mlp(build_mlp(), checkpoint_file)
    assert evaluate(result.keras_model, PlainGenerator().validation).accuracy > 0.5
    assert [len(values) for values in result.history.values()] == [9, 9, 9, 9]
    assert result.images_per_second > 0


def test_a_network_learns_from_probabilities(checkpoint_file):
    one_hot = np.eye(10, dtype=np.float32)
    result = fit_mlp(build_mlp(), checkpoint_file, compute_targets=lambda dataset: one_hot[dataset.labels])
    assert evaluate(result.keras_model, PlainGenerator().validation).accuracy > 0.5


def test_targets_are_computed_once_for_all_epochs_that_use_a_dataset(checkpoint_file):
    computed = []

    def compute_targets(dataset):
        computed.append(dataset)
        return dataset.labels

    fit_mlp(build_mlp(), checkpoint_file, PlainGenerator(epochs_per_dataset=2), compute_targets, epochs=5)
    assert len(computed) == 3


def test_a_loss_that_is_not_finite_ends_the_training(checkpoint_file):
    keras_model = build_mlp()
    keras_model.set_weights([np.full_like(weights, np.nan) for weights in keras_model.get_weights()])
    with pytest.raises(TrainingError, match="the loss became nan in epoch 1: there is no model"):
        fit_mlp(keras_model, checkpoint_file)


def test_the_weights_of_the_best_epoch_are_kept_and_patience_ends_the_run(checkpoint_file, monkeypatch):
    weights = []

    def evaluate_second_as_best(keras_model, dataset):
        weights.append(keras_model.get_weights())
        return Metrics(1.0, 0.9 if len(weights) == 2 else 0.5)

    monkeypatch.setattr(trainer, "evaluate", evaluate_second_as_best)
    messages = []
    result = fit_mlp(build_mlp(), checkpoint_file, log=messages.append, patience=3)
    assert len(result.history["loss"]) == 5
    kept = result.keras_model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(kept, weights[4], strict=True))
    assert messages == ["Best epoch: 2 of 5, validation accuracy 90.00 %."]


def test_the_duration_is_estimated_once_from_the_first_steps(checkpoint_file):
    messages = []
    fit_mlp(build_mlp(), checkpoint_file, log=messages.append, batch_size=5, epochs=2)
    estimates = [message for message in messages if message.startswith("This takes at most about ")]
    assert len(estimates) == 1
    assert estimates[0].endswith(" seconds, estimated from the first 30 steps.")


def test_batches_hold_each_image_once_in_the_order_of_the_epoch():
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    batches = EpochBatches(images, targets=np.arange(5), order=np.array([4, 0, 3, 1, 2]), batch_size=2)
    assert len(batches) == 3
    inputs, targets = zip(*batches, strict=True)
    assert [batch.shape for batch in inputs] == [(2, 28, 28, 1), (2, 28, 28, 1), (1, 28, 28, 1)]
    assert np.concatenate(targets).tolist() == [4, 0, 3, 1, 2]
    assert np.allclose(np.concatenate(inputs)[:, 0, 0, 0] * 255.0, [4, 0, 3, 1, 2])


def test_loss_and_accuracy_are_those_of_the_probabilities():
    def keras_model(images, training):
        return np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)[np.arange(len(images)) % 2]

    dataset = Dataset(np.zeros((4, 28, 28), np.uint8), np.array([1, 0, 0, 0], np.uint8))
    loss, accuracy = evaluate(keras_model, dataset)
    assert accuracy == 0.75
    assert loss == pytest.approx(-np.log([0.75, 0.5, 0.25, 0.5]).mean(), rel=1e-6)
