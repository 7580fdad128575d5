"""Every metric in one place. Names begin with ``veristream_`` and end in their unit, as Prometheus asks.

No label comes from an upload: labels are verdicts, arms, models, topics and error classes, all of them few.
"""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from stream.errors import VeristreamError
from stream.events import Arm, ModelRef, Slot, Verdict

Voice = Arm | Literal["shadow"]
Outcome = Literal["heard", "failed", "late"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_DIGEST_SHOWN = 12


class Metrics:
    """What one process counts; a `stream.loop.Meter`. Thread-safe.

    Args:
        registry: Where to register; a fresh one unless given, so that tests and threads do not share counts.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._consumed = self._counter("uploads_consumed", "Uploads read, by topic", "topic")
        self._verdicts = self._counter("verdicts", "Verdicts given", "verdict", "arm", "model")
        self._dead = self._counter("dead_letters", "Uploads that could not be judged, by error class", "error")
        self._batch = self._histogram("batch_images", "Pictures per inference", _IMAGES)
        self._stages = self._histogram("stage_seconds", "Time an upload spent in each stage", _SECONDS, "stage")
        self._records = self._gauge("in_flight_records", "Uploads read and not yet committed")
        self._bytes = self._gauge("in_flight_bytes", "Their bytes")
        self._lag = self._gauge("consumer_lag_records", "Uploads that wait in this worker's partitions")
        self._paused = self._gauge("consumer_paused", "1 while back-pressure holds fetching back")
        self._lookups = self._counter("cache_lookups", "Verdict cache lookups: hit, miss or error", "result")
        self._commits = self._counter("transactions", "Commits, by outcome: committed or aborted", "outcome")
        self._models = self._gauge(
            "model_info", "1 for each model in use", "slot", "name", "version", "digest", "provider", "precision"
        )
        self._infer = self._histogram("infer_seconds", "Time of an inference, by the model's part", _SECONDS, "arm")
        self._failures = self._counter(
            "model_failures", "Pictures a model failed on, by its part and by error class", "arm", "error"
        )
        self._opinions = self._counter(
            "shadow_opinions", "Pictures the shadow was asked about: heard, failed or late", "outcome"
        )
        self._refused = self._counter("model_refusals", "Changes of model that were refused, by error class", "error")
        self._ready = self._gauge("worker_ready", "1 while the worker takes uploads")
        self._in_slot: dict[str, tuple[str, ...]] = {}

    def consumed(self, topic: str, records: int) -> None:
        """Counts uploads read."""
        self._consumed.labels(topic).inc(records)

    def verdict(self, verdict: Verdict) -> None:
        """Counts a verdict and where its time went."""
        self._verdicts.labels(verdict.verdict, verdict.arm, verdict.model.digest[:_DIGEST_SHOWN]).inc()
        times = verdict.timings_ms
        for stage in ("queue", "fetch", "decode", "infer", "total"):
            self._stages.labels(stage).observe(getattr(times, stage) / 1000)

    def dead_letter(self, error: VeristreamError) -> None:
        """Counts a dead letter."""
        self._dead.labels(type(error).__name__).inc()

    def batch(self, images: int) -> None:
        """Counts an inference over this many pictures."""
        self._batch.observe(images)

    def inferred(self, arm: Voice, seconds: float) -> None:
        """Tells how long an inference took."""
        self._infer.labels(arm).observe(seconds)

    def model_failed(self, arm: Voice, error: VeristreamError, *, pictures: int = 1) -> None:
        """Counts pictures that a model failed on, where the fault is not the picture's."""
        self._failures.labels(arm, type(error).__name__).inc(pictures)

    def opinions(self, outcome: Outcome, pictures: int) -> None:
        """Counts what became of pictures that the shadow was to be asked about."""
        self._opinions.labels(outcome).inc(pictures)

    def flow(self, *, records: int, size: int, lag: int, paused: bool) -> None:
        """Tells what is in flight, how many records wait, and whether fetching is paused."""
        self._records.set(records)
        self._bytes.set(size)
        self._lag.set(lag)
        self._paused.set(paused)

    def committed(self, *, records: int, seconds: float) -> None:
        """Counts a commit; every record in it waited these seconds."""
        self._commits.labels("committed").inc()
        if records:
            self._stages.labels("commit").observe(seconds)

    def aborted(self) -> None:
        """Counts a commit that failed and will be tried again."""
        self._commits.labels("aborted").inc()

    def cache(self, *, hits: int, misses: int) -> None:
        """Counts lookups that Redis answered, or would have."""
        self._lookups.labels("hit").inc(hits)
        self._lookups.labels("miss").inc(misses)

    def cache_failed(self) -> None:
        """Counts a call that Redis did not answer."""
        self._lookups.labels("error").inc()

    def model(self, slot: Slot, model: ModelRef | None) -> None:
        """Tells which model is in a slot now; None empties it."""
        before = self._in_slot.pop(slot, None)
        if before is not None:
            self._models.remove(*before)
        if model is not None:
            digest = model.digest[:_DIGEST_SHOWN]
            self._in_slot[slot] = (slot, model.name, model.version, digest, model.provider, model.precision)
            self._models.labels(*self._in_slot[slot]).set(1)

    def model_refused(self, error: VeristreamError) -> None:
        """Counts a change of model that was refused."""
        self._refused.labels(type(error).__name__).inc()

    def ready(self, ready: bool) -> None:
        """Tells whether the worker takes uploads."""
        self._ready.set(ready)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"veristream_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"veristream_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"veristream_{name}", text, labels, buckets=buckets, registry=self.registry)
