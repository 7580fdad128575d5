"""Ranges of a graph's values on real crops, by three rules in one pass over the model.

Only the values asked for are looked at, and only so many crops at once as a bound on memory allows: all values that a
large vision transformer computes of sixteen crops would not fit into most machines. ONNX Runtime's own histograms make
the ranges, so they are what its calibration would give.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.calibrate import HistogramCollector

from models.ports import Crops
from models.providers import CPU
from stream.errors import BundleInvalid

Method = Literal["minmax", "percentile", "entropy"]
"""All values, all but 1 in 10,000 at both ends together, or the range that keeps most information."""

METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
_HISTOGRAMS: dict[Method, dict[str, Any]] = {
    "percentile": {"num_bins": 2048, "num_quantized_bins": 2048, "percentile": 99.99},
    "entropy": {"num_bins": 128, "num_quantized_bins": 128, "percentile": None},
}
_ROOM = 1 << 30
_MOST = 16

Advance = Callable[[int], None]


class Ranges:
    """Ranges of the values of one model.

    Args:
        found: For each rule, of each value by its name.
    """

    def __init__(self, found: Mapping[Method, Mapping[str, TensorData]]) -> None:
        self._found = found

    def by(self, method: Method) -> TensorsData:
        """By one rule, as ONNX Runtime's quantiser takes them, which changes them."""
        return TensorsData(_METHODS[method], dict(self._found[method]))


def collect(
    model: onnx.ModelProto,
    names: Sequence[str],
    blocks: Sequence[Crops],
    *,
    methods: Collection[Method] = METHODS,
    advance: Advance = lambda step: None,
) -> Ranges:
    """Runs a model over crops and keeps the ranges of some of its values.

    Args:
        model: A folded one, whose input is ``crops``.
        names: The values, float32 each, in the graph's order.
        blocks: Crops uint8 ``[n, S, S, 3]``, at least one.
        methods: The rules wanted.
        advance: Is told how many crops are done.

    Raises:
        BundleInvalid: A value is not finite. What ONNX Runtime raises comes through.
    """
    wanted = list(names)
    session = _session(model, wanted)
    each = sum(value.nbytes for value in _run(session, wanted, blocks[0][:1]))
    size = max(1, min(_MOST, _ROOM // max(each, 1)))
    kept = {name: _Value(methods) for name in wanted}
    for block in blocks:
        for start in range(0, len(block), size):
            part = block[start : start + size]
            for name, value in zip(wanted, _run(session, wanted, part), strict=True):
                kept[name].take(name, value)
            advance(len(part))
    return Ranges({method: {name: kept[name].range(method) for name in wanted} for method in methods})


class _Value:
    """What is kept of one value."""

    def __init__(self, methods: Collection[Method]) -> None:
        self._lowest = np.float32(np.inf)
        self._highest = np.float32(-np.inf)
        self._histograms = {
            method: HistogramCollector(method=method, symmetric=False, scenario="same", **_HISTOGRAMS[method])
            for method in methods
            if method in _HISTOGRAMS
        }

    def take(self, name: str, values: npt.NDArray[np.float32]) -> None:
        lowest, highest = values.min(), values.max()
        if not np.isfinite([lowest, highest]).all():
            raise BundleInvalid(f"the model cannot be quantised: {name} is not finite on some crop")
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)
        for histogram in self._histograms.values():
            with contextlib.redirect_stdout(io.StringIO()):
                histogram.collect({"": values})

    def range(self, method: Method) -> TensorData:
        if method == "minmax":
            return TensorData(lowest=np.array(self._lowest), highest=np.array(self._highest))
        with contextlib.redirect_stdout(io.StringIO()):
            lowest, highest, counts, edges = self._histograms[method].compute_collection_result()[""]
        return TensorData(lowest=lowest, highest=highest, hist=counts, bins=edges)


def _session(model: onnx.ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """The model as it stands, not optimised, giving out these values as well."""
    there = {output.name for output in model.graph.output}
    shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in there]
    model.graph.output.extend(shown)
    data = model.SerializeToString()
    del model.graph.output[len(there) :]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=[CPU])


def _run(session: onnxruntime.InferenceSession, names: Sequence[str], crops: Crops) -> list[Any]:
    found: list[Any] = session.run(list(names), {"crops": np.ascontiguousarray(crops)})
    return found
