"""The gate: one challenger against the champion, from bundles and pictures to an answer in words."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from models.bundle import Bundle
from models.classifier import Classifier
from models.evaluation.delivery import Tier
from models.evaluation.measures import joined
from models.evaluation.pictures import Collection
from models.evaluation.scoring import Advance, score
from models.manifest import WEIGHTS
from retrain.gate.limits import SetName, contradiction, costs, judged
from retrain.gate.report import GateReport
from retrain.gate.scoring import paired
from stream.settings import GateSettings

NO_GOLDEN = (
    "no golden set is configured (VERISTREAM_RETRAIN__GOLDEN), so nothing shows that old knowledge is kept; "
    "VERISTREAM_RETRAIN__GATE__SLICE_ONLY=true passes a challenger without one"
)


def evaluate(
    champion: Bundle,
    challenger: Bundle,
    *,
    golden: Sequence[Collection],
    drifted: Sequence[Collection],
    lesson: Sequence[Collection] = (),
    limits: GateSettings,
    threads: int = 1,
    seed: int = 0,
    advance: Advance = lambda step: None,
) -> GateReport:
    """Judges a challenger.

    Args:
        champion: The bundle in force.
        challenger: The bundle that would take its place.
        golden: Pictures that never change and that nothing learns from; none are a reason to refuse.
        drifted: Newly labelled pictures that were held out of the lesson; none for a job without them.
        lesson: Newly labelled pictures that the challenger learned from; the champion is asked about them, since they
            tell with the others whether the labels can be right.
        limits: What is asked, and how golden pictures are delivered; the slice is judged as it came.
        threads: Of ONNX Runtime.
        seed: Of the bootstrap.
        advance: Is told after every few pictures; what it raises ends the work.

    Raises:
        ConfigurationError: A set cannot be read.
        ModelError: A bundle cannot be run.
    """
    begun = time.perf_counter()
    reasons: list[str] = []
    figures: dict[str, float] = {}
    if not golden and not limits.slice_only:
        reasons.append(NO_GOLDEN)
    if not golden and not drifted:
        reasons.append("there are no pictures to judge the challenger by")
    sizes = tuple(_served_bytes(bundle) for bundle in (champion, challenger))
    timed = False
    sets: tuple[tuple[SetName, Sequence[Collection], Sequence[Tier]], ...] = (
        ("golden", golden, limits.tiers),
        ("slice", drifted, ("clean",)),
    )
    for name, collections, delivery in sets:
        if not collections:
            continue
        scores = paired(champion, challenger, collections, delivery, threads=threads, advance=advance)
        broken, found = judged(scores, name, limits, seed=seed)
        reasons += broken
        figures |= found
        # The golden set is the larger: its times are the better ones.
        if not timed and not math.isnan(scores.latency):
            broken, found = costs(scores, (sizes[0], sizes[1]), limits)
            reasons += broken
            figures |= found
            timed = True
        if name == "slice":
            labelled = scores.champion
            if lesson:
                model = Classifier.load(champion, provider="cpu", threads=threads)
                learned = score(lesson, model, ["clean"], tests=False, advance=advance)
                labelled = joined(labelled, learned.scored("clean"))
            broken, found = contradiction(labelled, seed=seed)
            # What is wrong with the labels explains all the rest, and events are told by their first reason.
            reasons = broken + reasons
            figures |= found
    figures["seconds"] = round(time.perf_counter() - begun, 2)
    return GateReport(not reasons, tuple(reasons), figures)


def _served_bytes(bundle: Bundle) -> int:
    """Bytes of a bundle without what only training reads."""
    return sum(len(data) for name, data in bundle.files.items() if name != WEIGHTS)
