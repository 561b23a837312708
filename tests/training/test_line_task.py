"""The line network learns by CTC, in batches of lines of like width."""

import numpy as np
import pytest

from digitscan.imaging.line_image import LINE_HEIGHT
from digitscan.model.ctc import BLANK, SYMBOL_COUNT, compute_probabilities
from digitscan.training.architectures import build_line
from digitscan.training.data.number_generator import LabelledLine
from digitscan.training.line_task import (
    NO_SYMBOL,
    LineBatches,
    LineTask,
    accuracy,
    compute_ctc_loss,
    divide_by_width,
    stack_lines,
)
from digitscan.training.recipes import Recipe
from digitscan.training.trainer import create_optimizer


def make_lines(widths, symbols=(1, 2)):
    rng = np.random.default_rng(2)
    return [LabelledLine(rng.integers(0, 256, (LINE_HEIGHT, width), np.uint8), symbols) for width in widths]


def test_the_loss_is_the_logarithm_of_the_exact_probability():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(SYMBOL_COUNT), (3, 1, 6)).astype(np.float32)
    labellings = [(3, 3), (7,), ()]
    targets = np.array([[3, 3], [7, -1], [-1, -1]], np.int32)
    losses = np.asarray(compute_ctc_loss(targets, probabilities))
    expected = [
        -np.log(compute_probabilities(answer[0], [labelling])[0])
        for answer, labelling in zip(probabilities, labellings, strict=True)
    ]
    assert losses == pytest.approx(expected, rel=1e-4)


def test_accuracy_counts_lines_whose_symbols_are_all_right():
    path = [[BLANK, 3, 3, BLANK, 3, BLANK], [7, 7, BLANK, BLANK, 7, 1], [BLANK] * 6]
    probabilities = np.eye(SYMBOL_COUNT, dtype=np.float32)[np.array(path)][:, None]
    right = np.array([[3, 3, -1], [7, 7, 1], [-1, -1, -1]], np.int32)
    wrong = np.array([[3, -1, -1], [7, 1, -1], [0, -1, -1]], np.int32)
    assert np.asarray(accuracy(right, probabilities)).tolist() == [1, 1, 1]
    assert np.asarray(accuracy(wrong, probabilities)).tolist() == [0, 0, 0]


def test_each_line_is_in_one_batch_that_is_wide_enough():
    lines = make_lines([20, 32, 33, 48, 200, 440] * 5)
    batches = divide_by_width(lines, 8, None)
    assert sorted(index for _, indices in batches for index in indices) == list(range(30))
    assert all(lines[index].pixels.shape[1] <= width for width, indices in batches for index in indices)


def test_lines_that_are_too_wide_or_too_short_for_their_symbols_are_left_out():
    lines = make_lines([40, 4000]) + make_lines([12], (1, 1, 1))
    assert [list(indices) for _, indices in divide_by_width(lines, 8, None)] == [[0]]


def test_the_order_of_batches_follows_from_the_seed():
    lines = make_lines([40, 60, 90] * 40)
    one, other, third = (divide_by_width(lines, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert [list(indices) for _, indices in one] == [list(indices) for _, indices in other]
    assert [list(indices) for _, indices in one] != [list(indices) for _, indices in third]


def test_batches_are_padded_with_paper():
    lines = make_lines([40, 44])
    inputs, targets = next(iter(LineBatches(lines, [(48, np.array([0, 1]))])))
    assert inputs.shape == (2, LINE_HEIGHT, 48, 1)
    assert inputs[0, :, 40:].max() == 0.0
    assert inputs[1, :, :44, 0] == pytest.approx(lines[1].pixels / 255)
    assert targets[:, :2].tolist() == [[1, 2], [1, 2]]
    assert (targets[:, 2:] == NO_SYMBOL).all()
    assert stack_lines([lines[0].pixels], 40).max() <= 1.0


class _FixedGenerator:
    dataset_seconds = calibration_seconds = 1.0

    def __init__(self, lines):
        self.validation = lines

    def load_epoch(self, epoch):
        return self.validation


def test_the_network_learns_a_few_lines():
    # Bars at two heights stand for two digits: enough to see that the loss is connected to the network.
    lines = []
    for symbols in [(1,), (2,), (1, 2), (2, 1)] * 8:
        pixels = np.zeros((LINE_HEIGHT, 32), np.uint8)
        for place, symbol in enumerate(symbols):
            pixels[4 + 12 * (symbol - 1) : 16 + 12 * (symbol - 1), 6 + 14 * place : 12 + 14 * place] = 255
        lines.append(LabelledLine(pixels, symbols))
    task = LineTask(_FixedGenerator(lines), 1, 2)
    keras_model = build_line()
    task.compile(keras_model, create_optimizer(Recipe(12, 2, 12, 3e-3), 4))
    before = task.evaluate(keras_model)
    for epoch in range(12):
        for inputs, targets in task.load_epoch(epoch):
            last = keras_model.train_on_batch(inputs, targets, return_dict=True)
    assert last["loss"] < 0.5 * before.loss
