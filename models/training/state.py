"""Everything of a run that changes from step to step, and its way to a checkpoint and back.

Learning rates, the order of pictures and every random draw are functions of the seed and the step, so the step stands
for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from models.training.checkpoints import Arrays
from models.training.scoring import Average, Scoring
from stream.errors import ConfigurationError

_ADAM = ("exp_avg", "exp_avg_sq")


@dataclass(slots=True)
class State:
    """A run between two steps.

    Attributes:
        net: The network that is trained.
        average: Its running average.
        optimiser: Of the network's parameters.
        scaler: Of float16 gradients; without effect in other precisions.
        step: How many steps are done.
        best: Figure of the best validation; below any figure before the first.
        best_step: After which step that was.
        waited: Validations since.
        chosen: The average at that step.
        history: Every validation: step and figure of each tier.
        ended: Whether it stopped early.
    """

    net: Scoring
    average: Average
    optimiser: AdamW
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = -1.0
    best_step: int = 0
    waited: int = 0
    chosen: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    ended: bool = False

    def choose(self) -> None:
        """Keeps the average as it is now."""
        self.chosen = {name: value.detach().clone() for name, value in self.average.net.state_dict().items()}

    def arrays(self) -> Arrays:
        """All tensors, by name."""
        parts = {"net": self.net.state_dict(), "average": self.average.net.state_dict(), "chosen": self.chosen}
        found = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        for name, parameter in self.net.named_parameters():
            moments = self.optimiser.state.get(parameter, {})
            found |= {f"optimiser/{name}/{key}": value for key, value in moments.items()}
        return {name: value.detach().cpu().numpy() for name, value in found.items()}

    def facts(self) -> dict[str, Any]:
        """All numbers, by name."""
        return {
            "step": self.step, "best": self.best, "best_step": self.best_step, "waited": self.waited,
            "history": self.history, "ended": self.ended, "scaler": self.scaler.state_dict(),
        }  # fmt: skip

    @torch.no_grad()
    def restore(self, arrays: Arrays, facts: dict[str, Any]) -> None:
        """Becomes what `arrays` and `facts` were taken from.

        Raises:
            ConfigurationError: They are of another network.
        """
        tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        try:
            self.net.load_state_dict(part("net/"))
            self.average.net.load_state_dict(part("average/"))
        except RuntimeError as error:
            raise ConfigurationError("the checkpoint is of another network", remedy="Start again.") from error
        self.choose()
        for name, value in part("chosen/").items():
            self.chosen[name].copy_(value)
        if not part("chosen/"):
            self.chosen = {}
        for name, parameter in self.net.named_parameters():
            stored = part(f"optimiser/{name}/")
            if stored:
                kept = {key: torch.empty_like(parameter).copy_(stored[key]) for key in _ADAM}
                self.optimiser.state[parameter] = {"step": stored["step"].clone(), **kept}
        self.step, self.ended = facts["step"], facts["ended"]
        self.best, self.best_step, self.waited = facts["best"], facts["best_step"], facts["waited"]
        self.history = list(facts["history"])
        self.scaler.load_state_dict(facts["scaler"])
