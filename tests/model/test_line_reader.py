"""A doubtful line is read in several views; a plain one in one."""

import numpy as np

from digitscan.imaging.line_image import LINE_HEIGHT, STEP_WIDTH, list_views
from digitscan.model.ctc import BLANK, SYMBOL_COUNT
from digitscan.model.line_reader import LineReader
from digitscan.model.number_rules import NumberRules


class _Network:
    """Reads a digit of which it is less sure, the wider the line; keeps the widths that it saw."""

    def __init__(self, probabilities):
        self.probabilities, self.widths = probabilities, []

    def classify(self, lines):
        self.widths += [line.shape[1] for line in lines]
        return [self._read(line.shape[1]) for line in lines]

    def _read(self, width):
        answer = np.full((3, SYMBOL_COUNT), 1e-9, np.float32)
        answer[[0, 2], BLANK] = 1.0
        probability = self.probabilities.get(width, 0.9)
        answer[1, 4], answer[1, 9] = probability, 1.0 - probability
        return answer


def make_line(width=40):
    return np.random.default_rng(1).integers(0, 256, (LINE_HEIGHT, width), np.uint8)


def test_views_have_the_height_and_the_steps_of_lines():
    for width in (4, 40, 2048):
        line = make_line(width)
        for view in list_views(line):
            assert view.shape[0] == LINE_HEIGHT
            assert view.shape[1] % STEP_WIDTH == 0
            assert view.shape[1] > 0
        assert np.array_equal(line, make_line(width))


def test_a_plain_line_is_read_once():
    network = _Network({40: 0.9999})
    (reading,) = LineReader(network, 1.0, NumberRules()).read([make_line()])
    assert reading.number == "4"
    assert network.widths == [40]


def test_a_doubtful_line_is_read_in_all_views():
    network = _Network({40: 0.4, 48: 0.9, 36: 0.9})
    (reading,) = LineReader(network, 1.0, NumberRules()).read([make_line()])
    assert network.widths == [40, 48, 36]
    assert reading.number == "4"
    assert 0.7 < reading.confidence < 0.75


def test_no_reading_depends_on_the_lines_beside_it():
    lines = [make_line(width) for width in (40, 60, 80)]
    reader = LineReader(_Network({40: 0.4, 60: 0.9999, 80: 0.8}), 1.0, NumberRules())
    assert reader.read(lines) == [reader.read([line])[0] for line in lines]
