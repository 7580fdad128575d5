"""Answers for pictures seen before: what a verdict says of the picture alone, by image digest and model digest.

A cache entry is one line of JSON and, after the line feed, the embedding as little-endian float16: so a repeated upload
gets its verdict *and* its embedding, and the embeddings topic stays complete. The model's digest is in the key, so a
new model never speaks with its predecessor's voice. An entry that cannot be read counts as a miss.
"""

import logging

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from stream.events import Evidence, ImageFacts, ModelRef, Part, Probability, ThresholdIds, VerdictName

_log = logging.getLogger(__name__)
_WIRE = np.dtype("<f2")


class Answer(Part):
    """Everything in a verdict that depends on the picture and the model, and on nothing else."""

    verdict: VerdictName
    p_ai: Probability
    thresholds: ThresholdIds
    evidence: tuple[Evidence, ...]
    generator: str | None = None
    model: ModelRef
    image: ImageFacts


def key(image_sha256: str, model_digest: str) -> str:
    """The name an answer is stored under."""
    return f"verdict:1:{model_digest}:{image_sha256}"


def pack(answer: Answer, embedding: NDArray[np.float16]) -> bytes:
    """An entry's bytes."""
    return answer.model_dump_json().encode() + b"\n" + embedding.astype(_WIRE).tobytes()


def unpack(entry: bytes) -> tuple[Answer, NDArray[np.float16]] | None:
    """An entry, read back; None when it cannot be."""
    head, _, vector = entry.partition(b"\n")
    try:
        return Answer.model_validate_json(head), np.frombuffer(vector, _WIRE)
    except (ValidationError, ValueError) as error:
        _log.warning("a cached verdict cannot be read and is judged anew: %s", error)
        return None
