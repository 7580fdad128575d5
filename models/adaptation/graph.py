"""The head inside a bundle's graph: read, shifted, and given two more units, without touching anything before it.

`models.networks.detector` puts ``logit = features · weight + bias`` and ``embedding = features · projection`` behind
the network under these names. A large tensor may be stored as float16 behind a Cast, with ``.half`` after its name. The
first lesson adds ``softplus(features · units_weight + units_bias) · units_sign`` to the logit; later ones add columns.
The embedding stays as it is, so that what was measured on it (drift) still holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from models.adaptation.units import Floats
from models.classifier import LOGIT
from stream.errors import BundleInvalid

FEATURES = "features"
MOST_UNITS = 64
_WEIGHT, _BIAS, _PROJECTION = "weight", "bias", "projection"
_UNITS, _UNITS_BIAS, _UNITS_SIGN, _UNITS_AXIS = "units_weight", "units_bias", "units_sign", "units_axis"
_LINEAR = "linear_logit"
_REMEDY = "Train it again with this release: its graph ends in a linear head that can be replaced"


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """``weight [W]``, ``bias`` and the embedding's ``projection [W, D]``, all over the standardised features."""

    weight: Floats
    bias: float
    projection: Floats

    @property
    def width(self) -> int:
        """How many features there are."""
        return self.weight.size


def read(model: bytes, *, where: str) -> LinearHead:
    """Reads the head of an ONNX file.

    Raises:
        BundleInvalid: The graph does not return ``features``, or holds no linear head over them.
    """
    graph = _parsed(model, where).graph
    if FEATURES not in {output.name for output in graph.output}:
        raise unfit(f"the model does not return {FEATURES!r}", where=where)
    weight, bias, projection = (
        numpy_helper.to_array(_initialiser(graph, name, where)).astype(np.float64)
        for name in (_WEIGHT, _BIAS, _PROJECTION)
    )
    if bias.size != 1 or projection.ndim != 2 or len(projection) != weight.size:  # noqa: PLR2004 - a matrix
        shapes = f"{weight.shape}, {bias.shape} and {projection.shape}"
        raise unfit(f"the head's arrays have shapes {shapes}", where=where)
    return LinearHead(weight.ravel(), float(bias.ravel()[0]), projection)


def taught(model: bytes, slopes: Floats, constants: Floats, *, where: str) -> bytes:
    """The ONNX file after a lesson; everything before the features is untouched.

    Args:
        model: The ONNX file.
        slopes: Over the features, ``[3, W]``: the shift of the linear head, the unit that speaks for machine-made and
            the one that speaks for authentic; see `models.adaptation.units`.
        constants: Theirs, ``[3]``.
        where: The bundle, for messages.

    Raises:
        BundleInvalid: The graph holds no such head, has learned `MOST_UNITS` already, or the numbers do not fit.
    """
    parsed = _parsed(model, where)
    graph = parsed.graph
    _replace(graph, _WEIGHT, lambda old: old + slopes[0].reshape(old.shape), where)
    _replace(graph, _BIAS, lambda old: old + constants[0].reshape(old.shape), where)
    if not any(tensor.name == _UNITS for tensor in graph.initializer):
        _wire_units(graph, where)
    _replace(graph, _UNITS, lambda old: np.concatenate([old, slopes[1:].T], 1), where)
    _replace(graph, _UNITS_BIAS, lambda old: np.concatenate([old, constants[1:]]), where)
    _replace(graph, _UNITS_SIGN, lambda old: np.concatenate([old, [[1.0], [-1.0]]]), where)
    learned = numpy_helper.to_array(_initialiser(graph, _UNITS, where)).shape[1]
    if learned > MOST_UNITS:
        remedy = "Train a new bundle on what was learned since"
        raise BundleInvalid(f"the model was adapted {MOST_UNITS // 2} times already", where=where, remedy=remedy)
    onnx.checker.check_model(parsed)
    return bytes(parsed.SerializeToString(deterministic=True))


def _wire_units(graph: onnx.GraphProto, where: str) -> None:
    """Adds an empty layer of softplus units over the features, and its sum to the logit."""
    scoring = [node for node in graph.node if LOGIT in node.output]
    if len(scoring) != 1:
        raise unfit(f"the model does not compute {LOGIT!r} in one place", where=where)
    place = list(scoring[0].output).index(LOGIT)
    scoring[0].output[place] = _LINEAR
    width = numpy_helper.to_array(_initialiser(graph, _WEIGHT, where)).size
    for name, shape in ((_UNITS, (width, 0)), (_UNITS_BIAS, (0,)), (_UNITS_SIGN, (0, 1))):
        graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), _UNITS_AXIS))
    graph.node.extend([
        helper.make_node("MatMul", [FEATURES, _UNITS], ["units_products"]),
        helper.make_node("Add", ["units_products", _UNITS_BIAS], ["units_inputs"]),
        helper.make_node("Softplus", ["units_inputs"], ["units_outputs"]),
        helper.make_node("MatMul", ["units_outputs", _UNITS_SIGN], ["units_sum"]),
        helper.make_node("Squeeze", ["units_sum", _UNITS_AXIS], ["units_change"]),
        helper.make_node("Add", [_LINEAR, "units_change"], [LOGIT]),
    ])  # fmt: skip


def _replace(graph: onnx.GraphProto, name: str, change: Callable[[Floats], Floats], where: str) -> None:
    tensor = _initialiser(graph, name, where)
    old = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):  # an overflow is infinite, and refused in words
        new = np.asarray(change(old.astype(np.float64)), np.float64).astype(old.dtype)
    if not np.isfinite(new).all():
        raise BundleInvalid(f"the new {name} does not fit into {old.dtype}", where=where)
    tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))


def unfit(what: str, *, where: str) -> BundleInvalid:
    """A bundle that cannot be adapted, and what to do about it."""
    return BundleInvalid(what, where=where, remedy=_REMEDY)


def _parsed(model: bytes, where: str) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(model)
    except DecodeError as error:
        raise BundleInvalid("the model is not a readable ONNX file", where=where) from error


def _initialiser(graph: onnx.GraphProto, name: str, where: str) -> onnx.TensorProto:
    found = [tensor for tensor in graph.initializer if tensor.name in (name, f"{name}.half")]
    if len(found) != 1:
        raise unfit(f"the model has no {name!r} to replace", where=where)
    tensor: onnx.TensorProto = found[0]
    return tensor
