"""The detector: a backbone, a linear score and a small embedding, as one graph.

Behind the pooled features everything is linear and under fixed names, so that a bundle's head can learn without the
network (`models.adaptation`): the initialisers ``weight``, ``bias`` and ``projection``, and the output ``features``,
which serving does not ask for and which therefore costs it nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.networks.backbone import Backbone, SpatialBackbone


class Detector(nn.Module):
    """uint8 crops to a logit, an embedding and the features that both are read from.

    Args:
        backbone: uint8 ``[N, S, S, 3]`` to float32 ``[N, width]``. Where it is `by_place` the head scores each place
            of its map as well. An identity leaves the network out: what is given then are its features.
        centre: Mean of the backbone's features over the training crops, ``[width]``.
        scale: Their standard deviation, ``[width]``.
        clip: Standardised features are clipped at ± this.
        weight: The head, ``[width]``.
        bias: The head's constant.
        projection: Directions of the embedding in the standardised features, ``[width, D]``.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    projection: Tensor

    def __init__(
        self,
        backbone: Backbone | nn.Identity,
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
        return ["logit", "embedding", *(["patches"] if self._by_place else []), "features"]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Scores crops.

        Args:
            crops: uint8 ``[N, S, S, 3]``; with an identity for a backbone, float32 ``[N, width]``.

        Returns:
            Logit ``[N]``, embedding ``[N, D]``, where the backbone is `by_place` the logit of each place ``[N, h, w]``
            (their mean is the crop's), and the standardised, clipped features ``[N, width]``.
        """
        pooled, places = self._spatial(crops)
        features = ((pooled - self.centre) / self.scale).clamp(-self.clip, self.clip)
        logit = (features @ self.weight).flatten() + self.bias
        found = (logit, features @ self.projection)
        if places is None:
            return (*found, features)
        return (*found, logit.view(-1, 1, 1) + self._deviating(places), features)

    @property
    def _by_place(self) -> bool:
        return isinstance(self.backbone, SpatialBackbone) and self.backbone.by_place

    def _spatial(self, crops: Tensor) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.backbone, SpatialBackbone) and self._by_place:
            return self.backbone.spatial(crops)
        return self.backbone(crops), None

    def _deviating(self, places: Tensor) -> Tensor:
        """What each place ``[N, h, w]`` adds to the logit by differing from the map's mean."""
        assert isinstance(self.backbone, SpatialBackbone)  # noqa: S101 - narrows the type
        mapped = self.backbone.mapped
        slope = (self.weight[mapped].flatten() / self.scale[mapped]).view(1, -1, 1, 1)
        return ((places - places.mean((2, 3), keepdim=True)) * slope).sum(1)
