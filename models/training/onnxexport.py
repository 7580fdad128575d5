"""From torch to one ONNX file: weights stored as float16, computed in float32."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from models.optimisation import graphs

_OPSET = 17
_HALVED_FROM = 2048


def trace(net: nn.Module, example: Tensor, name: str, outputs: list[str], axes: dict[str, dict[int, str]]) -> bytes:
    """Export a network of one input by tracing it.

    Args:
        net: In evaluation mode.
        example: An input.
        name: Of the input.
        outputs: Names of what it returns.
        axes: The free axes of inputs and outputs, by name and number.

    Returns:
        The ONNX file.
    """
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings():
        # The tracing exporter needs no package beyond onnx; torch warns that it is the older one, and about shapes it
        # cannot infer through free axes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (example,), buffer, input_names=[name], output_names=outputs, dynamic_axes=axes,
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    return bytes(buffer.getvalue())


def to_onnx(net: nn.Module, size: int, outputs: list[str]) -> bytes:
    """Export a network that takes uint8 crops.

    Args:
        net: Takes uint8 ``[N, size, size, 3]``; in evaluation mode.
        size: Side of a crop.
        outputs: Names of what it returns.

    Returns:
        The ONNX file. Every large weight that float16 holds exactly is stored so, behind a Cast that ONNX Runtime folds
        away when the session opens; the others stay float32, so nothing is lost.
    """
    return _exported(net, torch.zeros(2, size, size, 3, dtype=torch.uint8), "crops", outputs)


def head_to_onnx(net: nn.Module, width: int, taken: str, outputs: list[str]) -> bytes:
    """Export what comes behind a trunk, stored as `to_onnx` does: float32 ``[N, width]`` in, by the name ``taken``."""
    return _exported(net, torch.zeros(2, width), taken, outputs)


def _exported(net: nn.Module, example: Tensor, taken: str, outputs: list[str]) -> bytes:
    axes = {name: {0: "n"} for name in (taken, *outputs)}
    model = onnx.load_model_from_string(trace(net, example, taken, outputs, axes))
    large = [weight for weight in model.graph.initializer if math.prod(weight.dims) >= _HALVED_FROM]
    casts = [graphs.half_stored(weight) for weight in large]
    for cast in reversed([cast for cast in casts if cast is not None]):
        model.graph.node.insert(0, cast)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
