"""What the retraining coordinator counts. Names begin with ``veristream_retrain_``; no label comes from an upload."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from retrain.retention import Swept
from stream.errors import VeristreamError
from stream.events import RetrainStep

# What is shown of a job's figures while it is under way.
_TRIAL = (
    "evidence", "records_shadow", "records_canary", "labels_seen", "accuracy_champion", "accuracy_challenger",
    "fpr_champion", "fpr_challenger", "disagreement", "latency_ratio",
)  # fmt: skip


class RetrainMetrics:
    """What one coordinator counts.

    Args:
        registry: Where to register; a fresh one unless given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._steps = Counter("veristream_retrain_steps", "Steps of jobs, by step", ("step",), registry=self.registry)
        self._waiting = Gauge("veristream_retrain_waiting", "1 while a job waits for labels", registry=self.registry)
        self._labels = Gauge(
            "veristream_retrain_labels", "Labels a waiting job has, and needs of each class", ("label",),
            registry=self.registry,
        )  # fmt: skip
        self._trial = Gauge(
            "veristream_retrain_trial", "Figures of the rollout under way", ("figure",), registry=self.registry
        )
        self._refused = Counter(
            "veristream_retrain_records_refused", "Records that could not be read, by error class", ("error",),
            registry=self.registry,
        )  # fmt: skip
        self._failures = Counter(
            "veristream_retrain_failures", "What went wrong and is tried again, by error class", ("error",),
            registry=self.registry,
        )  # fmt: skip
        self._deleted = Counter(
            "veristream_retrain_pictures_deleted", "Copies and zips of jobs that were kept for long enough",
            ("kind",), registry=self.registry,
        )  # fmt: skip
        self._ready = Gauge("veristream_retrain_ready", "1 while triggers are heard", registry=self.registry)

    def step(self, step: RetrainStep) -> None:
        """Counts a step."""
        self._steps.labels(step.step).inc()

    def waiting(self, figures: Mapping[str, float] | None) -> None:
        """Tells what a job waits for; None when none does."""
        self._waiting.set(figures is not None)
        for name, value in (figures or {}).items():
            self._labels.labels(name.removeprefix("labels_")).set(value)

    def trial(self, figures: Mapping[str, float] | None) -> None:
        """Tells how a rollout stands; None when none is under way."""
        self._trial.clear()
        for name in _TRIAL:
            if figures is not None and name in figures:
                self._trial.labels(name).set(figures[name])

    def refused(self, error: VeristreamError) -> None:
        """Counts a record that could not be read."""
        self._refused.labels(type(error).__name__).inc()

    def failed(self, error: VeristreamError) -> None:
        """Counts what will be tried again."""
        self._failures.labels(type(error).__name__).inc()

    def swept(self, swept: Swept) -> None:
        """Counts pictures that were deleted."""
        self._deleted.labels("copy").inc(swept.copies)
        self._deleted.labels("zip").inc(swept.zips)

    def ready(self, ready: bool) -> None:
        """Tells whether triggers are heard."""
        self._ready.set(ready)
