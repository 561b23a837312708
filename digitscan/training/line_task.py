"""The task of reading lines of digits: batches of lines of like width, the CTC loss, and its validation.

See `trainer.Task`. The loss is that of connectionist temporal classification (Graves et al. 2006): minus the
logarithm of the probability that the network gives to the right symbols, wherever they are in the line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.line_image import LINE_HEIGHT, STEP_WIDTH
from digitscan.model.ctc import BLANK, find_best_path
from digitscan.training.data.line_variation import vary_line
from digitscan.training.data.number_generator import LabelledLine, NumberDataGenerator
from digitscan.training.trainer import Metrics

WIDTHS = (32, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 448)
"""The widths of batches in pixels: a line is padded with paper to the next one. Wider lines are left out."""
MEAN_WIDTH = 96
"""A batch of lines of this width has the recipe's size; others have as many pixels."""
MIN_BATCH_LINES = 4
MAX_SYMBOLS = 24
"""Symbols of the longest line that is learned from: batches have few shapes, as TensorFlow traces each."""
NO_SYMBOL = -1
"""What fills the targets (N, L) of a batch behind the symbols of each line."""
MAX_GRADIENT_NORM = 5.0
"""The global norm to which gradients are scaled down: the first ones of a CTC loss are large."""


@dataclass(frozen=True)
class LineBatches:
    """The lines of an epoch with their symbols, in batches of like width and in random order."""

    lines: Sequence[LabelledLine]
    batches: Sequence[tuple[int, NDArray[np.int64]]]
    """For each batch its width and the indices of its lines."""

    @property
    def image_count(self) -> int:
        """The number of lines of all batches."""
        return sum(len(indices) for _, indices in self.batches)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        """Return an iterator over the inputs (N, 32, W, 1) float32 and the targets (N, L) int32."""
        for width, indices in self.batches:
            lines = [self.lines[index] for index in indices.tolist()]
            yield stack_lines([line.pixels for line in lines], width), _stack_symbols(lines)


class LineTask:
    """The task of reading lines, from the numbers of a generator."""

    def __init__(self, generator: NumberDataGenerator, seed: int, batch_size: int) -> None:
        """Take what the lines come from; `seed` orders them."""
        self.generator, self._seed, self._batch_size = generator, seed, batch_size

    def load_epoch(self, epoch: int) -> LineBatches:
        """Return the batches of an epoch; see `NumberDataGenerator.load_epoch`."""
        rng = np.random.default_rng((self._seed, epoch))
        lines = [
            LabelledLine(vary_line(line.pixels, rng), line.symbols)
            for line in self.generator.load_epoch(epoch)
        ]
        return LineBatches(lines, divide_by_width(lines, self._batch_size, rng))

    def compile(self, keras_model: Any, optimizer: Any) -> None:
        """Give a network its optimizer and the CTC loss."""
        optimizer.global_clipnorm = MAX_GRADIENT_NORM
        # XLA cannot compile the loss.
        keras_model.compile(optimizer, compute_ctc_loss, metrics=[accuracy], jit_compile=False)

    def evaluate(self, keras_model: Any) -> Metrics:
        """Return the mean loss, and the share of validation lines whose digits are all read right."""
        lines = self.generator.validation
        loss_sum, right, count = 0.0, 0, 0
        for width, indices in divide_by_width(lines, 4 * self._batch_size, None):
            batch = [lines[index] for index in indices.tolist()]
            inputs = stack_lines([line.pixels for line in batch], width)
            probabilities = np.asarray(keras_model(inputs, training=False))
            losses = compute_ctc_loss(_stack_symbols(batch), probabilities)
            loss_sum += float(np.sum(losses))
            for line, answer in zip(batch, probabilities[:, 0], strict=True):
                steps = answer[: line.pixels.shape[1] // STEP_WIDTH + 1]
                right += keep_digits(find_best_path(steps)) == keep_digits(line.symbols)
            count += len(batch)
        return Metrics(loss_sum / count, right / count)


def keep_digits(symbols: Sequence[int]) -> tuple[int, ...]:
    """Return the digits among symbols: points and dashes are no part of a number."""
    return tuple(symbol for symbol in symbols if symbol < 10)


def divide_by_width(
    lines: Sequence[LabelledLine], batch_size: int, rng: np.random.Generator | None
) -> list[tuple[int, NDArray[np.int64]]]:
    """Return batches of lines of like width: for each its width and the indices of its lines.

    With `rng`, lines and batches are in random order, and lines that would make a smaller batch are left out
    for once, unless there are no others of their width.
    Lines that are too wide, or too short for their symbols, are in none.
    """
    by_width = defaultdict(list)
    for index, line in enumerate(lines):
        width = line.pixels.shape[1]
        is_short = len(line.symbols) <= MAX_SYMBOLS
        if width <= WIDTHS[-1] and is_short and _count_needed_steps(line.symbols) <= width // STEP_WIDTH:
            by_width[next(limit for limit in WIDTHS if limit >= width)].append(index)
    batches = []
    for width, members in sorted(by_width.items()):
        size = max(MIN_BATCH_LINES, batch_size * MEAN_WIDTH // width)
        indices = np.array(members if rng is None else rng.permutation(members), np.int64)
        starts = range(0, len(indices), size)
        parts = [indices[start : start + size] for start in starts]
        batches += [(width, part) for part in parts if rng is None or len(part) == size or len(parts) == 1]
    return batches if rng is None else [batches[index] for index in rng.permutation(len(batches)).tolist()]


def _count_needed_steps(symbols: Sequence[int]) -> int:
    """Return how many steps the symbols need: one each, and a blank between two that are equal."""
    return len(symbols) + sum(a == b for a, b in pairwise(symbols))


def stack_lines(lines: Sequence[NDArray[np.uint8]], width: int) -> NDArray[np.float32]:
    """Return lines (32, W) uint8 as a network takes them: (N, 32, `width`, 1) float32, 0 to 1."""
    inputs = np.zeros((len(lines), LINE_HEIGHT, width, 1), np.float32)
    for target, line in zip(inputs, lines, strict=True):
        target[:, : line.shape[1], 0] = line
    inputs *= np.float32(1 / 255)
    return inputs


def _stack_symbols(lines: Sequence[LabelledLine]) -> NDArray[np.int32]:
    """Return the symbols of lines as targets (N, MAX_SYMBOLS), filled with NO_SYMBOL."""
    targets = np.full((len(lines), MAX_SYMBOLS), NO_SYMBOL, np.int32)
    for target, line in zip(targets, lines, strict=True):
        target[: len(line.symbols)] = line.symbols
    return targets


def compute_ctc_loss(targets: Any, probabilities: Any) -> Any:
    """Return the CTC loss of each line (N,), for targets (N, L) and probabilities (N, 1, T, 13)."""
    import tensorflow as tf

    targets = tf.cast(targets, tf.int32)
    # The loss takes the logarithm of a softmax, which of logarithms of probabilities are these themselves.
    logits = tf.math.log(tf.maximum(probabilities[:, 0], 1e-30))
    steps = tf.fill([tf.shape(logits)[0]], tf.shape(logits)[1])
    is_empty = targets[:, 0] < 0
    # TensorFlow's loss does not take lines without symbols. Only paths of blanks give none.
    blank_loss = -tf.reduce_sum(logits[:, :, BLANK], axis=1)
    filled = tf.where(is_empty[:, None] & (tf.range(tf.shape(targets)[1]) == 0), 0, targets)
    indices = tf.where(filled >= 0)
    labels = tf.SparseTensor(indices, tf.gather_nd(filled, indices), tf.cast(tf.shape(filled), tf.int64))
    losses = tf.nn.ctc_loss(labels, logits, None, steps, logits_time_major=False, blank_index=BLANK)
    return tf.where(is_empty, blank_loss, losses)


def accuracy(targets: Any, probabilities: Any) -> Any:
    """Return for each line (N,) 1 where the best path gives all its symbols, else 0; as for the loss."""
    import tensorflow as tf

    targets = tf.cast(targets, tf.int32)
    path = tf.argmax(probabilities[:, 0], axis=-1, output_type=tf.int32)
    is_new = tf.pad(path[:, 1:] != path[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    read = tf.ragged.boolean_mask(path, is_new & (path != BLANK)).to_tensor(NO_SYMBOL)
    length = tf.maximum(tf.shape(read)[1], tf.shape(targets)[1])
    padded = [
        tf.pad(values, [[0, 0], [0, length - tf.shape(values)[1]]], constant_values=NO_SYMBOL)
        for values in (read, targets)
    ]
    return tf.cast(tf.reduce_all(padded[0] == padded[1], axis=1), tf.float32)
