"""Half precision (IEEE 754 binary16) inside a cleaned network; float32 at both ends.

``onnxruntime.transformers.float16`` does the same for more kinds of networks, but leaves its casts
out of order and gives two of them one name where a value has several users.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.catalog.clean import infer

_HEAVY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_STAY = {"Resize": {1, 2}, "Upsample": {1}, "QuantizeLinear": {1}, "DequantizeLinear": {1}}
"""Inputs that are float32 whatever the rest is: the scales of a resize."""
_MOST = float(np.finfo(np.float16).max)


def tail_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes from which nothing heavy follows: the network's own end, last one first."""
    before_heavy: set[str] = set()
    tail = []
    for node in reversed(graph.node):
        if node.op_type in _HEAVY or before_heavy.intersection(node.output):
            before_heavy.update(node.input)
        else:
            tail.append(node)
    return tail


def halved(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return a cleaned network in half precision, up to its last convolutions.

    Weights that half precision cannot hold become its largest number.
    """
    work = onnx.ModelProto()
    work.CopyFrom(network)
    pen = _Pen(work)
    tail = {node.output[0] for node in tail_of(work.graph)}
    for node in list(work.graph.node):
        pen.write(node, half=node.output[0] not in tail)
    pen.finish()
    return work


class _Pen:
    """Writes the nodes anew, with casts where the precision changes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        known = infer(model).graph
        values = [*known.value_info, *known.input, *known.output]
        self._floats = {
            value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        #: values that are in half precision now
        self._half: set[str] = set()
        #: casts and weights that were made, by (name, half)
        self._made: dict[tuple[str, bool], str] = {}

    def write(self, node: onnx.NodeProto, *, half: bool) -> None:
        """Write one node in one precision."""
        stay = _STAY.get(node.op_type, set())
        for place, name in enumerate(node.input):
            if name and place not in stay:
                node.input[place] = self._as(name, half=half)
        if half:
            _attributes(node)
            self._half.update(name for name in node.output if name in self._floats)
        self._nodes.append(node)

    def finish(self) -> None:
        """Give the graph its nodes; its outputs are float32 under their own names."""
        own = {value.name for value in self._graph.output} & self._half
        for node in self._nodes:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name in own:
                        names[place] = f"{name}/half"
        for name in sorted(own):
            self._nodes.append(_cast(f"{name}/half", name, half=False))
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        del self._graph.value_info[:]
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _as(self, name: str, *, half: bool) -> str:
        """Return the value in this precision."""
        tensor = self._tensors.get(name)
        if tensor is not None:
            return self._weight(tensor) if half else name
        if name not in self._floats or (name in self._half) == half:
            return name
        if (name, half) not in self._made:
            made = self._made[name, half] = f"{name}/{'half' if half else 'single'}_cast"
            self._nodes.append(_cast(name, made, half=half))
        return self._made[name, half]

    def _weight(self, tensor: onnx.TensorProto) -> str:
        if tensor.data_type != TensorProto.FLOAT:
            return tensor.name
        if (tensor.name, True) not in self._made:
            made = self._made[tensor.name, True] = f"{tensor.name}/half"
            values = numpy_helper.to_array(tensor).clip(-_MOST, _MOST).astype(np.float16)
            self._graph.initializer.append(numpy_helper.from_array(values, made))
        return self._made[tensor.name, True]


def _attributes(node: onnx.NodeProto) -> None:
    """Let what a node makes of nothing be in half precision too."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(values))


def _cast(name: str, made: str, *, half: bool) -> onnx.NodeProto:
    to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    return helper.make_node("Cast", [name], [made], f"{made}/cast", to=to)
