"""Convolutional networks that transformers holds: ResNet-50, EfficientNet-B0 and RegNet-Y.

K. He et al., arXiv 1512.03385; M. Tan and Q. Le, arXiv 1905.11946; I. Radosavovic et al., arXiv 2003.13678. Their own
classifiers are left out; features are read from the last map, or from every one on the way, where the small traces are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from models.networks import hub
from models.networks.architecture import Architecture, Options, Weights
from models.networks.backbone import SpatialBackbone, moments

_PROBED = 64
_HALF = 0.5
_TORCH_MOMENTUM = 0.01

_Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=8)]


class ConvOptions(Options):
    """Where features are read."""

    read: Annotated[
        Literal["last", "every"],
        Field(description="The means of the last map, or mean and standard deviation of every stage's"),
    ] = "last"


class StagedOptions(ConvOptions):
    """The stages of a ResNet or a RegNet."""

    stem: Annotated[int, Field(ge=1, description="Channels of the stem")]
    widths: Annotated[_Sizes, Field(description="Channels of the stages")]
    depths: Annotated[_Sizes, Field(description="Blocks of each stage")]

    @model_validator(mode="after")
    def _alike(self) -> Self:
        if len(self.widths) != len(self.depths):
            raise ValueError("widths and depths must be equally many")
        return self


class ResNetOptions(StagedOptions):
    """ResNet-50 as published, unless told otherwise."""

    stem: Annotated[int, Field(ge=1, description="Channels of the stem")] = 64
    widths: Annotated[_Sizes, Field(description="Channels of the stages")] = (256, 512, 1024, 2048)
    depths: Annotated[_Sizes, Field(description="Blocks of each stage")] = (3, 4, 6, 3)


class RegNetOptions(StagedOptions):
    """RegNet-Y of 4 billion multiplications as published, unless told otherwise."""

    stem: Annotated[int, Field(ge=1, description="Channels of the stem")] = 32
    widths: Annotated[_Sizes, Field(description="Channels of the stages")] = (128, 192, 512, 1088)
    depths: Annotated[_Sizes, Field(description="Blocks of each stage")] = (2, 6, 12, 2)
    group: Annotated[int, Field(ge=1, description="Channels of a group, which divides every width")] = 64


class EfficientNetOptions(ConvOptions):
    """EfficientNet-B0, scaled."""

    wider: Annotated[float, Field(gt=0, le=8, description="Factor of the channels")] = 1.0
    deeper: Annotated[float, Field(gt=0, le=8, description="Factor of the blocks")] = 1.0


class ConvNet(SpatialBackbone):
    """One of transformers' networks that put out ``[N, C, h, w]``.

    Args:
        net: The network, without a classifier.
        stages: Its parts, from input to output.
        read: See `ConvOptions`.
        normalisation: What it was trained with.
    """

    def __init__(
        self, net: nn.Module, stages: Sequence[nn.Module], read: str, normalisation: hub.Normalisation
    ) -> None:
        super().__init__(normalisation.mean, normalisation.deviation)
        self.net = net
        self._stages = tuple(stages)
        self._every = read == "every"
        was = net.training
        net.eval()
        with torch.inference_mode():
            features, maps = self.spatial(torch.zeros(1, _PROBED, _PROBED, 3, dtype=torch.uint8))
        net.train(was)
        self.width, self.channels = features.shape[1], maps.shape[1]
        first = self.width - 2 * self.channels if self._every else 0
        self.mapped = slice(first, first + self.channels)

    def stages(self) -> Sequence[nn.Module]:
        """The stem and every stage, or every block where there are no stages."""
        return self._stages

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the last map ``[N, channels, h, w]``."""
        out = self.net(self.normalise(crops), output_hidden_states=self._every)
        last = out.last_hidden_state
        if not self._every:
            return last.mean((2, 3)), last
        before = [state for state in out.hidden_states if state is not last]
        return torch.cat([moments(state) for state in [*before, last]], 1), last


@dataclass(frozen=True, slots=True)
class _Family:
    """How transformers makes one of the networks; ``module`` is also what it calls the kind in a config."""

    name: str
    module: str
    model: str
    config: str
    source: str
    told: Callable[[Any], dict[str, Any]]
    stages: Callable[[Any], list[nn.Module]]


def _make(family: _Family, options: ConvOptions, weights: Weights) -> ConvNet:
    model, config = hub.modelling(family.module, family.model, family.config)
    normalisation = hub.Normalisation()
    if weights is None:
        try:
            net = model(config(**family.told(options)))
        except (ValueError, RuntimeError) as error:
            raise hub.impossible(family.name, error) from error
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                # As K. He et al., arXiv 1502.01852; the package's own start lets EfficientNet's signal die out.
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
    else:
        found = hub.folder(family.name, weights, {"imagenet": family.source})
        hub.refuse_shape(family.name, options, {"read"})
        net = hub.load(model, found, {family.module})
        normalisation = hub.normalisation(found, normalisation)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None and module.momentum > _HALF:
            # TensorFlow's momentum, which torch reads as the share of the newest batch.
            module.momentum = _TORCH_MOMENTUM
    return ConvNet(net, family.stages(net), options.read, normalisation)


def _resnet(options: ResNetOptions) -> dict[str, Any]:
    return {
        "embedding_size": options.stem, "hidden_sizes": list(options.widths), "depths": list(options.depths),
        "layer_type": "bottleneck",
    }  # fmt: skip


def _regnet(options: RegNetOptions) -> dict[str, Any]:
    return {
        "embedding_size": options.stem, "hidden_sizes": list(options.widths), "depths": list(options.depths),
        "groups_width": options.group, "layer_type": "y",
    }  # fmt: skip


def _efficientnet(options: EfficientNetOptions) -> dict[str, Any]:
    # The head's convolution has 1,280 channels, scaled and rounded to eights as all the others are.
    hidden = max(8, round(1280 * options.wider / 8) * 8)
    return {"width_coefficient": options.wider, "depth_coefficient": options.deeper, "hidden_dim": hidden}


def _staged(net: Any) -> list[nn.Module]:
    return [net.embedder, *net.encoder.stages]


def _blocked(net: Any) -> list[nn.Module]:
    return [net.embeddings, *net.encoder.blocks, nn.ModuleList([net.encoder.top_conv, net.encoder.top_bn])]


def _architecture(summary: str, options: type[ConvOptions], family: _Family, tiny: dict[str, object]) -> Architecture:
    published = {"imagenet": family.source}
    return Architecture(family.name, summary, options, partial(_make, family), tiny=tiny, published=published)


ARCHITECTURES = (
    _architecture(
        "ResNet-50",
        ResNetOptions,
        _Family(
            "resnet50", "resnet", "ResNetModel", "ResNetConfig", "microsoft/resnet-50", told=_resnet, stages=_staged
        ),
        {"stem": 16, "widths": (16, 32), "depths": (1, 1)},
    ),
    _architecture(
        "EfficientNet-B0: squeeze-and-excite, swish",
        EfficientNetOptions,
        _Family(
            "efficientnet_b0", "efficientnet", "EfficientNetModel", "EfficientNetConfig", "google/efficientnet-b0",
            told=_efficientnet, stages=_blocked,
        ),
        {"wider": 0.1, "deeper": 0.1},
    ),
    _architecture(
        "RegNet-Y, 4 billion multiplications",
        RegNetOptions,
        _Family(
            "regnet_y", "regnet", "RegNetModel", "RegNetConfig", "facebook/regnet-y-040", told=_regnet, stages=_staged
        ),
        {"stem": 16, "widths": (16, 32), "depths": (1, 1), "group": 4},
    ),
)  # fmt: skip
