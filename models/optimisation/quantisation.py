"""Static int8 of a detector's trunk: weights per output channel, activations by ranges seen on real crops.

Weights are signed and symmetric, activations unsigned with a zero point, in QDQ form (R. Krishnamoorthi, "Quantizing
deep convolutional networks for efficient inference", arXiv 1806.08342). The first layer stays in float: it has three
input channels, so it costs little, and with few input channels eight bits make it slower. Nothing behind the pooled
features is touched (`graphs.trunk`).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from models.optimisation import graphs
from models.ports import Crops
from models.providers import RUNTIME_ERRORS, open_session
from stream.errors import BundleInvalid, ConfigurationError, InferenceFailed

Method = Literal["minmax", "percentile", "entropy"]
Exclusion = Literal["first", "depthwise", "early"]
"""Layers left in float: the first one, all grouped convolutions, the first third."""

METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
FIRST: tuple[Exclusion, ...] = ("first",)

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_FAULTS: tuple[type[Exception], ...] = (
    *RUNTIME_ERRORS, KeyError, TypeError, AssertionError, onnx.checker.ValidationError,
)  # fmt: skip
_PERCENTILE = 99.99
_BATCH = 16
_OPERATORS = [*sorted(graphs.WEIGHTED), "Add", "Clip", "MaxPool", "Relu"]
_OPSET = 13  # from here on QuantizeLinear takes one scale for every channel
_PREPARED = "onnx.quant.pre_process"


def quantise(
    model: bytes, crops: Iterable[Crops], *, method: Method = "minmax", exclude: Sequence[Exclusion] = FIRST
) -> bytes:
    """Quantises the trunk of a model. Equal model and crops give equal bytes.

    To ship a head that fits a quantised trunk, quantise the trunk first (a model whose output is its features), extract
    features through what comes back, fit the head on them, and put both together with `graphs.join`.

    Args:
        model: An ONNX file with one input, ``crops``, uint8 ``[N, S, S, 3]``.
        crops: Real ones, as they are served, in blocks ``[n, S, S, 3]``; some 100 in all are enough.
        method: How an activation's range follows from its values: all of them, all but 1 in 10,000 at either end, or
            the range that keeps most information (S. Migacz, GTC 2017).
        exclude: Layers that stay in float.

    Raises:
        BundleInvalid: The model cannot be quantised.
        ConfigurationError: There are no crops.
    """
    blocks = list(_blocks(crops))
    if not blocks:
        raise ConfigurationError("there is no crop to set the ranges on")
    stored = graphs.halved(model)
    folded = graphs.fold(model)
    opset = next(entry.version for entry in folded.opset_import if entry.domain == "")
    if opset < _OPSET:
        raise BundleInvalid(f"opset {opset} has no scales per channel", remedy=f"Export with opset {_OPSET} or newer")
    nodes = graphs.trunk(folded, without=_left_out(folded, exclude))
    if not nodes:
        raise BundleInvalid("the model has no layer that could be quantised")
    entry = folded.metadata_props.add()
    entry.key, entry.value = _PREPARED, "onnxruntime.quant"  # folded above; spares a warning
    options: dict[str, Any] = {"CalibStridedMinMax": 1}  # one block at a time in memory
    if method == "percentile":
        options |= {"CalibPercentile": _PERCENTILE, "CalibTensorRangeSymmetric": False}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        given, taken = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        given.write_bytes(folded.SerializeToString())
        try:
            quantize_static(
                given, taken, _Reader(blocks), quant_format=QuantFormat.QDQ, op_types_to_quantize=_OPERATORS,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_quantize=nodes, calibrate_method=_METHODS[method], extra_options=options,
            )  # fmt: skip
        except _FAULTS as error:
            raise BundleInvalid(f"the model cannot be quantised: {error}") from error
        quantised = onnx.load(taken)
    del quantised.metadata_props[:]
    graphs.store_half(quantised, stored)
    return bytes(quantised.SerializeToString())


def logits(model: bytes, crops: Iterable[Crops], *, output: str = "logit") -> npt.NDArray[np.float64]:
    """What a model says of crops: its output ``[n, …]`` flattened to ``[n·…]``, on one thread of the CPU.

    Raises:
        BundleInvalid: ONNX Runtime refuses the model.
        InferenceFailed: It fails on the crops, or a value is not finite.
    """
    session = open_session(model, wish="cpu")
    try:
        parts = [session.run([output], {"crops": block})[0].ravel() for block in _blocks(crops)]
    except RUNTIME_ERRORS as error:
        raise InferenceFailed(f"the model failed on crops: {error}") from error
    values = np.concatenate(parts).astype(np.float64)
    if not np.isfinite(values).all():
        raise InferenceFailed(f"{output} is not finite for {int((~np.isfinite(values)).sum())} of {values.size} values")
    return values


def _blocks(crops: Iterable[Crops]) -> Iterator[Crops]:
    for block in crops:
        for start in range(0, len(block), _BATCH):
            yield np.ascontiguousarray(block[start : start + _BATCH])


def _left_out(model: onnx.ModelProto, exclude: Sequence[Exclusion]) -> set[str]:
    found = graphs.layers(model)
    names: set[str] = set()
    if "first" in exclude:
        # A network that looks twice has its first layer twice, with one weight.
        names.update(node.name for node in found if node.input[1] == found[0].input[1])
    if "early" in exclude:
        names.update(node.name for node in found[: len(found) // 3])
    if "depthwise" in exclude:
        names.update(node.name for node in found if graphs.depthwise(node))
    return names


class _Reader(CalibrationDataReader):  # type: ignore[misc] # the package has no types
    """Hands blocks of crops to ONNX Runtime's calibration, range by range."""

    def __init__(self, blocks: Sequence[Crops]) -> None:
        self._all = blocks
        self._left = iter(blocks)

    def __len__(self) -> int:
        return len(self._all)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Next come the blocks from ``start_index`` up to ``end_index``."""
        self._left = iter(self._all[start_index:end_index])

    def get_next(self) -> dict[str, Crops] | None:
        """The next block, by the input's name."""
        block = next(self._left, None)
        return None if block is None else {"crops": block}
