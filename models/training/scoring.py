"""What is trained: a backbone, its features standardised, a linear score; and its running average."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from models.networks.backbone import Backbone
from models.training.progress import SILENT, Listener

_SMALLEST_DEVIATION = 1e-3
_TOGETHER = 32


class Scoring(nn.Module):
    """uint8 crops ``[N, S, S, 3]`` to logits ``[N]``.

    Args:
        backbone: The trunk.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.width, 1)
        self.register_buffer("centre", torch.zeros(backbone.width))
        self.register_buffer("scale", torch.ones(backbone.width))

    def standardise(self, crops: Tensor, listener: Listener = SILENT) -> None:
        """Fixes centre and scale by what the backbone, as it is now, makes of these crops."""
        self.backbone.eval()
        listener.begin("standardise", len(crops))
        parts = []
        with torch.no_grad():
            for part in torch.split(crops, _TOGETHER):
                parts.append(self.backbone(part).float())
                listener.advance(len(part))
        features = torch.cat(parts)
        self.centre.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp_min(_SMALLEST_DEVIATION))

    def forward(self, crops: Tensor) -> Tensor:
        """Logits ``[N]``, float32."""
        features = (self.backbone(crops).float() - self.centre) / self.scale
        return cast("Tensor", self.head(features)).float().flatten()


class Average:
    """Exponential moving average of a network, weights and running statistics alike.

    It starts fast, by (1 + n) / (10 + n), so that a short run's average has forgotten how it began.

    Args:
        net: The network.
        decay: What of the average stays at a step, at most.
    """

    def __init__(self, net: Scoring, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, net: Scoring, step: int) -> None:
        """Takes in the network after a step."""
        stays = min(self._decay, (1 + step) / (10 + step))
        new, old = net.state_dict(), self.net.state_dict()
        moving = [name for name, value in old.items() if value.is_floating_point()]
        torch._foreach_lerp_([old[name] for name in moving], [new[name] for name in moving], 1 - stays)
        for name in old.keys() - set(moving):
            old[name].copy_(new[name])
