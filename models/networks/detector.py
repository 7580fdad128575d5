"""The detector: a frozen trunk, a linear score and a small embedding, as one graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.backbone import Backbone


class Detector(nn.Module):
    """uint8 crops to a logit and an embedding.

    Args:
        trunk: The frozen trunk.
        centre: Mean of the trunk's features over the training crops, ``[width]``.
        scale: Their standard deviation, ``[width]``.
        clip: Standardised features are clipped at ± this.
        weight: The head, ``[width]``.
        bias: The head's constant.
        projection: Principal directions of the standardised features, ``[width, D]``.
    """

    def __init__(
        self,
        trunk: Backbone,
        *,
        centre: Tensor,
        scale: Tensor,
        clip: float,
        weight: Tensor,
        bias: float,
        projection: Tensor,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.clip = clip
        self.register_buffer("centre", centre.float())
        self.register_buffer("scale", scale.float())
        self.register_buffer("weight", weight.float().view(-1, 1))
        self.register_buffer("bias", torch.tensor(float(bias)))
        self.register_buffer("projection", projection.half().float())

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 ``[N, S, S, 3]`` to logit ``[N]`` and embedding ``[N, D]``."""
        features = ((self.trunk(crops) - self.centre) / self.scale).clamp(-self.clip, self.clip)
        return (features @ self.weight).flatten() + self.bias, features @ self.projection
