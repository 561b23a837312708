"""Temperature, rejection bias and thresholds keep their promises on the images that they are fitted to."""

import keras
import numpy as np
import pytest

from digitscan.errors import ModelError
from digitscan.imaging.preprocess import Preprocessed
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.model.registry import load_model
from digitscan.model.tflite_compiler import compile_model, replace_output_bias
from digitscan.training import calibration
from digitscan.training.architectures import build_mlp
from digitscan.training.calibration import (
    MAX_NEGATIVES_OK,
    NEVER,
    calibrate_model,
    fit_cascade_threshold,
    fit_ok_threshold,
    fit_rejection_bias,
    fit_temperature,
)
from digitscan.training.data.datasets import ScannedImages
from digitscan.training.data.sources import load_data
from digitscan.training.distillation import load_teachers


def draw_predictions(temperature, classes=11, count=20_000):
    """Return probabilities that are overconfident by `temperature`, and labels drawn from the true ones."""
    random = np.random.default_rng(1)
    logits = random.normal(0.0, 2.5, (count, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (random.random((count, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    sharp = np.exp(logits * temperature)
    return sharp / sharp.sum(axis=1, keepdims=True), labels.astype(np.uint8)


def with_output_bias(keras_model, bias):
    """Set the bias of the last layer."""
    kernel, _ = keras_model.layers[-1].get_weights()
    keras_model.layers[-1].set_weights([kernel, bias])
    return keras_model


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found(temperature):
    probabilities, labels = draw_predictions(temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize(("count", "is_shown"), [(900, False), (1100, True)])
def test_a_thousand_digits_without_an_error_show_that_three_in_a_thousand_are_wrong_at_most(count, is_shown):
    """With 95 % confidence it takes 998."""
    probabilities = np.full((count, 10), 0.001)
    probabilities[:, 4] = 0.991
    labels = np.full(count, 4, np.uint8)
    threshold = fit_ok_threshold(probabilities, labels, 0.003, MAX_NEGATIVES_OK, copies=1)
    assert (threshold < NEVER) == is_shown


def test_copies_of_a_digit_are_no_further_evidence():
    probabilities = np.full((4000, 10), 0.001)
    probabilities[:, 4] = 0.991
    labels = np.full(4000, 4, np.uint8)
    assert fit_ok_threshold(probabilities, labels, 0.003, MAX_NEGATIVES_OK, copies=1) < NEVER
    assert fit_ok_threshold(probabilities, labels, 0.003, MAX_NEGATIVES_OK, copies=5) == NEVER


def test_a_threshold_with_its_uncertainty_is_never_lower():
    probabilities, labels = draw_predictions(1.0, 10)
    plain = fit_ok_threshold(probabilities, labels, 0.2, MAX_NEGATIVES_OK)
    certain = fit_ok_threshold(probabilities, labels, 0.2, MAX_NEGATIVES_OK, copies=1)
    assert plain < certain < NEVER
    is_ok = probabilities.max(axis=1) >= certain
    assert (probabilities.argmax(axis=1) != labels)[is_ok].mean() < 0.2


@pytest.mark.parametrize("classes", [10, 11])
def test_at_most_the_promised_share_of_ok_rows_is_wrong(classes):
    probabilities, labels = draw_predictions(1.0, classes)
    threshold = fit_ok_threshold(probabilities, labels, 0.02, MAX_NEGATIVES_OK)
    predictions = probabilities.argmax(axis=1)
    is_ok = (probabilities[:, :10].max(axis=1) >= threshold) & (predictions < 10)
    if classes == 11:
        assert is_ok[labels == 10].mean() <= MAX_NEGATIVES_OK + 0.0001
    is_ok &= labels < 10
    assert is_ok.sum() > 100
    assert (predictions != labels)[is_ok].mean() <= 0.02


def test_few_digits_are_rejected_after_the_bias_is_lowered_and_more_before():
    probabilities, labels = draw_predictions(1.0)
    shift = fit_rejection_bias(probabilities, labels, 0.01)
    logits = np.log(probabilities)
    before = (logits.argmax(axis=1) == 10)[labels < 10].mean()
    logits[:, 10] -= shift
    after = (logits.argmax(axis=1) == 10)[labels < 10].mean()
    assert after <= 0.0101 < before


def test_a_model_that_is_always_wrong_marks_nothing_ok():
    probabilities = np.full((100, 10), 0.01)
    probabilities[:, 3] = 0.9
    assert fit_ok_threshold(probabilities, np.zeros(100, np.uint8), 0.003, 0.035) == 1.0


def test_few_answers_differ_from_the_cascade_threshold_on_and_more_below():
    random = np.random.default_rng(2)
    confidences = random.random(20_000)
    agrees = random.random(20_000) < 0.5 + 0.5 * confidences
    threshold = fit_cascade_threshold(confidences, agrees, 0.01)
    assert 0 < (~agrees[confidences >= threshold]).mean() <= 0.01
    assert (~agrees[confidences >= threshold - 0.02]).mean() > 0.01


def test_a_fast_model_that_never_agrees_has_the_threshold_1():
    assert fit_cascade_threshold(np.full(10, 0.99), np.zeros(10, bool), 0.001) == 1.0


@pytest.mark.parametrize("name", ["cnn", "cnn-fast"])
def test_a_replaced_bias_gives_the_bytes_of_a_fresh_compilation(name):
    keras_model = keras.models.load_model(load_model(name).path, compile=False)
    _, bias = keras_model.layers[-1].get_weights()
    compiled = compile_model(keras_model)
    new_bias = bias - np.float32(1.5) * (np.arange(11) == 10)
    replaced = replace_output_bias(compiled, bias, new_bias)
    assert replaced != compiled
    assert replaced == compile_model(with_output_bias(keras_model, new_bias))


def test_a_bias_that_is_not_found_exactly_once_is_not_replaced():
    bias = np.arange(11, dtype=np.float32)
    for compiled in (b"no bias", bias.tobytes() * 2):
        with pytest.raises(ModelError, match="not found in the compiled model"):
            replace_output_bias(compiled, bias, bias)


@pytest.mark.parametrize("disagreement", [0.0, 0.5])
def test_a_replaced_bias_is_compiled_anew_if_it_no_longer_answers_as_in_keras(disagreement, monkeypatch):
    monkeypatch.setattr(calibration, "compile_model", lambda keras_model: b"anew")
    monkeypatch.setattr(calibration, "measure_disagreement", lambda *_: disagreement)
    keras_model = keras.models.load_model(load_model("cnn-fast").path, compile=False)
    compiled = compile_model(keras_model)
    lowered = calibration._lower_rejection_bias(keras_model, compiled, 1.0)
    assert (lowered == b"anew") == (disagreement > 0.01)


@pytest.mark.parametrize("can_replace_bias", [True, False])
def test_what_is_calibrated_is_the_compiled_form_of_the_changed_network(can_replace_bias, monkeypatch):
    compiled_count = 0

    def compile_and_count(keras_model):
        nonlocal compiled_count
        compiled_count += 1
        return compile_model(keras_model)

    def refuse(compiled, old_bias, new_bias):
        raise ModelError("the bias is not found")

    monkeypatch.setattr(calibration, "compile_model", compile_and_count)
    if not can_replace_bias:
        monkeypatch.setattr(calibration, "replace_output_bias", refuse)
    bias = np.linspace(0.0, 0.2, 11, dtype=np.float32)
    bias[10] = 30.0  # the network rejects every digit
    trained = keras.models.load_model(load_model("cnn-fast").path, compile=False)
    keras_model = with_output_bias(trained, bias)
    mnist = load_data()
    validation = ScannedImages.of(preprocess_batch(mnist.x_train[:500]), mnist.y_train[:500])
    (teacher,) = load_teachers(["cnn"], 11, print)
    calibrated = calibrate_model(keras_model, "cnn-fast", validation, teachers=[teacher])
    assert compiled_count == (1 if can_replace_bias else 2)
    assert calibrated.compiled == compile_model(keras_model)
    assert keras_model.layers[-1].get_weights()[1][10] < bias[10]
    assert calibrated.metadata.cascade_target == teacher.model.digest
    assert calibrated.metadata.cascade_threshold >= teacher.model.metadata.ok_confidence
    pixels = np.stack([result.pixels for result in validation.results])
    probabilities = calibrated.classifier.classify(pixels)
    assert (probabilities.argmax(axis=1) == 10).mean() <= 0.01


def test_a_network_without_the_class_not_a_digit_keeps_its_weights():
    keras_model = build_mlp()
    weights = keras_model.get_weights()
    mnist = load_data()
    validation = ScannedImages.of(preprocess_batch(mnist.x_train[:100]), mnist.y_train[:100])
    calibrated = calibrate_model(keras_model, "mlp", validation)
    assert all(np.array_equal(a, b) for a, b in zip(weights, keras_model.get_weights(), strict=True))
    assert (calibrated.metadata.classes, calibrated.metadata.cascade_target) == (10, None)


def calibrate_mlp(share_of_wrong_labels, count=2000, fields=None):
    """Calibrate the bundled MLP on images of which every third is faint, some of those with wrong labels."""
    mnist = load_data()
    labels = mnist.y_train[:count].copy()
    results = preprocess_batch(mnist.x_train[:count])
    for index in range(0, count, 3):
        results[index] = results[index]._replace(notes=(*results[index].notes, "faint"))
        labels[index] = (labels[index] + (index % 100 < 100 * share_of_wrong_labels)) % 10
    keras_model = keras.models.load_model(load_model("mlp").path, compile=False)
    return calibrate_model(keras_model, "mlp", ScannedImages.of(results, labels), fields).metadata


def put_in_fields(share_of_wrong_labels, count=3000):
    """Return images of which every second is in a box, some of those with wrong labels."""
    mnist = load_data()
    labels = mnist.y_train[-count:].copy()
    results = preprocess_batch(mnist.x_train[-count:])
    for index in range(0, count, 2):
        results[index] = results[index]._replace(notes=(*results[index].notes, "box removed"))
        labels[index] = (labels[index] + (index % 100 < 100 * share_of_wrong_labels)) % 10
    return ScannedImages.of(results, labels)


def test_errors_in_fields_raise_only_their_limit():
    without_errors, with_errors = (calibrate_mlp(0.0, fields=put_in_fields(share)) for share in (0.0, 0.1))
    assert with_errors.field_ok_confidence > with_errors.ok_confidence + 0.05
    assert without_errors.field_ok_confidence < without_errors.ok_confidence + 0.05
    assert with_errors.ok_confidence == without_errors.ok_confidence
    assert with_errors.unclear_ok_confidence == without_errors.unclear_ok_confidence
    assert with_errors.temperature == without_errors.temperature


def test_errors_in_clean_images_among_the_fields_raise_no_limit():
    images = put_in_fields(0.0)
    labels = images.labels.copy()
    labels[1::2] = (labels[1::2] + 1) % 10
    assert calibrate_mlp(0.0, fields=ScannedImages(images.results, labels)) == calibrate_mlp(
        0.0, fields=images
    )


def test_errors_in_unclear_images_raise_only_their_limit():
    without_errors, with_errors = calibrate_mlp(0.0), calibrate_mlp(0.1)
    assert with_errors.ok_confidence <= without_errors.ok_confidence
    assert with_errors.field_ok_confidence is None
    assert with_errors.unclear_ok_confidence > with_errors.ok_confidence + 0.1
    assert without_errors.unclear_ok_confidence < without_errors.ok_confidence + 0.1


def test_few_images_of_a_condition_share_the_limit_of_clean_ones():
    assert calibrate_mlp(0.1, count=600).unclear_ok_confidence is None


def test_rows_that_need_review_do_not_raise_the_limit():
    mnist = load_data()
    wrong_labels = (mnist.y_train[:400] + 1) % 10
    results = preprocess_batch(mnist.x_train[:800])
    reviewed = [result._replace(needs_review=True) for result in results[:400]]
    images = ScannedImages.of(reviewed + results[400:], np.append(wrong_labels, mnist.y_train[400:800]))
    keras_model = keras.models.load_model(load_model("mlp").path, compile=False)
    assert calibrate_model(keras_model, "mlp", images).metadata.ok_confidence < 0.99


def test_images_without_a_digit_are_left_out_of_calibration():
    results = [Preprocessed(None, (), "blank"), Preprocessed(np.zeros((28, 28), np.uint8)), None]
    images = ScannedImages.of(results, np.arange(3, dtype=np.uint8))
    assert (len(images.results), images.labels.tolist()) == (1, [1])
