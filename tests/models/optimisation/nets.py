"""A tiny detector as ONNX: two convolutions with a residual sum, pooled moments, standardisation, two linear layers.

What is bright is machine-made, as the pictures of `tests.models.evaluation.collections` have it.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import Bundle
from models.manifest import MODEL
from tests.models.tiny import SIZE, tiny_files, tiny_manifest

CHANNELS = 16


def constants(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights by name; the deep layer's are float16 values."""
    rng = np.random.default_rng(seed)
    return {
        "mean": np.full((1, 3, 1, 1), 120, np.float32),
        "deviation": np.full((1, 3, 1, 1), 60, np.float32),
        "stem.weight": np.abs(rng.normal(0, 0.15, (CHANNELS, 3, 3, 3))).astype(np.float32),
        "stem.bias": rng.normal(1, 0.2, CHANNELS).astype(np.float32),
        "wide.weight": rng.normal(0, 0.08, (CHANNELS, CHANNELS, 3, 3)).astype(np.float16).astype(np.float32),
        "wide.bias": rng.normal(0, 0.1, CHANNELS).astype(np.float32),
        "deep.weight": np.abs(rng.normal(0, 0.3, (CHANNELS, 1, 3, 3))).astype(np.float32),
        "deep.bias": rng.normal(0, 0.1, CHANNELS).astype(np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "centre": np.full(CHANNELS, 1.5, np.float32),
        "scale": np.full(CHANNELS, 0.5, np.float32),
        "weight": np.full((CHANNELS, 1), 1 / CHANNELS, np.float32),
        "bias": np.array(-0.5, np.float32),
        "projection": rng.normal(0, 0.2, (CHANNELS, 4)).astype(np.float32),
    }


def graph(*, halves: bool = False, head: bool = True, spoil: float = 1.0) -> onnx.ModelProto:
    """The net. ``halves`` stores a weight as float16 behind a Cast, ``spoil`` multiplies the logit."""
    values = constants()
    values["weight"] = values["weight"] * spoil
    inside = [
        ("Transpose", ["crops"], "nchw", {"perm": [0, 3, 1, 2]}),
        ("Cast", ["nchw"], "floats", {"to": TensorProto.FLOAT}),
        ("Sub", ["floats", "mean"], "centred", {}),
        ("Div", ["centred", "deviation"], "normal", {}),
        ("Conv", ["normal", "stem.weight", "stem.bias"], "stem.conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ("Clip", ["stem.conv", "low", "high"], "stem.out", {}),
        ("Conv", ["stem.out", "wide.weight", "wide.bias"], "wide.conv", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["wide.conv"], "wide.out", {}),
        ("Conv", ["wide.out", "deep.weight", "deep.bias"], "deep.conv", {"pads": [1, 1, 1, 1], "group": CHANNELS}),
        ("Add", ["stem.out", "deep.conv"], "sum", {}),
        ("ReduceMean", ["sum"], "features", {"axes": [2, 3], "keepdims": 0}),
    ]
    behind = [
        ("Sub", ["features", "centre"], "shifted", {}),
        ("Div", ["shifted", "scale"], "standard", {}),
        ("MatMul", ["standard", "weight"], "score", {}),
        ("Add", ["score", "bias"], "biased", {}),
        ("ReduceSum", ["biased", "last"], "logit", {"keepdims": 0}),
        ("MatMul", ["standard", "projection"], "embedding", {}),
    ]
    nodes = [
        helper.make_node(kind, given, [taken], name=f"/{taken}", **attributes)
        for kind, given, taken, attributes in inside + behind * head
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in values.items() if head or name not in HEAD]
    if head:
        stored.append(numpy_helper.from_array(np.array([1], np.int64), "last"))
    if halves:
        [wide] = [tensor for tensor in stored if tensor.name == "wide.weight"]
        wide.CopyFrom(numpy_helper.from_array(values["wide.weight"].astype(np.float16), "wide.weight.half"))
        nodes.insert(0, helper.make_node("Cast", ["wide.weight.half"], ["wide.weight"], to=TensorProto.FLOAT))
    shapes = {"logit": ["n"], "embedding": ["n", 4]} if head else {"features": ["n", CHANNELS]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    given = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    made = helper.make_graph(nodes, "net", [given], outputs, stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


HEAD = ("centre", "scale", "weight", "bias", "projection")


def tail() -> onnx.ModelProto:
    """What comes behind the features, as a graph of its own."""
    whole = graph()
    places = [node.name for node in whole.graph.node].index("/shifted")
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", CHANNELS])
    stored = [tensor for tensor in whole.graph.initializer if tensor.name in (*HEAD, "last")]
    made = helper.make_graph(whole.graph.node[places:], "head", [given], whole.graph.output, stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def bundle(model: onnx.ModelProto | None = None, **changes: object) -> Bundle:
    """A whole bundle around the net."""
    files = {**tiny_files(), MODEL: (model or graph()).SerializeToString()}
    return Bundle.build(tiny_manifest(**changes), files)


def crops(count: int = 40, seed: int = 0) -> np.ndarray:
    """Crops of every brightness, uint8 ``[count, S, S, 3]``."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(20, 235, (count, 1, 1, 1))
    return (levels + rng.normal(0, 15, (count, SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
