"""The networks behind the learned decoder families: one encoder, four ways of drawing pixels from its code."""

from __future__ import annotations

from torch import Tensor, nn

_CODE = 24
_WIDE, _NARROW = 24, 16
_PATCH = 4
_SLOPE = 0.2


class Autoencoder(nn.Module):
    """Every patch of 4×4 pixels becomes 24 numbers, half of what it was, and one of four decoders draws it again.

    The encoder is linear, so it learns in a minute. Takes and returns float32 ``[N, H, W, 3]`` within 0..255, sides
    multiples of four; what it returns may lie a little outside.

    Args:
        family: One of `models.reconstruction.learned.LEARNED`; says how the decoder doubles the side, twice.
    """

    def __init__(self, family: str) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, _CODE, _PATCH, _PATCH)
        self.decoder = nn.Sequential(
            nn.Conv2d(_CODE, _WIDE, 3, 1, 1), nn.LeakyReLU(_SLOPE), *_doubling(family, _WIDE, _NARROW),
            nn.LeakyReLU(_SLOPE), *_doubling(family, _NARROW, 3),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Reconstruct a batch."""
        scaled = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        decoded: Tensor = self.decoder(self.encoder(scaled))
        return (decoded + 1).permute(0, 2, 3, 1) * 127.5


class Critic(nn.Module):
    """Tells patches of photographs from decoded ones (a patch GAN's discriminator: P. Isola et al., CVPR 2017).

    Takes float32 ``[N, H, W, 3]`` within 0..255 and returns one score for every patch, above 0 for a photograph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, _NARROW, 4, 2, 1), nn.LeakyReLU(_SLOPE), nn.Conv2d(_NARROW, _WIDE, 4, 2, 1),
            nn.LeakyReLU(_SLOPE), nn.Conv2d(_WIDE, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """Score a batch."""
        scores: Tensor = self.layers(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
        return scores


def _doubling(family: str, inputs: int, outputs: int) -> list[nn.Module]:
    if family == "conv-transposed":
        return [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    if family == "conv-shuffle":
        return [nn.Conv2d(inputs, outputs * 4, 3, 1, 1), nn.PixelShuffle(2)]
    if family == "conv-nearest":
        return [nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(inputs, outputs, 3, 1, 1)]
    return [nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False), nn.Conv2d(inputs, outputs, 3, 1, 1)]
