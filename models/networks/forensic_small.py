"""`forensic-small`: a small network on what is left of a picture when its content is filtered out.

Crops are taken as they are, never resized, and nothing pools before the last map, so that traces of a decoder of a
pixel or two reach the end. Under 200,000 parameters as it stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.networks.architecture import Architecture, Options, Weights, unknown_weights
from models.networks.backbone import Convolution, SpatialBackbone, moments
from models.networks.residual import stage
from models.networks.srm import MAPS, Residuals

_RAW = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
_UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class ForensicOptions(Options):
    """What the network looks at, and its size."""

    front: Annotated[Literal["srm", "raw"], Field(description="High-pass residuals, or the colours themselves")] = "srm"
    widths: Annotated[
        tuple[Annotated[int, Field(ge=16, le=512)], ...],  # see `models.networks.residual`
        Field(min_length=2, max_length=6, description="Channels of the stem, and of stages that halve the sides"),
    ] = (24, 24, 48, 96)
    depth: Annotated[int, Field(ge=1, le=8, description="Residual blocks of a stage")] = 1


class ForensicSmall(SpatialBackbone):
    """The network; its features are mean and standard deviation of the last map's channels.

    Args:
        front: ``srm`` or ``raw``.
        widths: Channels of the stem, then of the stages.
        depth: Residual blocks of a stage.
    """

    def __init__(self, front: Literal["srm", "raw"], widths: Sequence[int], depth: int) -> None:
        super().__init__(*(_UNIT if front == "srm" else _RAW))
        self.front = Residuals() if front == "srm" else nn.Identity()
        self.stem = Convolution(MAPS if front == "srm" else 3, widths[0], 3)
        self.blocks = nn.ModuleList(stage(inputs, outputs, 2, depth) for inputs, outputs in itertools.pairwise(widths))
        self.channels = widths[-1]
        self.width = 2 * self.channels
        self.mapped = slice(0, self.channels)
        self.by_place = True

    def stages(self) -> Sequence[nn.Module]:
        """The stem and every stage."""
        return [self.stem, *self.blocks]

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the last stage's map ``[N, channels, h, w]``."""
        x = torch.relu(self.stem(self.front(self.normalise(crops))))
        for block in self.blocks:
            x = block(x)
        return moments(x), x


def _make(options: ForensicOptions, weights: Weights) -> ForensicSmall:
    if weights is not None:
        raise unknown_weights("forensic-small", weights, {})
    return ForensicSmall(options.front, options.widths, options.depth)


ARCHITECTURES = (
    Architecture(
        name="forensic-small",
        summary="Small network on high-pass residuals of native crops; trained from scratch",
        options=ForensicOptions,
        make=_make,
        tiny={"widths": (16, 24)},
    ),
)
