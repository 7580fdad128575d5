"""Static int8 of a detector's trunk: weights per output channel, activations by ranges seen on real crops.

Weights are signed and symmetric, activations unsigned with a zero point, in QDQ form (R. Krishnamoorthi, "Quantizing
deep convolutional networks for efficient inference", arXiv 1806.08342). The first layer stays in float: it has three
input channels, so it costs little, and with few input channels eight bits make it slower. Nothing behind the pooled
features is touched (`graphs.trunk`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType

from models.optimisation import graphs
from models.optimisation.ranges import METHODS, Advance, Method, Ranges, collect
from models.ports import Crops
from models.providers import RUNTIME_ERRORS, open_session
from stream.errors import BundleInvalid, ConfigurationError, InferenceFailed

Exclusion = Literal["first", "depthwise", "early"]
"""Layers left in float: the first one, all grouped convolutions, the first third."""

FIRST: tuple[Exclusion, ...] = ("first",)

_FAULTS: tuple[type[Exception], ...] = (
    *RUNTIME_ERRORS, KeyError, TypeError, AssertionError, onnx.checker.ValidationError,
)  # fmt: skip
_BATCH = 16
_OPERATORS = [*sorted(graphs.WEIGHTED), "Add", "Clip", "MaxPool", "Relu"]
_OPSET = 13  # from here on QuantizeLinear takes one scale for every channel


@dataclass(frozen=True, slots=True, eq=False)
class Ranged:
    """A model, folded, with the ranges of its trunk's values: all that its ways to eight bits have in common."""

    model: onnx.ModelProto
    ranges: Ranges
    halves: frozenset[str]

    @classmethod
    def of(
        cls,
        model: bytes,
        crops: Iterable[Crops],
        *,
        methods: Sequence[Method] = METHODS,
        exclude: Sequence[Exclusion] = FIRST,
        advance: Advance = lambda step: None,
    ) -> Self:
        """Runs the model over crops once.

        Args:
            model: An ONNX file with one input, ``crops``, uint8 ``[N, S, S, 3]``.
            crops: Real ones, as they are served, in blocks ``[n, S, S, 3]``; some 100 in all are enough.
            methods: How an activation's range follows from its values: all of them, all but 1 in 10,000, or the range
                that keeps most information (S. Migacz, GTC 2017).
            exclude: Layers that stay in float every way.
            advance: Is told how many crops are done.

        Raises:
            BundleInvalid: The model cannot be quantised.
            ConfigurationError: There are no crops.
        """
        blocks = list(_blocks(crops))
        if not blocks:
            raise ConfigurationError("there is no crop to set the ranges on")
        folded = graphs.fold(model)
        opset = next(entry.version for entry in folded.opset_import if entry.domain == "")
        if opset < _OPSET:
            raise BundleInvalid(
                f"opset {opset} has no scales per channel", remedy=f"Export with opset {_OPSET} or newer"
            )
        chosen = set(graphs.trunk(folded, without=_left_out(folded, exclude)))
        if not chosen:
            raise BundleInvalid("the model has no layer that could be quantised")
        constants = {tensor.name for tensor in folded.graph.initializer}
        nodes = [node for node in folded.graph.node if node.name in chosen]
        read = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name)
        names = [name for name in read if name not in constants]
        try:
            ranges = collect(folded, names, blocks, methods=methods, advance=advance)
        except _FAULTS as error:
            raise BundleInvalid(f"the model cannot be quantised: {error}") from error
        return cls(folded, ranges, graphs.halved(model))

    def left_out(self, exclude: Sequence[Exclusion]) -> frozenset[str]:
        """Names of the layers that stay in float."""
        return frozenset(_left_out(self.model, exclude))

    def quantised(self, method: Method, exclude: Sequence[Exclusion]) -> bytes:
        """The model with its trunk in eight bits, as an ONNX file.

        Raises:
            BundleInvalid: It cannot be quantised.
        """
        nodes = graphs.trunk(self.model, without=self.left_out(exclude))
        if not nodes:
            raise BundleInvalid("the model has no layer that could be quantised")
        try:
            quantiser = QDQQuantizer(
                self.model, True, False, QuantType.QInt8, QuantType.QUInt8, self.ranges.by(method), nodes, [],
                _OPERATORS, {},
            )  # fmt: skip
            quantiser.quantize_model()
            quantiser.model.topological_sort()
        except _FAULTS as error:
            raise BundleInvalid(f"the model cannot be quantised: {error}") from error
        made = quantiser.model.model
        del made.metadata_props[:]
        for tensor in made.graph.initializer:
            tensor.ClearField("data_location")  # its copy went over a file apart, which that leaves a trace of
        graphs.store_half(made, self.halves)
        return bytes(made.SerializeToString())


def quantise(
    model: bytes, crops: Iterable[Crops], *, method: Method = "minmax", exclude: Sequence[Exclusion] = FIRST
) -> bytes:
    """Quantises the trunk of a model in one way. Equal model and crops give equal bytes.

    To ship a head that fits a quantised trunk, quantise the trunk first (a model whose output is its features), extract
    features through what comes back, fit the head on them, and put both together with `graphs.join`.

    Args:
        model: As `Ranged.of` takes it.
        crops: Likewise.
        method: How an activation's range follows from its values.
        exclude: Layers that stay in float.

    Raises:
        BundleInvalid: The model cannot be quantised.
        ConfigurationError: There are no crops.
    """
    return Ranged.of(model, crops, methods=[method], exclude=exclude).quantised(method, exclude)


def logits(
    model: bytes,
    crops: Iterable[Crops],
    *,
    output: str = "logit",
    threads: int = 1,
    advance: Advance = lambda step: None,
) -> npt.NDArray[np.float64]:
    """What a model says of crops on the CPU: its output ``[n, …]`` flattened to ``[n·…]``.

    Args:
        model: An ONNX file.
        crops: In blocks ``[n, S, S, 3]``.
        output: Its name.
        threads: One run may use.
        advance: Is told how many crops are done.

    Raises:
        BundleInvalid: ONNX Runtime refuses the model.
        InferenceFailed: It fails on the crops, or a value is not finite.
    """
    session = open_session(model, wish="cpu", threads=threads)
    parts = []
    for block in _blocks(crops):
        try:
            parts.append(session.run([output], {"crops": block})[0].ravel())
        except RUNTIME_ERRORS as error:
            raise InferenceFailed(f"the model failed on crops: {error}") from error
        advance(len(block))
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
