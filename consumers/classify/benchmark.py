"""How fast the pipeline is around a device, without Kafka: decoding, batching, inference and writing, as in the worker.

A machine without an accelerator cannot show what batching gains, so the device may be simulated: it takes 4 ms
and 0.1 ms for each picture, sleeping with the GIL released, and repeats one answer.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from consumers.classify.batcher import Batcher
from consumers.classify.batching import BatchPolicy
from consumers.classify.conclusion import Conclusion
from consumers.classify.memory import Memory
from consumers.classify.outputs import Speaker
from consumers.classify.pipeline import Pipeline
from consumers.classify.slots import Lineup, ModelSlots, Trial, warmed_up
from consumers.classify.stages import Prepared
from models.crops import Box
from models.decode import Picture
from models.ports import Crops, Score, Scorer
from stream import embeddings, uploads
from stream.blobs import open_store
from stream.clock import SystemClock
from stream.deadletter import Breaker
from stream.embeddings import Embedding
from stream.errors import VeristreamError
from stream.events import ThresholdIds
from stream.records import Outgoing, Record
from stream.settings import Settings
from stream.state import NoCache
from stream.telemetry import Metrics
from stream.uploads import Upload

# A verdict and an embedding; the shadow adds one of each.
_UNSHADOWED = 2


class SimulatedDevice:
    """A `models.ports.Scorer` that prepares pictures as a real one does and then only takes its time.

    Args:
        model: Prepares pictures and gives one answer, which is repeated.
        fixed_s: Seconds a batch costs.
        each_s: Seconds each picture adds.

    ``sizes`` counts the batches by size.
    """

    provider = "Simulated"
    max_batch = None

    def __init__(self, model: Scorer, *, fixed_s: float = 0.004, each_s: float = 0.0001) -> None:
        self.name, self.version, self.digest, self.precision = model.name, model.version, model.digest, model.precision
        self.thresholds: ThresholdIds = model.thresholds
        self.sizes: Counter[int] = Counter()
        self._model = model
        self._fixed_s = fixed_s
        self._each_s = each_s
        self._answer: Score | None = None

    def prepare(self, picture: Picture) -> Crops:
        """Cuts what the model would look at."""
        return self._model.prepare(picture)

    def boxes(self, width: int, height: int) -> tuple[Box, ...]:
        """Where `prepare` cuts."""
        return self._model.boxes(width, height)

    def predict(self, batch: Sequence[Crops]) -> list[Score]:
        """Takes the device's time; asks the model for one answer, once."""
        if self._answer is None:
            [self._answer] = self._model.predict(batch[:1])
        self.sizes[len(batch)] += 1
        time.sleep(self._fixed_s + self._each_s * len(batch))
        return [self._answer] * len(batch)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run came to.

    Attributes:
        images_per_s: Uploads answered per second.
        seconds: How long it took.
        batches: How many batches there were of each size.
        mean_batch: Pictures per batch.
        latency_ms: Percentiles ``p50``, ``p95`` and ``p99`` from acceptance to answer, milliseconds.
        heard: Share of the uploads on which a shadow was heard.
    """

    images_per_s: float
    seconds: float
    batches: Mapping[int, int]
    mean_batch: float
    latency_ms: Mapping[str, float]
    heard: float


@dataclass
class _Door:
    """A loop without Kafka: lets so many uploads in, and notes when each was answered."""

    limit: int
    took_s: list[float] = field(default_factory=list)
    heard: int = 0
    error: VeristreamError | None = None
    _begun: dict[int, float] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self, record: Record) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._begun) < self.limit or self.error is not None)
            self._begun[record.offset] = time.perf_counter()

    def complete(self, record: Record, outputs: Sequence[Outgoing]) -> None:
        """Takes an answer."""
        with self._changed:
            self.took_s.append(time.perf_counter() - self._begun.pop(record.offset))
            self.heard += len(outputs) > _UNSHADOWED
            self._changed.notify_all()

    def fail(self, error: VeristreamError) -> None:
        """Ends the run."""
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def wait_empty(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._begun or self.error is not None)
        if self.error is not None:
            raise self.error


def measure(
    device: SimulatedDevice,
    pictures: Sequence[bytes],
    media_type: str,
    *,
    settings: Settings,
    images: int,
    rate: float = 0,
    shadow: Scorer | None = None,
) -> Measured:
    """Runs uploads through the worker's pipeline and a simulated device.

    Args:
        device: What to run.
        pictures: Files, used in turn.
        media_type: Of all of them.
        settings: Batching, threads and bounds as for the worker; nothing outside is connected to.
        images: How many uploads.
        rate: Uploads per second, evenly spaced; 0 for as fast as answers come.
        shadow: A model on trial that is asked about every upload.
    """
    clock, metrics, memory = SystemClock(), Metrics(), Memory(NoCache())
    worker = settings.worker
    champion = warmed_up(device)
    slots = ModelSlots(champion)
    if shadow is not None:
        slots.lineup = Lineup(champion, shadow=Trial(warmed_up(shadow), 1.0))
    batcher: Batcher[Prepared] = Batcher(BatchPolicy.of(worker, device.max_batch), clock)
    batcher.relearn(champion.probes)
    store = open_store(settings.blobs)
    pipeline = Pipeline(
        settings, slots=slots, batcher=batcher, store=store, memory=memory, metrics=metrics, clock=clock
    )
    door = _Door(worker.max_in_flight)
    speaker = Speaker(settings.topics, clock, worker_id="benchmark")
    device.sizes.clear()
    pipeline.start(Conclusion(door, speaker, Breaker(worker.breaker), memory, metrics), door.fail)
    begun = time.perf_counter()
    try:
        for number in range(images):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            record = _record(number, pictures[number % len(pictures)], media_type)
            door.enter(record)
            pipeline.accept([record])
        door.wait_empty()
    finally:
        seconds = time.perf_counter() - begun
        pipeline.close()
    took = sorted(door.took_s)
    return Measured(
        images_per_s=images / seconds,
        seconds=seconds,
        batches=dict(sorted(device.sizes.items())),
        mean_batch=images / max(1, device.sizes.total()),
        latency_ms={f"p{share}": took[len(took) * share // 100] * 1000 for share in (50, 95, 99)},
        heard=door.heard / images,
    )


def embedding_seconds(send: Callable[[Outgoing], None], score: Score, *, records: int) -> float:
    """What one embedding adds to a worker's record: writing it as an event and handing it to a producer.

    Args:
        send: Takes each record, such as a producer's `send`.
        score: A model's answer, whose embedding is sent.
        records: How many to average over.

    Returns:
        Seconds of this thread's processor time for each.
    """
    at = datetime.now(UTC)
    begun = time.thread_time()
    for number in range(records):
        seen = Embedding(f"up-{number}", score.embedding, "0" * 64, score.p_ai, "default", at)
        send(embeddings.encode(seen, topic="embeddings", source="benchmark"))
    return (time.thread_time() - begun) / records


def _record(number: int, data: bytes, media_type: str) -> Record:
    upload = Upload(f"up-{number}", data, media_type, "benchmark", datetime.now(UTC))
    out = uploads.encode(upload, topic="uploads")
    return Record("uploads", 0, number, 0, out.key, out.value, out.headers)
