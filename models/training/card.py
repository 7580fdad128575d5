"""The model card: what was measured, in words a person can act on."""

from __future__ import annotations

from collections import Counter

from models.calibration import Calibration
from models.manifest import Manifest
from models.recipes import Frozen

_HEAD = """# {name} {version}

**Useful on what it learned, weak elsewhere.** It abstains (`uncertain`) widely, and it is meant to be trained again on
labels from the platform it serves.

## What it is

`{architecture}` {options} with weights `{weights}` (see NOTICE), frozen. Its features, for EfficientNet-Lite mean and
standard deviation of blocks' outputs, are standardised, clipped and weighed by regularised least squares. It reads
{crops} crop(s) of {crop} x {crop} pixels at native resolution and nothing else: no metadata, no file size. The
embedding is the first {dimensions} principal directions of the same features, every kind of them scaled to the same
variance in sum. The network computes in {served}, all behind it in float32.

{made}

## What it learned from

{sources}

Simulated scenes are rendered pictures passed through a simulated camera (`real/simulated-camera`) or a decoder
(`fake/…`). They are no photographs and no generator's pictures; figures on them say that the pipeline works.

## How it was measured

{split}

Thresholds: called `ai_generated` above p = {above:.3f} (false positives {fpr:.3f} of {reals} authentic calibration
pictures, all tiers together), `authentic` below p = {below:.3f} (false negatives {fnr:.3f} of {fakes}), `uncertain`
between. The upper one is set where no source of authentic pictures, left out of training, loses more than 5 % (clean)
or 10 % (web, hard) to `ai_generated`; the table of sources says how many that leaves undecided.

Tiers: clean; web (long side at most 768, JPEG q60); hard (reduced to .6, long side at most 512, JPEG q40). Every figure
gives every source of a class the same weight; the AUC's 95 % interval draws pictures again within sources, so it does
not cover the choice of sources.

{rotation}"""

_ROTATION = """### Generators left out in turn

Each of {generators:.0f} generators was left out of training in turn, together with two sources of authentic pictures,
and ranked against these. Mean AUC, its 95 % interval over generators, the same of eleven pixel statistics with boosted
trees in the same folds, and the control: how well the score tells the two authentic sources apart (.5 is not at all).

| tier | AUC (95 %) | worst generator | eleven statistics | real against real |
|---|---|---|---|---|
{rows}"""

_TABLE = """
| tier | slice | AUC (95 %) | balanced accuracy | false positives | false negatives | uncertain | ECE | pictures |
|---|---|---|---|---|---|---|---|---|
"""

_CROPS = """
### More of a picture

Scores of several crops averaged, on scenes kept apart that are larger than a crop, delivered {tier}; what that costs on
one thread of the machine that trained, in batches of eight, decoding apart. Scenes say little of photographs; where
training pictures are no larger than one crop, no more can be said.

| crops | AUC | CPU | pictures |
|---|---|---|---|
{rows}"""

_FAMILIES = """
## Source by source

`left-out`: a source of authentic pictures, by heads that did not see it. `test-scenes`: scenes kept apart, with the
shipped head; families that are not in the list above were never trained on. Shares of each source's pictures.

| tier | source | p ≥ .5 | called ai_generated | called authentic | pictures |
|---|---|---|---|---|---|
"""

_END = """
## Not for

Accusing anybody; pictures reduced or compressed beyond the tiers above; kinds of human-made art that are not in the
list above.
"""


def write(manifest: Manifest, calibration: Calibration, recipe: Frozen, command: str) -> str:
    """The card as Markdown; ``command`` makes the bundle again."""
    above, below = calibration.thresholds.ai_above, calibration.thresholds.authentic_below
    text = _HEAD.format(
        name=manifest.name, version=manifest.version, made=recipe.made_by(command), served=recipe.served,
        architecture=recipe.architecture, options=dict(recipe.options), weights=recipe.weights,
        crops=recipe.crops, crop=recipe.crop, rotation=_rotation(manifest),
        dimensions=recipe.dimensions, split=manifest.training_data.split,
        sources=_sources(manifest),
        above=above.value, fpr=above.rate, reals=above.pictures,
        below=below.value, fnr=below.rate, fakes=below.pictures,
    )  # fmt: skip
    text += _TABLE
    families = ""
    for tier, slices in manifest.metrics.items():
        for name, m in slices.items():
            if name.startswith(("rotation", "crops:")):
                continue
            if "auc" in m:
                text += (
                    f"| {tier} | {name} | {m['auc']:.3f} ({m['auc_low']:.3f}–{m['auc_high']:.3f}) "
                    f"| {m['balanced_accuracy']:.3f} | {m['fpr']:.3f} | {m['fnr']:.3f} | {m['abstained']:.3f} "
                    f"| {m['ece']:.3f} | {m['pictures']:.0f} |\n"
                )
            else:
                families += (
                    f"| {tier} | {name} | {m['above_even_odds']:.2f} | {m['ai_generated']:.2f} "
                    f"| {m['authentic']:.2f} | {m['pictures']:.0f} |\n"
                )
    return text + _crops(manifest) + (_FAMILIES + families if families else "") + _END


def _sources(manifest: Manifest) -> str:
    """One line a source, whichever archives its pictures came in."""
    pictures: Counter[tuple[str, str]] = Counter()
    for source in manifest.training_data.sources:
        pictures[source.name, source.label] += source.pictures
    return "\n".join(f"* `{name}`: {count} ({label})" for (name, label), count in pictures.items())


def _crops(manifest: Manifest) -> str:
    for tier, slices in manifest.metrics.items():
        rows = "".join(
            f"| {name.removeprefix('crops:')} | {m['auc']:.3f} | {m['cpu_ms']:.1f} ms | {m['pictures']:.0f} |\n"
            for name, m in slices.items()
            if name.startswith("crops:")
        )
        if rows:
            return _CROPS.format(tier=tier, rows=rows)
    return ""


def _rotation(manifest: Manifest) -> str:
    rows = ""
    if not any("rotation" in slices for slices in manifest.metrics.values()):
        return ""
    for tier, slices in manifest.metrics.items():
        found, baseline = slices["rotation"], slices["rotation-11-statistics"]
        control = f"{found['real_vs_real']:.3f}" if "real_vs_real" in found else "–"
        rows += (
            f"| {tier} | {found['auc']:.3f} ({found['auc_low']:.3f}–{found['auc_high']:.3f}) "
            f"| {found['worst_generator']:.3f} | {baseline['auc']:.3f} | {control} |\n"
        )
    return _ROTATION.format(generators=found["generators"], rows=rows)
