"""VGG-16 (K. Simonyan and A. Zisserman, arXiv 1409.1556, configuration D), without its three last layers.

transformers does not hold it. The layers are numbered as the published weights number them; the last pooling is left
out, so that small crops keep a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from models.networks import hub
from models.networks import weights as files
from models.networks.architecture import Architecture, Options, Weights
from models.networks.backbone import SpatialBackbone
from stream.errors import ConfigurationError

_PUBLISHED = {"imagenet": "timm/vgg16.tv_in1k"}
_HEADS = ("classifier.", "pre_logits.", "head.")

_Sizes = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)]


class VggOptions(Options):
    """VGG-16 as published, unless told otherwise."""

    widths: Annotated[_Sizes, Field(description="Channels of the stages")] = (64, 128, 256, 512, 512)
    depths: Annotated[_Sizes, Field(description="Convolutions of each stage")] = (2, 2, 3, 3, 3)

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if len(self.widths) != len(self.depths):
            raise ValueError("widths and depths must be equally many")
        return self


class Vgg(SpatialBackbone):
    """The network; its features are the means of the last map's channels.

    Args:
        widths: Channels of the stages, between which the sides are halved.
        depths: Convolutions of each stage.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        self._starts = []
        for outputs, depth in zip(widths, depths, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
            self._starts.append(len(layers))
            for _ in range(depth):
                layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
                channels = outputs
        self.features = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        self.width = self.channels = channels
        self.mapped = slice(0, channels)

    def stages(self) -> Sequence[nn.Module]:
        """The parts between two poolings."""
        ends = [*self._starts[1:], len(self.features)]
        return [self.features[start:end] for start, end in zip(self._starts, ends, strict=True)]

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the last map ``[N, width, h, w]``."""
        maps = self.features(self.normalise(crops))
        return maps.mean((2, 3)), maps


def _make(options: VggOptions, weights: Weights) -> Vgg:
    net = Vgg(options.widths, options.depths)
    if weights is not None:
        found = hub.folder("vgg16", weights, _PUBLISHED)
        stored = sorted(found.glob("*.safetensors"))
        if len(stored) > 1:
            raise ConfigurationError("The folder holds more than one file of weights", where=str(found))
        files.load(net, stored[0], _HEADS)
    return net


ARCHITECTURES = (
    Architecture(
        name="vgg16",
        summary="VGG-16: large, slow, and a yardstick of older work",
        options=VggOptions,
        make=_make,
        tiny={"widths": (4, 8), "depths": (1, 2)},
        published=_PUBLISHED,
        ignored=_HEADS,
    ),
)
