"""What a lesson adds to the model card."""

from __future__ import annotations

from models.adaptation.examples import Examples
from models.adaptation.learning import Learned
from models.bundle import Bundle
from models.calibration import Calibration
from models.manifest import CARD, Manifest

_LESSON = """
## Adapted to {version}

From bundle `{parent}` by {reals} authentic and {fakes} machine-made pictures ({sources}), learned from
{means}. Everything above is about the parent. What changed are the linear head, two
units beside it, the calibration and the replay; the network and the embedding are the parent's.

| out of fold | AUC before | AUC after | pictures |
|---|---|---|---|
| newly labelled | {new_before:.3f} | {new_after:.3f} | {new} |
| replay of what was known | {old_before:.3f} | {old_after:.3f} | {old} |

A labelled picture weighed {emphasis:g} times a replayed one. Calibration and thresholds were fitted again on {on}:
called `ai_generated` above p = {above:.3f} (false positives {fpr:.3f}), `authentic` below p = {below:.3f} (false
negatives {fnr:.3f}).
"""


def extended(
    parent: Bundle, manifest: Manifest, fitted: Calibration, learned: Learned, examples: Examples, *, stored: bool
) -> bytes:
    """The parent's card and a section on this lesson."""
    above, below = fitted.thresholds.ai_above, fitted.thresholds.authentic_below
    fakes = int(examples.labels.sum())
    text = _LESSON.format(
        version=manifest.version, parent=parent.digest, reals=len(examples.labels) - fakes, fakes=fakes,
        sources=", ".join(sorted(set(examples.sources.tolist()))),
        means="their stored embeddings, which hold less than the pictures did" if stored else "the pictures themselves",
        new_before=learned.auc_shown[0], new_after=learned.auc_shown[1], new=len(examples.labels),
        old_before=learned.auc[0], old_after=learned.auc[1], old=len(learned.known),
        emphasis=learned.emphasis, on=above.on, above=above.value, fpr=above.rate, below=below.value, fnr=below.rate,
    )  # fmt: skip
    return parent.files[CARD] + text.encode()
