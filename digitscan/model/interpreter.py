"""Run a compiled model with LiteRT, the runtime that a scan uses in place of TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelMetadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CompiledNetwork:
    """A compiled model that is ready to run on a batch of inputs of one shape."""

    def __init__(self, compiled: bytes, threads: int = 1, input_shape: tuple[int, ...] | None = None) -> None:
        """Load a compiled model; its bytes must be verified (see `read_compiled`), or they could crash us.

        `input_shape` is the shape of a batch, by default the one that it was compiled for. Raises ModelError
        where it cannot be run.
        """
        from digitscan.system.stdio import silence_native_stderr

        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:  # systems for which ai-edge-litert has no wheel
            from tensorflow.lite import Interpreter

        try:
            with silence_native_stderr():
                self._interpreter: Any = Interpreter(model_content=compiled, num_threads=threads)
                if input_shape is not None:
                    self._interpreter.resize_tensor_input(0, input_shape)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"the compiled model cannot be run ({str(error).strip()[:160]}): "
                "delete it, and it will be compiled again"
            ) from error
        input_details = self._interpreter.get_input_details()[0]
        output_details = self._interpreter.get_output_details()[0]
        self._input_index, self._output_index = input_details["index"], output_details["index"]
        self.input_shape: tuple[int, ...] = tuple(input_details["shape"].tolist())
        self.output_shape: tuple[int, ...] = tuple(output_details["shape"].tolist())

    def compute_logits(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits, of `output_shape`, of a batch of `input_shape`."""
        self._interpreter.set_tensor(self._input_index, batch)
        self._interpreter.invoke()
        logits: NDArray[np.float32] = self._interpreter.get_tensor(self._output_index)
        return logits


def check_compatible(metadata: ModelMetadata) -> None:
    """Raise ModelError where a model was trained with another preprocessing version."""
    if not metadata.is_compatible:
        raise ModelError(
            f"the model was trained with preprocessing version {metadata.preprocess_version}, "
            f"this digitscan has version {metadata.current_version}: train it again"
        )
