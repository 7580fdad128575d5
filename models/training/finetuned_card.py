"""The model card of a network that was trained whole."""

from __future__ import annotations

from models.calibration import Calibration
from models.manifest import Manifest
from models.recipes import Finetune
from models.training.state import State

_CARD = """# {name} {version}

## What it is

The network `{architecture}`{options}, {start}, trained by gradient descent ({length}, batches of {batch}, seed {seed}).
It reads {crops} crop(s) of {crop} x {crop} pixels at native resolution and nothing else: no metadata, no file size. The
score is linear in the network's pooled features; the embedding is their first {dimensions} principal directions.
The network computes in {served}, all behind it in float32.

{made}

## What it learned from

{sources}

## How it was measured

{split} The best validation came after step {best_step}, with an AUC of {best:.4f} in the worst tier ({tiers}).

Thresholds: called `ai_generated` above p = {above:.3f} (false positives {fpr:.3f} of {reals} authentic calibration
pictures), `authentic` below p = {below:.3f} (false negatives {fnr:.3f} of {fakes}), `uncertain` between. The rates
hold for pictures like those together, not for each source; `veristream models evaluate` tells what they are on others.

| tier | pictures of | AUC (95 %) | balanced accuracy | false positives | false negatives | uncertain | ECE | pictures |
|---|---|---|---|---|---|---|---|---|
{figures}

Balanced accuracy is taken at p = .5, without `uncertain`. Every source of a class has the same weight.

## Not for

Accusing anybody; pictures unlike those above, of sources or generators that it has not seen: it was measured on what
it learned from.
"""

_STARTS = {"none": "from random weights", "folder": "from weights given as a file or folder"}


def write(manifest: Manifest, calibration: Calibration, recipe: Finetune, state: State, command: str) -> str:
    """The card as Markdown; ``command`` makes the bundle again."""
    above, below = calibration.thresholds.ai_above, calibration.thresholds.authentic_below
    options = ", ".join(f"{name} {value}" for name, value in recipe.options.items())
    rows = [
        f"| {tier} | {name} | {m['auc']:.4f} ({m['auc_low']:.4f}–{m['auc_high']:.4f}) | {m['balanced_accuracy']:.4f} "
        f"| {m['fpr']:.4f} | {m['fnr']:.4f} | {m['abstained']:.4f} | {m['ece']:.4f} | {m['pictures']:.0f} |"
        for tier, slices in manifest.metrics.items()
        for name, m in slices.items()
    ]
    sources = [f"* `{s.name}`: {s.pictures} ({s.label}, {s.used_for})" for s in manifest.training_data.sources]
    return _CARD.format(
        name=manifest.name, version=manifest.version, architecture=recipe.architecture, served=recipe.served,
        options=f" ({options})" if options else "", made=recipe.made_by(command),
        start=_start(manifest, recipe),
        length=f"{recipe.epochs} epochs" if recipe.epochs else f"{recipe.steps} steps",
        batch=recipe.batch, seed=recipe.seed, crops=recipe.crops, crop=recipe.crop, dimensions=recipe.dimensions,
        sources="\n".join(sources),
        split=manifest.training_data.split, best_step=state.best_step, best=state.best, tiers=", ".join(recipe.tiers),
        above=above.value, fpr=above.rate, reals=above.pictures,
        below=below.value, fnr=below.rate, fakes=below.pictures, figures="\n".join(rows),
    )  # fmt: skip


def _start(manifest: Manifest, recipe: Finetune) -> str:
    if manifest.start is not None:
        return f"from the weights of the bundle `{manifest.start}`"
    return _STARTS.get(recipe.weights, f"from weights published as `{recipe.weights}`")
