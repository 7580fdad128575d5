"""The loop: batches in, weights out; validated, averaged, checkpointed, stopped when the worst tier no longer gains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.recipes.fields import Finetune
from models.training.batches import Batches, Part
from models.training.checkpoints import Checkpoints
from models.training.progress import Listener
from models.training.ranks import Ranks
from models.training.schedule import set_rates, thaws_at
from models.training.scoring import Scoring
from models.training.state import State
from stream.errors import ConfigurationError, ModelError

Validate = Callable[[Scoring], dict[str, float]]
"""A network to one figure of each tier, higher is better."""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network computes in a recipe's precision.

    Raises:
        ConfigurationError: float16 on a CPU, which knows no fast way to compute in it.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ConfigurationError("fp16 trains on a GPU only", where="precision", remedy="Use bf16 or fp32.")
    return torch.autocast(device.type, _TYPES.get(precision, torch.bfloat16), enabled=precision in _TYPES)


def train(
    state: State,
    batches: Batches,
    recipe: Finetune,
    validate: Validate,
    *,
    ranks: Ranks,
    checkpoints: Checkpoints,
    listener: Listener,
    threads: int = 1,
) -> None:
    """Trains from where ``state`` stands to the recipe's end, or to where patience runs out.

    Raises:
        ModelError: The loss, or a figure of the validation, is no longer a number.
    """
    total = batches.total
    count = recipe.validations or recipe.epochs or 10
    validated = {round(total * (number + 1) / count) for number in range(count)}
    thawed = thaws_at(total, recipe)
    listener.begin("train", total, state.step)
    net = _phase(state.net, recipe, ranks, whole=state.step >= thawed)
    for parts in batches.following(state.step, threads):
        if state.ended:
            break
        if state.step == thawed and 0 < thawed < total:
            net = _phase(state.net, recipe, ranks, whole=True)
        set_rates(state.optimiser, state.step, total, recipe)
        loss = _step(state, net, parts, recipe, ranks)
        state.average.update(state.net, state.step)
        state.step += 1
        listener.advance(note=f"loss {loss:.3f}")
        if state.step in validated:
            _validate(state, recipe, validate, ranks, listener)
        if state.step % checkpoints.every == 0 or state.step in validated:
            if ranks.first:
                checkpoints.write(state.arrays(), state.facts())
            checkpoints.told(checkpoints.path, state.step)


def _phase(net: Scoring, recipe: Finetune, ranks: Ranks, *, whole: bool) -> nn.Module:
    """The network set for a phase: the head alone, or as much of the trunk as the recipe thaws."""
    net.train()
    if whole and recipe.frozen < 1:
        net.backbone.thaw(recipe.thaw)
        if recipe.batch_norm == "frozen":
            net.backbone.freeze_norms()
    else:
        net.backbone.freeze()
    return ranks.wrapped(net)


def _step(state: State, net: nn.Module, parts: list[Part], recipe: Finetune, ranks: Ranks) -> float:
    """One step of the optimiser; returns this process's loss."""
    # Whatever a network draws (dropout, say) follows from seed, step and process, as a resumed run needs it to.
    torch.manual_seed(int(np.random.SeedSequence([recipe.seed, state.step, ranks.rank]).generate_state(1)[0]))
    state.optimiser.zero_grad()
    pictures = sum(len(part.labels) for part in parts)
    total = 0.0
    for number, part in enumerate(parts, 1):
        together = number == len(parts) or not hasattr(net, "no_sync")
        with nullcontext() if together else net.no_sync():  # type: ignore[operator]
            with autocast(recipe.precision, ranks.device):
                logits = net(torch.from_numpy(part.crops).to(ranks.device))
            loss = _loss(logits, part, recipe.label_smoothing) / pictures
            torch.autograd.backward(state.scaler.scale(loss))
        total += float(loss.detach())
    if not np.isfinite(total):
        raise ModelError(
            f"the loss is no longer a number at step {state.step + 1}",
            remedy="Lower the recipe's rate, or its trunk_rate; the last checkpoint is from before.",
        )
    state.scaler.unscale_(state.optimiser)
    nn.utils.clip_grad_norm_(state.net.parameters(), recipe.gradient_clip)
    state.scaler.step(state.optimiser)
    state.scaler.update()
    ranks.mean([value for name, value in state.net.named_buffers() if name.endswith(("running_mean", "running_var"))])
    return total


def _loss(logits: Tensor, part: Part, smoothing: float) -> Tensor:
    labels = torch.from_numpy(part.labels).to(logits.device) * (1 - 2 * smoothing) + smoothing
    weights = torch.from_numpy(part.weights).to(logits.device)
    return functional.binary_cross_entropy_with_logits(logits.float(), labels, weights, reduction="sum")


def _validate(state: State, recipe: Finetune, validate: Validate, ranks: Ranks, listener: Listener) -> None:
    """Measures the average on the first process, and tells all of them what follows."""
    if ranks.first:
        figures = validate(state.average.net)
        worst = min(figures.values())
        listener.say(
            f"step {state.step}: " + "  ".join(f"{tier} {value:.4f}" for tier, value in figures.items())
        )  # fmt: skip
        state.history.append({"step": state.step, **figures})
        if not np.isfinite(worst):
            raise ModelError("a figure of the validation is no number", where=f"step {state.step}")
        state.waited += 1
        if worst > state.best:
            state.best, state.best_step, state.waited = worst, state.step, 0
            state.choose()
        state.ended = recipe.patience is not None and state.waited >= recipe.patience
    state.ended = bool(ranks.told(float(state.ended)))
