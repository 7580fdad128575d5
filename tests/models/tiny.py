"""A bundle of a few ONNX nodes: the logit is the mean brightness of a crop, the embedding its mean colour."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.bundle import Bundle
from models.calibration import Calibration, Threshold, Thresholds
from models.manifest import CALIBRATION, CARD, MODEL, InputSpec, Manifest

SIZE, CROPS = 32, 2
CALIBRATED = Calibration(
    a=4.0,
    b=-2.0,
    thresholds=Thresholds(
        authentic_below=Threshold(id="fnr-0.05", value=0.3, rate=0.05, on="nothing", pictures=100),
        ai_above=Threshold(id="fpr-0.01", value=0.7, rate=0.01, on="nothing", pictures=100),
    ),
)


def tiny_graph(*, scale: float = 1 / 255, size: int = SIZE, logit: str = "logit", taken: int = TensorProto.UINT8):
    """The model as a protobuf. ``scale`` multiplies the pixels, so infinity or 1e6 make bad numbers."""
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"], name="scale"),
        helper.make_node("ReduceMean", ["scaled", "space"], ["embedding"], keepdims=0, name="pool"),
        helper.make_node("ReduceMean", ["embedding", "colour"], [logit], keepdims=0, name="score"),
    ]
    constants = [
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "space"),
        numpy_helper.from_array(np.array([1], np.int64), "colour"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", taken, ["n", size, size, 3])],
        [
            helper.make_tensor_value_info(logit, TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def tiny_manifest(**changes: object) -> Manifest:
    """A manifest that only needs its files."""
    given = Manifest(
        name="tiny",
        version="1",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        input=InputSpec(size=SIZE, crops=CROPS),
        metrics={"clean": {"all": {"accuracy": 0.5, "n": 10}}},
    )
    return given.model_copy(update=changes)


def tiny_files(model: onnx.ModelProto | None = None) -> dict[str, bytes]:
    """The files of a bundle around a model."""
    return {
        MODEL: (model or tiny_graph()).SerializeToString(),
        CALIBRATION: CALIBRATED.to_json(),
        CARD: b"# Tiny\n\nKnows bright from dark.\n",
    }


def tiny_bundle(model: onnx.ModelProto | None = None, extra: Mapping[str, bytes] | None = None) -> Bundle:
    """A whole bundle, in memory."""
    return Bundle.build(tiny_manifest(), {**tiny_files(model), **(extra or {})})
