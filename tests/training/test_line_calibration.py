"""The temperature and the threshold of a line model keep their promise on other lines of the same kind."""

import numpy as np
import pytest

from digitscan.model import line_reader
from digitscan.model.ctc import BLANK, SYMBOL_COUNT
from digitscan.training.data.number_generator import LabelledLine
from digitscan.training.line_calibration import (
    MAX_NEGATIVES_OK,
    MAX_OK_WRONG,
    LineCalibration,
    calibrate_lines,
    fit_line_temperature,
    measure_lines,
)

PIXELS = np.zeros((32, 16), np.uint8)


@pytest.fixture(autouse=True)
def one_view(monkeypatch):
    """Lines are read in one view: the stub has an answer for each line and none for others."""
    monkeypatch.setattr(line_reader, "list_views", lambda line: ())


class _Answers:
    """Gives the answers that belong to lines."""

    def __init__(self, lines, answers):
        self.answers = {id(line.pixels): answer for line, answer in zip(lines, answers, strict=True)}

    def classify(self, lines):
        return [self.answers[id(line)] for line in lines]


def calibrate(lines, answers):
    return calibrate_lines(_Answers(lines, answers), lines)


def answer_for(digit, other, probability):
    """The probabilities of a line of one digit, of which the network is so sure."""
    answer = np.full((3, SYMBOL_COUNT), 1e-12)
    answer[[0, 2], BLANK] = 1.0
    answer[1, digit] += probability
    answer[1, other] += 1.0 - probability
    return answer / answer.sum(axis=1, keepdims=True)


def make_lines(count, rng, overconfidence=1.0):
    """Lines whose digit is right as often as the answers say, to the power of an overconfidence."""
    lines, answers = [], []
    for _ in range(count):
        odds = rng.exponential(6.0)
        probability = 1.0 / (1.0 + np.exp(-odds))
        digit, other = rng.choice(10, 2, replace=False).tolist()
        is_right = rng.random() < probability
        lines.append(LabelledLine(PIXELS.copy(), (digit if is_right else other,)))
        answers.append(answer_for(digit, other, 1.0 / (1.0 + np.exp(-overconfidence * odds))))
    return lines, answers


@pytest.mark.parametrize("overconfidence", [1.0, 2.0])
def test_the_temperature_takes_overconfidence_back(overconfidence):
    lines, answers = make_lines(2000, np.random.default_rng(1), overconfidence)
    temperature = fit_line_temperature(answers, [line.symbols for line in lines])
    assert temperature == pytest.approx(overconfidence, rel=0.15)


def test_few_of_other_lines_above_the_threshold_are_wrong():
    calibration = calibrate(*make_lines(6000, np.random.default_rng(2)))
    assert calibration.ok_confidence is not None
    lines, answers = make_lines(6000, np.random.default_rng(3))
    confidences = np.array([answer[1, :10].max() for answer in answers])
    is_right = np.array([a[1].argmax() == line.symbols[0] for a, line in zip(answers, lines, strict=True)])
    is_ok = confidences >= calibration.ok_confidence
    assert is_ok.sum() > 1000
    assert np.mean(~is_right[is_ok]) <= 1.5 * MAX_OK_WRONG
    scores = measure_lines(_Answers(lines, answers), lines, calibration)
    assert scores.accuracy == pytest.approx(is_right.mean())
    assert scores.ok_share == pytest.approx(is_ok.mean(), abs=0.02)
    assert scores.ok_wrong_share == pytest.approx(np.mean(~is_right[is_ok]), abs=0.002)


def test_few_words_are_ok():
    rng = np.random.default_rng(4)
    lines, answers = make_lines(6000, rng)
    words = [LabelledLine(PIXELS.copy(), ()) for _ in range(500)]
    word_answers = [answer_for(1, 2, 0.9999) for _ in range(25)] + [answer_for(1, 2, 0.6)] * 475
    without = calibrate(lines, answers)
    together = calibrate([*lines, *words], [*answers, *word_answers])
    assert without.ok_confidence < together.ok_confidence
    word_confidences = np.array([answer[1, :10].max() for answer in word_answers])
    assert np.mean(word_confidences >= together.ok_confidence) <= MAX_NEGATIVES_OK


def test_numbers_of_few_different_digits_prove_nothing():
    lines, answers = make_lines(6000, np.random.default_rng(2))
    classifier = _Answers(lines, answers)
    assert calibrate_lines(classifier, lines, 5000).ok_confidence is not None
    assert calibrate_lines(classifier, lines, 100).ok_confidence is None


def test_too_few_words_prove_nothing():
    lines, answers = make_lines(6000, np.random.default_rng(4))
    for count in (100, 200):
        words = [LabelledLine(PIXELS.copy(), ()) for _ in range(count)]
        together = calibrate([*lines, *words], [*answers, *[answer_for(1, 2, 0.5)] * count])
        assert (together.ok_confidence is None) == (count == 100)


def test_words_that_nothing_tells_from_numbers_leave_no_threshold():
    lines, answers = make_lines(6000, np.random.default_rng(4))
    words = [LabelledLine(PIXELS.copy(), ()) for _ in range(200)]
    assert calibrate([*lines, *words], [*answers, *[answer_for(1, 2, 1.0)] * 200]).ok_confidence is None


def test_lines_that_prove_nothing_give_no_threshold():
    lines, answers = make_lines(50, np.random.default_rng(5))
    calibration = calibrate(lines, answers)
    assert calibration.ok_confidence is None
    assert measure_lines(_Answers(lines, answers), lines, LineCalibration(1.0, None)).ok_share == 0.0
