"""Glue: a small pen for ONNX graphs. It writes nodes and constants and makes up their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class Glue:
    """Nodes that are added around a network.

    Only operators that mean the same from opset 13 on are used by its callers, so that the glue
    fits a network of any newer opset. A value is its name (``str``).
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, array: NDArray[np.generic]) -> str:
        """Add a constant; return its name."""
        name = f"edge/const_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a constant ``(n,)`` int64."""
        return self.const(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Add a scalar float32 constant."""
        return self.const(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        """Add a node with one output; return the output's name (``name``, or one made up)."""
        return self.ops(
            kind, inputs, [name or f"edge/{kind.lower()}_{len(self.nodes)}"], **attributes
        )[0]

    def ops(
        self, kind: str, inputs: Sequence[str], outputs: list[str], **attributes: object
    ) -> list[str]:
        """Add a node with several outputs; return their names."""
        node = helper.make_node(kind, list(inputs), outputs, f"edge/node_{len(self.nodes)}")
        for key, value in attributes.items():
            node.attribute.append(helper.make_attribute(key, value))
        self.nodes.append(node)
        return outputs

    def columns(self, value: str, first: int, last: int, axis: int) -> str:
        """Take ``first`` to ``last`` (not included) along an axis."""
        return self.op("Slice", value, self.ints(first), self.ints(last), self.ints(axis))

    def corners(self, centre: str, size: str) -> str:
        """Turn centres ``(..., 2)`` and sizes ``(..., 2)`` into boxes ``(..., 4)`` x1 y1 x2 y2."""
        half = self.op("Mul", size, self.number(0.5))
        low, high = self.op("Sub", centre, half), self.op("Add", centre, half)
        return self.op("Concat", low, high, axis=-1)
