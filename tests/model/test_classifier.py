"""Probabilities of a compiled model, the cascade of two models, and what a row makes of the probabilities."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.imaging.condition import Condition
from digitscan.imaging.preprocess import Preprocessed
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.classifier import Cascade, Classifier, classify_preprocessed, decide
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.prediction import Status


def test_probabilities_agree_with_keras_at_the_temperature_of_the_model(
    saved_model: Model, small_cnn: Any, images: NDArray[np.uint8]
) -> None:
    actual = saved_model.load_classifier().classify(images)
    expected = small_cnn.predict(images[..., None] / np.float32(255), verbose=0)
    expected = expected ** (1 / saved_model.metadata.temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(actual - expected).max() < 0.02
    assert np.allclose(actual.sum(axis=1), 1.0)
    # Int8 logits would have 256 different values.
    assert len(np.unique(actual)) > 0.95 * actual.size


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("chunk_size", [1, 7, 63, 64, 65, 300])
def test_an_image_has_the_same_probabilities_in_chunks_of_any_size_on_any_number_of_threads(
    saved_model: Model, images: NDArray[np.uint8], chunk_size: int, threads: int
) -> None:
    classifier = Classifier(saved_model.compiled_path.read_bytes(), saved_model.metadata, threads)
    chunks = [images[start : start + chunk_size] for start in range(0, len(images), chunk_size)]
    actual = np.concatenate([classifier.classify(chunk) for chunk in chunks])
    assert np.array_equal(actual, saved_model.load_classifier().classify(images))


def test_no_images_have_no_probabilities(saved_model: Model, images: NDArray[np.uint8]) -> None:
    assert saved_model.load_classifier().classify(images[:0]).shape == (0, 11)


@pytest.mark.parametrize("version", [1, 99])
def test_a_model_of_another_preprocessing_version_is_refused(saved_model: Model, version: int) -> None:
    compiled = saved_model.compiled_path.read_bytes()
    metadata = dataclasses.replace(saved_model.metadata, preprocess_version=version)
    with pytest.raises(ModelError) as caught:
        Classifier(compiled, metadata)
    assert str(caught.value) == (
        f"the model was trained with preprocessing version {version}, "
        f"this digitscan has version {PREPROCESS_VERSION}: train it again"
    )
    Classifier(compiled, dataclasses.replace(metadata, architecture="unknown"))


def test_a_model_of_preprocessing_version_2_classifies_as_one_of_this_version(
    saved_model: Model, images: NDArray[np.uint8]
) -> None:
    """Of a digit alone on even paper, both versions give the same pixels."""
    metadata = dataclasses.replace(saved_model.metadata, preprocess_version=2)
    older = Classifier(saved_model.compiled_path.read_bytes(), metadata)
    assert np.array_equal(older.classify(images), saved_model.load_classifier().classify(images))


def test_a_compiled_model_with_other_outputs_than_its_metadata_says_is_refused(saved_model: Model) -> None:
    metadata = dataclasses.replace(saved_model.metadata, classes=10)
    with pytest.raises(ModelError, match="the compiled model does not have 10 outputs: delete it"):
        Classifier(saved_model.compiled_path.read_bytes(), metadata)


class _FixedClassifier:
    """Returns for each image the row of probabilities whose index is the image's first pixel."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows, self.image_count = np.array(rows), 0

    def classify(
        self, images: NDArray[np.uint8], conditions: list[Condition] | None = None
    ) -> NDArray[np.float64]:
        self.image_count += len(images)
        return self.rows[images[:, 0, 0]]


def probabilities(**values: float) -> list[float]:
    """Return 11 probabilities; those that are not given are 0."""
    return [values.get(f"p{index}", 0.0) for index in range(11)]


def test_the_accurate_model_classifies_the_images_of_which_the_fast_one_is_not_confident() -> None:
    confident, uncertain, no_digit = (
        probabilities(p3=0.95, p5=0.05),
        probabilities(p3=0.9, p5=0.1),
        probabilities(p10=1),
    )
    fast = _FixedClassifier([confident, uncertain, no_digit])
    accurate = _FixedClassifier([probabilities(p7=1.0), probabilities(p5=1.0), probabilities(p8=1.0)])
    images = np.zeros((4, 28, 28), np.uint8)
    images[:, 0, 0] = [2, 0, 1, 0]
    actual = Cascade(fast, 0.95, accurate).classify(images)
    assert np.array_equal(actual, [accurate.rows[2], confident, accurate.rows[1], confident])
    assert accurate.image_count == 2


def test_the_accurate_model_classifies_what_is_unclear_however_confident_the_fast_one_is() -> None:
    """On faint ink the fast model is too sure: of its confident answers, 7 % were not `ok` by the CNN."""
    fast = _FixedClassifier([probabilities(p3=1.0)])
    accurate = _FixedClassifier([probabilities(p5=1.0)])
    conditions = [Condition.CLEAN, Condition.UNCLEAR, Condition.FIELD]
    actual = Cascade(fast, 0.95, accurate).classify(np.zeros((3, 28, 28), np.uint8), conditions)
    assert actual.argmax(axis=1).tolist() == [3, 5, 3]


def test_a_cascade_is_told_the_conditions_of_preprocessed_images() -> None:
    fast = _FixedClassifier([probabilities(p3=1.0)])
    cascade = Cascade(fast, 0.95, _FixedClassifier([probabilities(p5=1.0)]))
    clear, faint = (Preprocessed(np.zeros((28, 28), np.uint8), notes) for notes in ((), ("faint",)))
    answers = classify_preprocessed(cascade, [clear, faint])
    assert [answer.probabilities.index(1.0) for answer in answers] == [3, 5]


def make_candidates(*first_pixels: int) -> Preprocessed:
    """Return a result whose candidates have the probabilities with these indices, in order."""
    result = None
    for index in reversed(first_pixels):
        pixels = np.full((28, 28), index, np.uint8)
        result = Preprocessed(pixels, (f"candidate {index}",), digit_size=20, alternative=result)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([0], 0),
        ([3], 3),
        ([4, 1], 4),  # the first is confident, though the second is likelier
        ([1, 4], 1),
        ([0, 1], 1),  # the first is not confident: the likeliest one
        ([3, 0], 0),
        ([2, 0], 0),
        ([3, 2, 1], 1),
        ([3, 2], 2),
        ([2, 3], 2),
    ],
)
def test_the_first_candidate_that_is_confidently_a_digit_is_chosen(
    candidates: list[int], chosen: int
) -> None:
    rows = [probabilities(p3=0.6, p10=0.4), probabilities(p7=1), probabilities(p1=0.4, p10=0.6)]
    rows += [probabilities(p0=0.1, p10=0.9), probabilities(p7=0.95, p10=0.05)]
    classifier = _FixedClassifier(rows)
    (answer,) = classify_preprocessed(classifier, [make_candidates(*candidates)])
    assert answer.preprocessed.notes[0] == f"candidate {chosen}"
    assert np.array_equal(answer.probabilities, rows[chosen])


@pytest.mark.parametrize(
    ("other", "is_reviewed"),
    [
        (probabilities(p2=0.6, p10=0.4), True),
        (probabilities(p2=0.4, p10=0.6), False),
        (probabilities(p7=1), False),
        (probabilities(p10=1), False),
    ],
)
def test_a_row_needs_review_where_another_candidate_is_likely_another_digit(
    other: list[float], is_reviewed: bool
) -> None:
    classifier = _FixedClassifier([probabilities(p7=0.99, p10=0.01), other])
    (answer,) = classify_preprocessed(classifier, [make_candidates(0, 1)])
    assert answer.preprocessed.needs_review == is_reviewed
    assert answer.preprocessed.notes == ("candidate 0", "may also be 2")[: 1 + is_reviewed]


def test_results_with_any_number_of_candidates_are_classified_together_and_in_order() -> None:
    classifier = _FixedClassifier([probabilities(p3=0.9, p10=0.1), probabilities(p10=1)])
    results = [make_candidates(0), make_candidates(1, 0, 1), make_candidates(1), make_candidates(1, 0)]
    answers = classify_preprocessed(classifier, results)
    assert classifier.image_count == 7
    assert [answer.preprocessed.notes[0][-1] for answer in answers] == ["0", "0", "1", "0"]
    assert answers[0].preprocessed is results[0]
    assert answers[1].preprocessed is results[1].alternative


def test_no_results_have_no_answers() -> None:
    assert classify_preprocessed(_FixedClassifier([]), []) == []


def test_a_classified_candidate_has_the_probabilities_that_it_has_alone(
    saved_model: Model, images: NDArray[np.uint8]
) -> None:
    classifier = saved_model.load_classifier()
    results = [
        Preprocessed(images[index], alternative=Preprocessed(images[index + 1])) for index in range(0, 20, 2)
    ]
    for answer in classify_preprocessed(classifier, results):
        pixels = answer.preprocessed.pixels
        assert pixels is not None
        assert np.array_equal(answer.probabilities, classifier.classify(pixels[None])[0])


@pytest.mark.parametrize(
    ("given", "min_confidence", "expected"),
    [
        (probabilities(p3=0.9, p5=0.1), None, (3, 0.9, Status.OK, "")),
        (probabilities(p3=0.8, p5=0.2), None, (3, 0.8, Status.OK, "")),
        (probabilities(p3=0.7, p5=0.3), None, (3, 0.7, Status.REVIEW, "between 3 and 5")),
        (probabilities(p3=0.7, p5=0.1, p6=0.1, p10=0.1), None, (3, 0.7, Status.REVIEW, "doubtful")),
        (probabilities(p3=0.7, p5=0.3), 0.6, (3, 0.7, Status.OK, "")),
        (probabilities(p3=0.9, p5=0.1), 0.95, (3, 0.9, Status.REVIEW, "doubtful")),
        (probabilities(p3=0.4, p10=0.6), 0.0, (None, None, Status.NO_DIGIT, "not like any digit")),
        (probabilities(p3=0.3, p5=0.3, p10=0.4), 0.0, (None, None, Status.NO_DIGIT, "not like any digit")),
        (probabilities(p3=0.5, p10=0.5), None, (3, 0.5, Status.REVIEW, "doubtful")),
        (probabilities(p3=float("nan")), None, (None, None, Status.ERROR, "the model gave no number")),
    ],
)
def test_probabilities_become_a_digit_and_a_status(
    metadata: ModelMetadata, given: list[float], min_confidence: float | None, expected: tuple[Any, ...]
) -> None:
    assert metadata.ok_confidence == 0.8
    assert decide(given, metadata, min_confidence) == expected


@pytest.mark.parametrize(
    ("limit", "confidence", "min_confidence", "status"),
    [
        (0.95, 0.9, None, Status.REVIEW),
        (0.95, 0.96, None, Status.OK),
        (None, 0.9, None, Status.OK),  # a model that was calibrated for all images together
        (0.95, 0.9, 0.5, Status.OK),
    ],
)
@pytest.mark.parametrize("condition", [Condition.FIELD, Condition.UNCLEAR])
def test_images_that_are_not_clean_have_a_limit_of_their_own(
    metadata: ModelMetadata,
    condition: Condition,
    limit: float | None,
    confidence: float,
    min_confidence: float | None,
    status: Status,
) -> None:
    metadata = dataclasses.replace(metadata, **{f"{condition}_ok_confidence": limit})
    given = probabilities(p3=confidence, p5=1 - confidence)
    assert decide(given, metadata, min_confidence, condition).status is status
    for other in {*Condition} - {condition}:
        assert decide(given, metadata, condition=other).status is Status.OK


def test_rows_of_a_model_without_calibration_are_ok_only_above_a_limit_that_the_user_gives(
    metadata: ModelMetadata,
) -> None:
    uncalibrated = dataclasses.replace(metadata, ok_confidence=None, classes=10)
    confident = probabilities(p3=0.999, p5=0.001)[:10]
    assert decide(confident, uncalibrated) == (3, 0.999, Status.REVIEW, "model not calibrated")
    assert decide(confident, uncalibrated, 0.9) == (3, 0.999, Status.OK, "")
