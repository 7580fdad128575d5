"""Learning rates and momentum as functions of the step, and the phases in which the trunk is frozen or not.

One cycle (L. Smith and N. Topin, "Super-convergence", arXiv 1708.07120) with cosines: the rate climbs from 1/25 of its
peak and ends at 1/25,000, while momentum does the opposite.
"""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from models.recipes.fields import Finetune

_START, _END = 1 / 25, 1 / 25_000
_HIGH, _LOW, _SECOND = 0.95, 0.85, 0.99


def one_cycle(step: int, total: int, warm_up: float) -> tuple[float, float]:
    """Share of the peak rate, and momentum, at a step of ``total``; the first ``warm_up`` of them climb."""
    top = max(warm_up * total - 1, 0)
    if step < top:
        return _cosine(_START, 1.0, step / top), _cosine(_HIGH, _LOW, step / top)
    done = min((step - top) / max(total - 1 - top, 1), 1)
    return _cosine(1.0, _END, done), _cosine(_LOW, _HIGH, done)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def optimiser(trunk: nn.Module, head: nn.Module, recipe: Finetune) -> AdamW:
    """AdamW over trunk and head; what has one dimension (norms and biases) does not decay."""
    groups = []
    for part, peak in ((trunk, recipe.trunk_rate or recipe.rate), (head, recipe.rate)):
        parameters = list(part.parameters())
        for decay, chosen in (
            (recipe.weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
            (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
        ):
            groups.append({"params": chosen, "weight_decay": decay, "peak": peak, "trunk": part is trunk})
    return AdamW(groups, lr=recipe.rate, betas=(_HIGH, _SECOND))


def set_rates(optimiser: AdamW, step: int, total: int, recipe: Finetune) -> None:
    """Sets every group's rate and momentum for a step. The trunk's cycle starts when it thaws."""
    thawed = thaws_at(total, recipe)
    for group in optimiser.param_groups:
        late = thawed if group["trunk"] else 0
        share, momentum = one_cycle(max(step - late, 0), max(total - late, 1), recipe.warm_up)
        group["lr"], group["betas"] = group["peak"] * share, (momentum, _SECOND)


def thaws_at(total: int, recipe: Finetune) -> int:
    """The first step at which the trunk trains."""
    return round(total * recipe.frozen)
