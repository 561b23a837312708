"""Run a compiled model on lines of digits; `number_reading` makes a number of the probabilities.

Used by the workers of a scan of numbers, which load it without TensorFlow or Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.model.interpreter import CompiledNetwork, check_compatible
from digitscan.model.metadata import LINE_CLASSES, LINE_INPUT_SHAPE, ModelMetadata, Reads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXELS_PER_STEP = 4
"""The width of a line that one step of the network stands for."""
BLOCK_WIDTHS: tuple[int, ...] = (*range(32, 257, 32), *range(320, 513, 64), 768, 1024, 1536, 2048)
"""The widths to which lines are padded with paper; longer ones are padded to multiples of the last.

A width takes 2 ms to prepare and up to 3 MB of memory, and each pixel of padding 10 microseconds a line.
"""


class LineClassifier:
    """A compiled model of numbers that is ready to run: lines in, probabilities of their symbols out."""

    def __init__(self, compiled: bytes, metadata: ModelMetadata, threads: int = 1) -> None:
        """Load a compiled model; its bytes must be verified (see `read_compiled`), or they could crash us.

        Raises ModelError where it was trained with another preprocessing version, reads single digits, or
        does not fit its metadata.
        """
        check_compatible(metadata)
        if metadata.reads is not Reads.NUMBERS:
            raise ModelError("the model reads single digits, not numbers: give one that reads numbers")
        self._compiled, self._threads = compiled, threads
        self._networks: dict[int, CompiledNetwork] = {}
        self._prepare(BLOCK_WIDTHS[0])

    def classify(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """Return the probabilities (T, 13) of the symbols at each step of each line (32, W) uint8, W >= 1.

        Lines are bright ink on black. T is W/4, rounded up, and one more where the block is wider. Each row
        sums to 1; the model's temperature is not applied. The network runs on one line at a time, so that
        the probabilities of a line are bit-identical whichever lines are classified with it.
        """
        return [self._classify_line(image) for image in images]

    def _classify_line(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        import numpy as np

        width = image.shape[1]
        block_width = find_block_width(width)
        batch = np.zeros((1, LINE_INPUT_SHAPE[0], block_width, 1), np.float32)
        np.divide(image, np.float32(255.0), out=batch[0, :, :width, 0], dtype=np.float32)
        # The last digit may end in the step behind the line's last pixel.
        step_count = -(-width // PIXELS_PER_STEP) + 1
        logits = self._prepare(block_width).compute_logits(batch)[0, 0, :step_count].astype(np.float64)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float32] = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(
            np.float32
        )
        return probabilities

    def _prepare(self, block_width: int) -> CompiledNetwork:
        """Return the network for a width, prepared when the first line needs it. Raises ModelError."""
        network = self._networks.get(block_width)
        if network is None:
            height, _, channels = LINE_INPUT_SHAPE
            network = CompiledNetwork(self._compiled, self._threads, (1, height, block_width, channels))
            if network.output_shape != (1, 1, block_width // PIXELS_PER_STEP, LINE_CLASSES):
                raise ModelError(
                    f"the compiled model does not have {LINE_CLASSES} outputs for each {PIXELS_PER_STEP} "
                    "pixels of a line: delete it, and it will be compiled again"
                )
            self._networks[block_width] = network
        return network


def find_block_width(width: int) -> int:
    """Return the width of the block in which a line of this width is classified."""
    longest = BLOCK_WIDTHS[-1]
    return next((block for block in BLOCK_WIDTHS if block >= width), -(-width // longest) * longest)
