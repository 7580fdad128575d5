"""One network looking twice: closely at the middle of a crop, and at the whole of it from further off.

The middle is read at native resolution, where traces of making are; the whole is averaged over 2×2 pixels first, which
shows twice as much of the picture for the same work. Both looks share their weights, so the file is no larger. What a
network that learned to name things averages away, the noise of the crop, is measured beside it if asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from models.networks import efficientnet_lite
from models.networks.architecture import Architecture, Options, Weights
from models.networks.backbone import Part, SpatialBackbone
from models.networks.texture import Texture

_FAR = 2
_SEEN = 0.25
"""Say of what the network sees, of which most is content. With a quarter, embeddings of new generators lie nearly as
far from photographs as with an equal say, and those that only change the noise two to four times as far in squares."""


class TwoScalesOptions(Options):
    """How much of the network is used, and how much of a crop is looked at closely."""

    blocks: Annotated[int | None, Field(ge=1, description="The first so many blocks; all if not given")] = None
    taps: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        Field(min_length=1, description="Read after these blocks, 0 being the stem; after each if not given"),
    ] = None
    near: Annotated[int, Field(ge=32, le=1024, description="Side of the middle that is read closely, pixels")] = 128
    texture: Annotated[bool, Field(description="Measure the noise of the crop as well")] = False


class TwoScales(SpatialBackbone):
    """Features of the middle at native resolution, then of the whole crop at half of it, then the whole's texture.

    Args:
        net: Reads both.
        near: Side of the middle, pixels; a smaller crop is read whole.
        texture: Measures the whole crop; None to do without.
    """

    def __init__(self, net: SpatialBackbone, near: int, texture: Texture | None = None) -> None:
        super().__init__()
        self.net, self.near, self.texture = net, near, texture
        self.width = 2 * net.width + (texture.width if texture is not None else 0)
        self.channels = net.channels
        self.mapped = slice(net.width + net.mapped.start, net.width + net.mapped.stop)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the network sees, and the texture of two kinds, which has more say: it varies less with the content."""
        if self.texture is None:
            return (Part(self.width),)
        return (Part(2 * self.net.width, _SEEN), *(Part(width) for width in self.texture.widths))

    def stages(self) -> Sequence[nn.Module]:
        """Those of the network."""
        return self.net.stages()

    def spatial(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` and the map of the whole crop ``[N, channels, h, w]``."""
        side = crops.shape[1]
        start = max(0, side - self.near) // 2
        middle = crops[:, start : start + self.near, start : start + self.near]
        close = self.net(middle)
        pixels = crops.permute(0, 3, 1, 2).float()
        whole, places = self.net.spatial(nn.functional.avg_pool2d(pixels, _FAR).permute(0, 2, 3, 1))
        seen = [close, whole]
        if self.texture is not None:
            seen.append(self.texture(pixels))
        return torch.cat(seen, 1), places


def _make(version: int, options: TwoScalesOptions, weights: Weights) -> TwoScales:
    lite = efficientnet_lite.ARCHITECTURES[version]
    net = lite.make(lite.options.model_validate({"blocks": options.blocks, "taps": options.taps}), weights)
    assert isinstance(net, SpatialBackbone)  # noqa: S101 - narrows the type
    return TwoScales(net, options.near, Texture() if options.texture else None)


ARCHITECTURES = (
    Architecture(
        name="efficientnet_lite0_two_scales",
        summary="EfficientNet-Lite0 on the middle of a crop and on the whole of it at half the size",
        options=TwoScalesOptions,
        make=partial(_make, 0),
        tiny={"blocks": 3, "near": 32},
        published=efficientnet_lite.ARCHITECTURES[0].published,
    ),
)
