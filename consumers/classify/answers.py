"""What a model's score says, in the words of a verdict."""

import numpy as np

from consumers.classify.cache import Answer
from consumers.classify.slots import Model
from models.ports import Score
from stream.events import Evidence, ImageFacts


def answer_of(image: ImageFacts, model: Model, score: Score) -> Answer:
    """What a model's score says, with the most suspicious place in the picture as evidence."""
    worst = int(np.argmax(score.crop_logits))
    crops = len(score.crop_logits)
    evidence = (
        Evidence(kind="classifier", detail=f"{crops} crops at native resolution, judged together", score=score.p_ai),
        Evidence(
            kind="crop",
            detail=f"The most suspicious of {crops}: logit {score.crop_logits[worst]:+.2f}, all {score.logit:+.2f}",
            box=model.scorer.boxes(image.width, image.height)[worst],
        ),
    )
    return Answer(
        verdict=score.verdict,
        p_ai=score.p_ai,
        thresholds=model.scorer.thresholds,
        evidence=evidence,
        model=model.ref,
        image=image,
    )
