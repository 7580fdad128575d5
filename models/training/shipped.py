"""A trained trunk as it ships, in float32 or int8: what reads features in training is what reads them in serving.

A quantised trunk's features differ a little from those it had. So it is quantised first, and the head, the calibration
and every figure come from what it reads then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from models.evaluation.delivery import Tier
from models.evaluation.pictures import Item
from models.networks.backbone import Backbone
from models.networks.detector import Detector
from models.optimisation import graphs
from models.optimisation.quantisation import quantise
from models.ports import Crops
from models.training.features import Features
from models.training.head import Head
from models.training.onnxexport import head_to_onnx, to_onnx
from models.training.served import served

Served = Literal["fp32", "int8"]

POOLED = "pooled"
_RANGED = 64


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """The frozen network, and the file that computes its features: ``crops`` to ``pooled``, ``[n, width]``."""

    net: Backbone
    size: int
    precision: Served
    model: bytes

    @classmethod
    def of(
        cls, net: Backbone, size: int, precision: Served, items: Sequence[Item], *, tiers: Sequence[Tier], count: int
    ) -> Trunk:
        """Exports a network and, for int8, sets the ranges on crops as they are served.

        Args:
            net: Frozen, in evaluation mode.
            size: Side of a crop.
            precision: To compute in.
            items: Training pictures; a few dozen spread over them set the ranges.
            tiers: The deliveries these come by.
            count: Crops of one picture.

        Raises:
            BundleInvalid: The network cannot be quantised.
        """
        model = to_onnx(net, size, [POOLED])
        if precision == "int8":
            spread = [items[place] for place in np.unique(np.linspace(0, len(items) - 1, _RANGED).astype(int))]
            model = quantise(model, _crops(spread, tiers, size, count))
        return cls(net, size, precision, model)

    def detector(self, fitted: Head, directions: Features) -> bytes:
        """The whole detector's file.

        Args:
            fitted: The linear head over the trunk's features.
            directions: Of the embedding, ``[width, D]``.
        """
        quantised = self.precision == "int8"
        net = Detector(
            nn.Identity() if quantised else self.net,
            centre=torch.from_numpy(fitted.centre),
            scale=torch.from_numpy(fitted.scale),
            clip=fitted.clip,
            weight=torch.from_numpy(fitted.weight),
            bias=fitted.bias,
            projection=torch.from_numpy(directions),
        ).eval()
        if not quantised:
            return to_onnx(net, self.size, net.outputs)
        return graphs.join(self.model, head_to_onnx(net, self.net.width, POOLED, net.outputs), on=POOLED)


def _crops(items: Sequence[Item], tiers: Sequence[Tier], size: int, count: int) -> Iterator[Crops]:
    for tier in tiers:
        for cut in served(items, tier, size, count):
            yield cut.reshape(-1, *cut.shape[2:])
