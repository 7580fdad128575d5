"""What one upload is on its way through the worker, a class per stage; each holds no more than the next ones need.

                 ┌───────────────────▶ Recalled
    Arrival ─▶ Fetched ─▶ Prepared ──▶ Judged
       └───────────┴──────────┴──────▶ Failed

What the shadow is asked rides along: a `Sitting` with what was prepared, an `Opinion` with what was judged or recalled.
A picture's bytes are let go once it is decoded, so memory in flight is small crops and not files.
"""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from consumers.classify.cache import Answer
from consumers.classify.slots import Model, Turn
from models.ports import Crops, Score
from stream.errors import VeristreamError
from stream.events import Arm, ImageFacts
from stream.records import Record
from stream.uploads import Upload


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record as the loop handed it over.

    Attributes:
        record: The record.
        at: When, in monotonic seconds; the latency objective counts from here.
        tenure: How often its partition had been given up before; an older tenure's work is nobody's.
        fallback: Why only the champion may judge it, in words: the challenger failed on it. Empty otherwise.
    """

    record: Record
    at: float
    tenure: int
    fallback: str = ""


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
class Opinion:
    """What the shadow says of an upload beside the champion.

    Attributes:
        answer: What it says.
        embedding: float16 ``[D]``.
        infer_ms: What the shadow's inference took for each picture of its batch; 0 for one it had seen before.
        champion_infer_ms: The same of the champion.
    """

    answer: Answer
    embedding: NDArray[np.float16]
    infer_ms: float = 0.0
    champion_infer_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Recalled:
    """An upload whose picture everybody who is asked has judged before."""

    fetched: Fetched
    answer: Answer
    embedding: NDArray[np.float16]
    turn: Turn
    opinion: Opinion | None = None

    @property
    def record(self) -> Record:
        """The record that is answered."""
        return self.fetched.arrival.record

    @property
    def model_digest(self) -> str:
        """The model whose verdict it is."""
        return self.turn.speaker.ref.digest


@dataclass(frozen=True, slots=True)
class Sitting:
    """A picture cut for the shadow: uint8 ``[k, S, S, 3]``, which need not be what the champion looks at."""

    model: Model
    crops: Crops


@dataclass(frozen=True, slots=True)
class Prepared:
    """An upload whose picture was opened and cut for the models that are asked.

    Attributes:
        crops: uint8 ``[k, S, S, 3]``.
        model: The model they were cut for, and that must judge them.
        arm: The part it plays.
        sitting: The same picture for the shadow, where it is asked.
    """

    arrival: Arrival
    upload: Upload
    image: ImageFacts
    crops: Crops
    model: Model
    arm: Arm
    fetch_ms: float
    decode_ms: float
    sitting: Sitting | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A prepared upload and what the model says.

    Attributes:
        infer_ms: What the batch took.
        each_ms: The same for each picture in it.
    """

    prepared: Prepared
    score: Score
    infer_ms: float
    each_ms: float
    opinion: Opinion | None = None

    @property
    def record(self) -> Record:
        """The record that is answered."""
        return self.prepared.arrival.record

    @property
    def model_digest(self) -> str:
        """The model whose verdict it is."""
        return self.prepared.model.ref.digest


@dataclass(frozen=True, slots=True)
class Failed:
    """An upload that cannot be judged: why, where in the pipeline, and after how many attempts."""

    record: Record
    error: VeristreamError
    stage: str
    attempts: int
    model_digest: str | None
