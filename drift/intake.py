"""From a record of the embeddings topic into windows and baselines, or to the dead letters; never an exception."""

import logging
from collections.abc import Callable

from drift.baselines import Baselines
from drift.metrics import DriftMetrics
from drift.slots import KnownModels
from drift.windows import Sighting, Window, Windows
from stream import embeddings
from stream.embeddings import Embedding
from stream.errors import ContractError, MalformedEvent, VeristreamError
from stream.records import Record

_log = logging.getLogger("veristream.drift")

_CONVINCING = 20


class Intake:
    """Takes embeddings in, each of them once.

    Args:
        windows: What they are put into.
        baselines: What else keeps them.
        models: Whose embeddings are taken.
        metrics: Who counts.
        reject: Given what is no embedding of a known model, and why.
    """

    def __init__(
        self,
        windows: Windows,
        baselines: Baselines,
        models: KnownModels,
        metrics: DriftMetrics,
        reject: Callable[[Record, VeristreamError], None],
    ) -> None:
        self._windows = windows
        self._baselines = baselines
        self._models = models
        self._metrics = metrics
        self._reject = reject
        self._lengths: dict[str, int] = {}
        self._strikes: dict[str, int] = {}
        self._certain: set[str] = set()
        self._fresh: list[Sighting] = []

    def expect(self, model_digest: str, length: int) -> None:
        """Says for certain how long a model's embeddings are; what is open of another length is thrown away."""
        self._certain.add(model_digest)
        if self._lengths.get(model_digest, length) != length:
            self._begin_again(model_digest)
        self._lengths[model_digest] = length

    def take(self, record: Record, now: float) -> list[Window]:
        """Takes one record; returns the windows it filled, each to be given to `Windows.reported` when that is done.

        Args:
            record: From the embeddings topic, in order within its partition; one met before is passed over.
            now: Seconds since the epoch.
        """
        if self._windows.passed(record.tp, record.offset):
            self._metrics.repeated(record.topic)
            return []
        self._metrics.read(record.topic)
        return self._taken(record, now, self._reject)

    def fresh(self) -> list[Sighting]:
        """What was taken in since this was last asked, in order."""
        found, self._fresh = self._fresh, []
        return found

    def refill(self, record: Record, *, seen: bool) -> list[Window]:
        """Takes a record that is read back after a restart.

        Args:
            record: From the embeddings topic.
            seen: Whether an earlier life had met it: what it rejected is not rejected again.
        """
        if self._windows.passed(record.tp, record.offset):
            return []
        return self._taken(record, None, _ignore if seen else self._reject)

    def _taken(
        self, record: Record, now: float | None, reject: Callable[[Record, VeristreamError], None]
    ) -> list[Window]:
        try:
            embedding = embeddings.decode(record)
            self._check(embedding, record)
        except ContractError as error:
            reject(record, error)
            return []
        if self._windows.repeated(embedding):
            self._metrics.repeated(record.topic)
            return []
        sighting = Sighting(embedding, record.tp, record.offset)
        self._baselines.add(sighting)
        self._fresh.append(sighting)
        return self._windows.add(sighting, embedding.at.timestamp() if now is None else now)

    def _check(self, embedding: Embedding, record: Record) -> None:
        digest, length = embedding.model_digest, embedding.vector.size
        if not embedding.upload_id:
            raise MalformedEvent("no key; the key is the upload id", where=record.place)
        if not self._models.knows(digest):
            what = f"an embedding of model {digest[:12]}, which no slot has ever held"
            remedy = "Put the model into a slot before a worker loads it, then replay the letter"
            raise MalformedEvent(what, where=record.place, remedy=remedy)
        expected = self._lengths.setdefault(digest, length)
        if length == expected and length:
            self._strikes.pop(digest, None)
            return
        self._strikes[digest] = self._strikes.get(digest, 0) + 1
        if digest not in self._certain and self._strikes[digest] >= _CONVINCING:
            # The first to come was the odd one out; without a reference nobody could know.
            _log.warning("embeddings of model %s have %d numbers, not %d as the first had", digest, length, expected)
            del self._strikes[digest]
            self._lengths[digest] = length
            self._begin_again(digest)
            return
        raise MalformedEvent(f"{length} numbers where model {digest[:12]} gives {expected}", where=record.place)

    def _begin_again(self, digest: str) -> None:
        self._windows.drop(digest)
        self._baselines.forget(digest)


def _ignore(_: Record, __: VeristreamError) -> None:
    """What an earlier life dead-lettered is in the dead letters."""
