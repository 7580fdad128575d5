"""The model card: what was measured, in words a person can act on."""

from __future__ import annotations

from models.calibration import Calibration
from models.manifest import Manifest
from models.recipes import Frozen

_HEAD = """# {name} {version}

**Useful on what it learned, weak elsewhere.** It abstains (`uncertain`) widely, and it is meant to be trained again on
labels from the platform it serves.

## What it is

EfficientNet-Lite0 with ImageNet weights (Apache-2.0, see NOTICE), frozen, its first {blocks} blocks: mean and standard
deviation of every block's output, standardised, clipped, then logistic regression. It reads {crops} crop(s) of
{crop} x {crop} pixels at native resolution and nothing else: no metadata, no file size. The embedding is the first
{dimensions} principal directions of the same features. Weights are stored as float16 and computed in float32.

Made by `{command}`.

## What it learned from

{sources}

Simulated scenes are rendered pictures passed through a simulated camera (`real/simulated-camera`) or a decoder
(`fake/…`). They are no photographs and no generator's pictures; figures on them say that the pipeline works.

## How it was measured

{split}

Thresholds: called `ai_generated` above p = {above:.3f} (false positives {fpr:.3f} of {reals} authentic calibration
pictures), `authentic` below p = {below:.3f} (false negatives {fnr:.3f} of {fakes}), `uncertain` between. The rates
hold for pictures like those together, not for each source; `veristream models evaluate` tells what they are on others.

Tiers: clean; web (long side at most 768, JPEG q60); hard (reduced to .6, long side at most 512, JPEG q40). Every figure
gives every source of a class the same weight; the AUC's 95 % interval draws pictures again within sources, so it does
not cover the choice of sources.
"""

_TABLE = """
| tier | slice | AUC (95 %) | balanced accuracy | false positives | false negatives | uncertain | ECE | pictures |
|---|---|---|---|---|---|---|---|---|
"""

_FAMILIES = """
## Scenes kept apart, family by family, with the shipped head

Families that are not in the list above were never trained on. Shares of each source's pictures.

| tier | source | p ≥ .5 | called ai_generated | called authentic | pictures |
|---|---|---|---|---|---|
"""

_END = """
## Not for

Accusing anybody; art, screenshots and drawings, of which it has seen none as real; pictures reduced or compressed
beyond the tiers above.
"""


def write(manifest: Manifest, calibration: Calibration, recipe: Frozen, command: str) -> str:
    """The card as Markdown; ``command`` makes the bundle again."""
    above, below = calibration.thresholds.ai_above, calibration.thresholds.authentic_below
    text = _HEAD.format(
        name=manifest.name, version=manifest.version, command=command,
        blocks=recipe.blocks, crops=recipe.crops, crop=recipe.crop,
        dimensions=recipe.dimensions, split=manifest.training_data.split,
        sources="\n".join(f"* `{s.name}`: {s.pictures} ({s.label})" for s in manifest.training_data.sources),
        above=above.value, fpr=above.rate, reals=above.pictures,
        below=below.value, fnr=below.rate, fakes=below.pictures,
    )  # fmt: skip
    text += _TABLE
    families = ""
    for tier, slices in manifest.metrics.items():
        for name, m in slices.items():
            if "auc" in m:
                text += (
                    f"| {tier} | {name} | {m['auc']:.3f} ({m['auc_low']:.3f}–{m['auc_high']:.3f}) "
                    f"| {m['balanced_accuracy']:.3f} | {m['fpr']:.3f} | {m['fnr']:.3f} | {m['abstention']:.3f} "
                    f"| {m['ece']:.3f} | {m['pictures']:.0f} |\n"
                )
            else:
                families += (
                    f"| {tier} | {name.partition(':')[2]} | {m['above_even_odds']:.2f} | {m['ai_generated']:.2f} "
                    f"| {m['authentic']:.2f} | {m['pictures']:.0f} |\n"
                )
    return text + (_FAMILIES + families if families else "") + _END
