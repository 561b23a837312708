"""Decide which operations of a compiled network stay float32 when it is quantized.

Int8 has 256 values for a whole layer. Convolutions lose next to nothing by that, and take nearly all of the
time. Other operations can lose the answer: the logarithms of sigmoids, in int8, made one model read 15 % of
the digits right instead of 95 %.
"""

from __future__ import annotations

from typing import Any, NamedTuple

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
# They compute nothing: what goes in as int8 comes out as the same int8 values, at other places.
_MOVES = frozenset(
    {"CONCATENATION", "DEPTH_TO_SPACE", "MAX_POOL_2D", "PAD", "RESHAPE", "SPACE_TO_DEPTH", "TRANSPOSE"}
)


class _Operation(NamedTuple):
    name: str
    inputs: frozenset[int]
    """The tensors that it computes from, without the constants."""
    outputs: tuple[int, ...]


def find_float_operations(compiled: bytes) -> list[str] | None:
    """Return the names of the outputs of all operations that must stay float32, in a `.tflite` of float32.

    Convolutions become int8, and so does what only moves the outputs of convolutions, or the pixels of the
    image, which have 256 values anyway. The operation that computes the logits is never int8. None: there is
    no other convolution, and all of the network stays float32.
    """
    graph, operations = _read_operations(compiled)
    logits = _find_logits(graph, operations)
    int8_tensors = set(graph.inputs)
    float_tensors: list[int] = []
    has_convolution = False
    for operation in operations:  # in the order in which they run
        is_convolution = operation.name in _CONVOLUTIONS
        is_move = operation.name in _MOVES and operation.inputs <= int8_tensors
        if (is_convolution or is_move) and logits.isdisjoint(operation.outputs):
            int8_tensors.update(operation.outputs)
            has_convolution |= is_convolution
        else:
            float_tensors.extend(operation.outputs)
    return [graph.tensors[index].name.decode() for index in float_tensors] if has_convolution else None


def _find_logits(graph: Any, operations: list[_Operation]) -> set[int]:
    """Return the output of the graph, and all that is only moved to become it."""
    logits = set(graph.outputs)
    for operation in reversed(operations):
        if operation.name in _MOVES and not logits.isdisjoint(operation.outputs):
            logits |= operation.inputs
    return logits


def _read_operations(compiled: bytes) -> tuple[Any, list[_Operation]]:
    """Return the only graph of a `.tflite`, and its operations."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(compiled, 0))
    (graph,) = model.subgraphs
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    # Codes above 127 are in `builtinCode` alone, and older files have the others in the other field alone.
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    operations = []
    for operator in graph.operators:
        variable = frozenset(
            int(index)
            for index in operator.inputs
            if index >= 0 and model.buffers[graph.tensors[index].buffer].data is None
        )
        outputs = tuple(int(index) for index in operator.outputs)
        operations.append(_Operation(names[codes[operator.opcodeIndex]], variable, outputs))
    return graph, operations
