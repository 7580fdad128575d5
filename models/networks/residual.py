"""`residual-small`: a plain residual network for small pictures (K. He et al., arXiv 1512.03385, section 4.2).

A 3×3 stem that keeps every pixel, stages of residual blocks that halve the sides between them, mean pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.networks.architecture import Architecture, Options, Weights, unknown_weights
from models.networks.backbone import Convolution, SpatialBackbone

_MEAN, _DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


_Sizes = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)]
# Under 16 channels, torch 2.13 writes beyond its memory in the backward pass of a shortcut's convolution (1×1, stride
# 2) on a CPU: the process dies later, anywhere.
_Widths = Annotated[tuple[Annotated[int, Field(ge=16, le=4096)], ...], Field(min_length=1, max_length=8)]


class ResidualOptions(Options):
    """The stages, and whether to look at the mirror image as well."""

    widths: Annotated[_Widths, Field(description="Channels of the stages")] = (32, 64, 128, 256)
    depths: Annotated[_Sizes, Field(description="Blocks of each stage")] = (2, 2, 2, 2)
    strides: Annotated[_Sizes, Field(description="Of each stage")] = (1, 2, 2, 2)
    mirrored: Annotated[bool, Field(description="Average a crop and its mirror image when serving")] = False

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if not len(self.widths) == len(self.depths) == len(self.strides):
            raise ValueError("widths, depths and strides must be equally many")
        return self


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = Convolution(inputs, outputs, 3, stride)
        self.second = Convolution(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else Convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs, H, W]`` to ``[N, outputs, H / stride, W / stride]``."""
        y = self.second(torch.relu(self.first(x)))
        return torch.relu(y + self.shortcut(x))


def stage(inputs: int, outputs: int, stride: int, depth: int) -> nn.Sequential:
    """``depth`` blocks, the first of which changes channels and side."""
    return nn.Sequential(
        Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(depth - 1))
    )  # fmt: skip


class ResidualSmall(SpatialBackbone):
    """The network.

    Args:
        widths: Channels of the stages; the stem has the first's.
        depths: Blocks of each stage.
        strides: Of each stage.
        mirrored: In evaluation mode, average over a crop and its mirror image, in the graph; twice the work.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], strides: Sequence[int], *, mirrored: bool = False
    ) -> None:
        super().__init__(_MEAN, _DEVIATION)
        self.stem = Convolution(3, widths[0], 3)
        self.blocks = nn.ModuleList()
        channels = widths[0]
        for outputs, depth, stride in zip(widths, depths, strides, strict=True):
            self.blocks.append(stage(channels, outputs, stride, depth))
            channels = outputs
        self.width = self.channels = channels
        self.mapped = slice(0, channels)
        self.mirrored = mirrored

    def stages(self) -> Sequence[nn.Module]:
        """The stem and every stage."""
        return [self.stem, *self.blocks]

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the last stage's map ``[N, width, h, w]``."""
        x = self.normalise(crops)
        maps = self._maps(x)
        if self.mirrored and not self.training:
            maps = (maps + self._maps(x.flip(3)).flip(3)) / 2
        return maps.mean((2, 3)), maps

    def _maps(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return x


def _make(options: ResidualOptions, weights: Weights) -> ResidualSmall:
    if weights is not None:
        raise unknown_weights("residual-small", weights, {})
    return ResidualSmall(options.widths, options.depths, options.strides, mirrored=options.mirrored)


ARCHITECTURES = (
    Architecture(
        name="residual-small",
        summary="Plain residual network that keeps every pixel of small pictures; trained from scratch",
        options=ResidualOptions,
        make=_make,
        tiny={"widths": (16, 24), "depths": (1, 1), "strides": (1, 2)},
    ),
)
