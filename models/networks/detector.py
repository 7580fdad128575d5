"""The detector: a backbone, a linear score and a small embedding, as one graph.

Behind the pooled features everything is linear and under fixed names, so that a bundle's head can learn without the
network (`models.adaptation`): the initialisers ``weight``, ``bias`` and ``projection``, and the output ``features``,
which serving does not ask for and which therefore costs it nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Detector(nn.Module):
    """uint8 crops to a logit, an embedding and the features that both are read from.

    Args:
        backbone: uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``. Where it also has ``maps`` with ``width`` channels,
            the head scores each place of the map as well.
        centre: Mean of the backbone's features over the training crops, ``[width]``.
        scale: Their standard deviation, ``[width]``.
        clip: Standardised features are clipped at ± this.
        weight: The head, ``[width]``.
        bias: The head's constant.
        projection: Directions of the embedding in the standardised features, ``[width, D]``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        centre: Tensor,
        scale: Tensor,
        clip: float,
        weight: Tensor,
        bias: float,
        projection: Tensor,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.clip = clip
        self.register_buffer("centre", centre.float())
        self.register_buffer("scale", scale.float())
        self.register_buffer("weight", weight.float().view(-1, 1))
        self.register_buffer("bias", torch.tensor(float(bias)))
        self.register_buffer("projection", projection.half().float())

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns, in order."""
        return ["logit", "embedding", *(["patches"] if self._mapped else []), "features"]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Scores crops.

        Args:
            crops: uint8 ``[N, S, S, 3]``.

        Returns:
            Logit ``[N]``, embedding ``[N, D]``, where there is a map the logit of each of its places ``[N, h, w]``, and
            the standardised, clipped features ``[N, width]``.
        """
        features = self._standardised(self.backbone(crops))
        logit = (features @ self.weight).flatten() + self.bias
        found = (logit, features @ self.projection)
        if not self._mapped:
            return (*found, features)
        places = self._standardised(self.backbone.maps(crops).movedim(1, -1))
        return (*found, (places @ self.weight).squeeze(-1) + self.bias, features)

    @property
    def _mapped(self) -> bool:
        return hasattr(self.backbone, "maps")

    def _standardised(self, features: Tensor) -> Tensor:
        return ((features - self.centre) / self.scale).clamp(-self.clip, self.clip)
