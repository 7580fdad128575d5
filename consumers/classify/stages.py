"""What one upload is on its way through the worker, a class per stage; each holds no more than the next ones need.

                 ┌───────────────────▶ Recalled
    Arrival ─▶ Fetched ─▶ Prepared ──▶ Judged
       └───────────┴──────────┴──────▶ Failed

A picture's bytes are let go once it is decoded, so memory in flight is small crops and not files.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from consumers.classify.cache import Answer
from consumers.classify.slots import Serving
from models.ports import Crops, Score
from stream.errors import VeristreamError
from stream.events import ImageFacts
from stream.records import Record
from stream.uploads import Upload


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record as the loop handed it over.

    Attributes:
        record: The record.
        at: When, in monotonic seconds; the latency objective counts from here.
        tenure: How often its partition had been given up before; an older tenure's work is nobody's.
    """

    record: Record
    at: float
    tenure: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """An upload and its bytes, wherever they lay.

    Attributes:
        arrival: Where it came from.
        upload: The event.
        data: The picture's bytes.
        sha256: Their digest.
        fetch_ms: How long the blob store took; 0 for bytes that came with the event.
        held: Bytes it holds of the budget for fetched pictures.
    """

    arrival: Arrival
    upload: Upload
    data: bytes
    sha256: str
    fetch_ms: float
    held: int

    @classmethod
    def inline(cls, arrival: Arrival, upload: Upload, data: bytes) -> Self:
        """An upload that carries its bytes."""
        return cls(arrival, upload, data, hashlib.sha256(data).hexdigest(), fetch_ms=0.0, held=0)


@dataclass(frozen=True, slots=True)
class Recalled:
    """An upload whose picture the serving model has judged before."""

    fetched: Fetched
    answer: Answer
    embedding: NDArray[np.float16]
    serving: Serving

    @property
    def origin(self) -> tuple[Record, Serving]:
        """The record that is answered, and the model that answers."""
        return self.fetched.arrival.record, self.serving


@dataclass(frozen=True, slots=True)
class Prepared:
    """An upload whose picture was opened and cut for one model.

    Attributes:
        crops: uint8 ``[k, S, S, 3]``.
        serving: The model they were cut for, and that must judge them.
    """

    arrival: Arrival
    upload: Upload
    image: ImageFacts
    crops: Crops
    serving: Serving
    fetch_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A prepared upload and what the model says."""

    prepared: Prepared
    score: Score
    infer_ms: float

    @property
    def origin(self) -> tuple[Record, Serving]:
        """The record that is answered, and the model that answers."""
        return self.prepared.arrival.record, self.prepared.serving


@dataclass(frozen=True, slots=True)
class Failed:
    """An upload that cannot be judged: why, where in the pipeline, and after how many attempts."""

    record: Record
    error: VeristreamError
    stage: str
    attempts: int
    model_digest: str | None
