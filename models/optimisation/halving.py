"""Half precision for accelerators: the trunk in float16, everything from the pooling on in float32."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.optimisation import graphs
from stream.errors import BundleInvalid

_LARGEST = float(np.finfo(np.float16).max)


def halve(model: bytes) -> bytes:
    """The model with its trunk's layers computed in float16; input and outputs stay as they are.

    Raises:
        BundleInvalid: The model cannot be halved: it has no such layers, or a weight that float16 cannot hold.
    """
    stored = graphs.halved(model)
    folded = graphs.fold(model)
    graph = folded.graph
    chosen = set(graphs.trunk(folded))
    if not chosen:
        raise BundleInvalid("the model has no layer that could be halved")
    constants = {tensor.name: tensor for tensor in graph.initializer}
    half: dict[str, str] = {}  # a float32 value to its float16 twin
    made: dict[str, str] = {}  # a value that the trunk makes to its float16 twin
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name in chosen:
            for place, name in enumerate(node.input):
                if name in made:
                    node.input[place] = made[name]
                elif name:
                    node.input[place] = _twin(name, constants, half, graph, nodes)
            for place, name in enumerate(node.output):
                made[name] = node.output[place] = f"{name}.fp16"
            nodes.append(node)
            nodes.extend(_cast(made[name], name, TensorProto.FLOAT) for name in made if made[name] in node.output)
        else:
            nodes.append(node)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(_needed(nodes, {output.name for output in graph.output}))
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graphs.store_half(folded, stored)
    return bytes(folded.SerializeToString())


def _twin(
    name: str,
    constants: dict[str, TensorProto],
    half: dict[str, str],
    graph: onnx.GraphProto,
    nodes: list[onnx.NodeProto],
) -> str:
    """The float16 twin of a value that the trunk takes, made at its first use."""
    if name not in half:
        half[name] = f"{name}.fp16"
        if name in constants:
            values = numpy_helper.to_array(constants[name])
            if np.abs(values).max(initial=0) > _LARGEST:
                raise BundleInvalid(f"{name} does not fit into float16")
            graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), half[name]))
        else:
            nodes.append(_cast(name, half[name], TensorProto.FLOAT16))
    return half[name]


def _cast(given: str, taken: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [given], [taken], name=f"cast/{taken}", to=to)


def _needed(nodes: list[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """Without the casts that nobody reads."""
    read = outputs | {name for node in nodes for name in node.input}
    return [node for node in nodes if read.intersection(node.output)]
