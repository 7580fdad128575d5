"""What must be done to an ONNX graph around quantisation: folding, finding the trunk, joining a trunk with its head.

A detector's graph is a trunk, which makes feature maps, then pooling, standardisation and linear layers. Only the trunk
may lose precision: a standardised feature is a small difference between large numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import compose, numpy_helper

from models.onnxfile import refuse_outside_data
from models.providers import CPU, RUNTIME_ERRORS
from stream.errors import BundleInvalid

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
HEAD = frozenset({"weight", "bias", "projection", "centre", "scale"})
_EXACT = "texture."
"""In the names of constants of layers that measure noise, which eight bits would drown."""

_FOLLOWING = frozenset({"Add", "Clip", "Relu", "MaxPool"})
_HALF = ".half"


def read(model: bytes) -> onnx.ModelProto:
    """Parses an ONNX file.

    Raises:
        BundleInvalid: Not an ONNX file, or one that keeps data in other files.
    """
    refuse_outside_data(model, where="model")
    try:
        return onnx.load_model_from_string(model)
    except DecodeError as error:
        raise BundleInvalid("the model is not a readable ONNX file", where="model") from error


def fold(model: bytes) -> onnx.ModelProto:
    """The same computation with everything constant computed: stored halves, batch norms, paddings, shapes.

    ONNX Runtime does it, at the level that keeps to standard operators; so what is quantised afterwards is what it
    would run.

    Raises:
        BundleInvalid: ONNX Runtime refuses the model.
    """
    refuse_outside_data(model, where="model")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(model, options, providers=[CPU])
        except RUNTIME_ERRORS as error:
            raise BundleInvalid(f"ONNX Runtime refuses the model: {error}") from error
        folded = onnx.load(path)
    used = {node.domain for node in folded.graph.node} | {""}
    kept = [opset for opset in folded.opset_import if opset.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(kept)
    return folded


def trunk(model: onnx.ModelProto, *, without: Collection[str] = ()) -> list[str]:
    """Names of the trunk's nodes that can be computed with eight bits.

    Those are its layers with weights, and what follows such a layer value by value (activation, residual sum). Left out
    are `models.networks.texture`, linear layers behind which no other layer follows, whatever reads a constant of the
    detector's head, and all behind those.

    Args:
        model: A folded model; its nodes are named.
        without: Names of layers to leave out.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    behind = _reached({name for name in constants if name.removesuffix(_HALF) in HEAD}, graph.node)
    layers = [node for node in graph.node if _has_weights(node, constants) and node.name not in behind]
    feeding = _feeding(layers, graph.node)
    last = [node for node in layers if node.name not in feeding and node.op_type in ("Gemm", "MatMul")]
    dropped = {node.name for node in last} | set(without)
    chosen = [node.name for node in layers if node.name not in dropped]
    made = {output for node in layers if node.name not in dropped for output in node.output}
    for node in graph.node:  # in topological order, as ONNX demands
        values = [name for name in node.input if name and name not in constants]
        one_value = node.op_type == "Add" and len(values) < 2  # noqa: PLR2004 - a constant is added
        if node.op_type in _FOLLOWING and not one_value and values and made.issuperset(values):
            chosen.append(node.name)
            made.update(node.output)
    return chosen


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The trunk's layers with weights, in order."""
    names = set(trunk(model))
    return [node for node in model.graph.node if node.name in names and node.op_type in WEIGHTED]


def depthwise(node: onnx.NodeProto) -> bool:
    """Whether a layer is a grouped convolution."""
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


def halved(model: bytes) -> frozenset[str]:
    """Names of the weights that a file stores as float16 behind a Cast to float32."""
    return frozenset(
        node.output[0] for node in read(model).graph.node
        if node.op_type == "Cast" and node.input[0] == node.output[0] + _HALF
    )  # fmt: skip


def store_half(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Stores those of the named float32 weights that float16 holds exactly as float16 behind a Cast, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in names and (cast := half_stored(tensor)) is not None:
            model.graph.node.insert(0, cast)


def half_stored(weight: onnx.TensorProto) -> onnx.NodeProto | None:
    """Stores a float32 weight as float16, in place, if that holds it exactly, so that nothing is lost.

    Returns:
        The Cast back to float32, to be put into the graph, which ONNX Runtime folds away when the session opens; None
        where nothing was changed.
    """
    if weight.data_type != onnx.TensorProto.FLOAT:
        return None
    name, values = weight.name, numpy_helper.to_array(weight)
    half = values.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), values):
        return None
    weight.CopyFrom(numpy_helper.from_array(half, name + _HALF))
    return onnx.helper.make_node("Cast", [name + _HALF], [name], to=onnx.TensorProto.FLOAT)


def join(trunk_model: bytes, head: bytes, *, on: str = "features") -> bytes:
    """Puts a head's graph behind a trunk's.

    Args:
        trunk_model: From the crops to ``on``; quantised or not.
        head: From ``on`` to what a detector returns. Names that both use are prefixed in the trunk, so the head's
            constants keep theirs.
        on: Name of the trunk's output and of the head's input.

    Raises:
        BundleInvalid: The two do not fit together.
    """
    first, second = read(trunk_model), read(head)
    second.ir_version = first.ir_version = max(first.ir_version, second.ir_version)
    kept = {value.name for value in (*first.graph.input, *first.graph.output)}
    taken = {name for node in second.graph.node for name in (node.name, *node.output)}
    taken |= {tensor.name for tensor in second.graph.initializer}
    own = {name for node in first.graph.node for name in (node.name, *node.output)}
    own |= {tensor.name for tensor in first.graph.initializer}
    try:
        if (taken & own) - kept:
            first = compose.add_prefix(first, "trunk/", rename_inputs=False, rename_outputs=False)
        joined = compose.merge_models(first, second, io_map=[(on, on)])
        onnx.checker.check_model(joined)
    except (ValueError, onnx.checker.ValidationError) as error:
        raise BundleInvalid(f"trunk and head do not fit together: {error}") from error
    return bytes(joined.SerializeToString())


def _has_weights(node: onnx.NodeProto, constants: Collection[str]) -> bool:
    weighted = node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in constants
    return weighted and _EXACT not in node.input[1]


def _reached(names: set[str], nodes: Collection[onnx.NodeProto]) -> set[str]:
    """Names of the nodes that read one of these values, or a value made from one."""
    values, found = set(names), set()
    for node in nodes:
        if values.intersection(node.input):
            found.add(node.name)
            values.update(node.output)
    return found


def _feeding(last: Collection[onnx.NodeProto], nodes: Collection[onnx.NodeProto]) -> set[str]:
    """Names of the nodes whose values one of the layers in ``last`` needs."""
    maker = {output: node for node in nodes for output in node.output}
    found: set[str] = set()
    waiting = [name for node in last for name in node.input]
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            waiting.extend(node.input)
    return found
