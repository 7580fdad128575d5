"""What the drift service counts. Names begin with ``veristream_drift_`` and end in their unit.

No label comes from an upload: tenants are told in events, never here. Gauges of components are those of the last
evaluation over all tenants.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from stream.errors import VeristreamError
from stream.events import DriftReport, VerdictName

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STATUSES = ("ok", "warning", "alarm", "recovered")
_DIGEST_SHOWN = 12


class DriftMetrics:
    """What one drift service counts. Thread-safe.

    Args:
        registry: Where to register; a fresh one unless given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._read = self._counter("records_read", "Records read, by topic", "topic")
        self._rejected = self._counter("records_rejected", "Records that were dead-lettered", "topic", "error")
        self._repeated = self._counter("records_repeated", "Records that had been counted before", "topic")
        self._divergence = self._gauge(
            "divergence_nats", "Of one column in one direction", "model", "column", "statistic"
        )
        self._threshold = self._gauge("threshold_nats", "What it must exceed", "model", "column", "statistic")
        self._figure = self._gauge("labels_figure", "Of a model's verdicts against labels", "model", "figure")
        self._status = self._gauge("status", "1 for the status of the last evaluation", "model", "kind", "status")
        self._evaluations = self._counter(
            "evaluations", "Windows judged, by scope and status", "kind", "scope", "status"
        )
        self._seconds = Histogram(
            "veristream_drift_evaluation_seconds", "Time to judge a window", buckets=_SECONDS, registry=self.registry
        )
        self._contradictions = self._counter("label_contradictions", "Labels that contradict another's")
        self._failures = self._counter("failures", "What went wrong and was survived, by error class", "error")
        self._open = self._gauge("open_windows", "Windows that are being filled")
        self._waiting = self._gauge("waiting_windows", "Closed windows that wait to be judged")
        self._collected = self._gauge("baseline_embeddings", "Collected for a reference that a model lacks", "model")
        self._evidence = self._gauge("novelty_log_evidence", "Log of the sequential detector's evidence", "model")
        self._shares = self._gauge("verdict_share", "Share of this hour's verdicts", "model", "verdict")
        self._ready = self._gauge("ready", "1 while embeddings are read")

    def read(self, topic: str) -> None:
        """Counts a record."""
        self._read.labels(topic).inc()

    def rejected(self, topic: str, error: VeristreamError) -> None:
        """Counts a record that was dead-lettered."""
        self._rejected.labels(topic, type(error).__name__).inc()

    def repeated(self, topic: str) -> None:
        """Counts a record that had been counted before."""
        self._repeated.labels(topic).inc()

    def contradicted(self) -> None:
        """Counts a label that contradicts another for the same upload."""
        self._contradictions.inc()

    def failed(self, error: VeristreamError) -> None:
        """Counts what went wrong and was survived."""
        self._failures.labels(type(error).__name__).inc()

    def reported(self, report: DriftReport, seconds: float | None = None) -> None:
        """Tells an evaluation, and what it took; an early warning takes nothing worth telling."""
        model, kind = report.model_digest[:_DIGEST_SHOWN], report.kind
        self._evaluations.labels(kind, "tenant" if report.tenant is not None else "all", report.status).inc()
        if seconds is not None:
            self._seconds.observe(seconds)
        if report.tenant is not None:
            return
        for status in _STATUSES:
            self._status.labels(model, kind, status).set(status == report.status)
        for part in report.components:
            if kind == "labels":
                self._figure.labels(model, part.name).set(part.value)
            else:
                self._divergence.labels(model, part.name, part.statistic).set(part.value)
                self._threshold.labels(model, part.name, part.statistic).set(part.threshold)

    def windows(self, *, filling: int, waiting: int) -> None:
        """Tells how many windows are open and how many wait."""
        self._open.set(filling)
        self._waiting.set(waiting)

    def collected(self, model_digest: str, embeddings: int) -> None:
        """Tells how far a baseline has come."""
        self._collected.labels(model_digest[:_DIGEST_SHOWN]).set(embeddings)

    def evidence(self, model_digest: str, log_evidence: float) -> None:
        """Tells what the sequential detector holds against the reference."""
        self._evidence.labels(model_digest[:_DIGEST_SHOWN]).set(log_evidence)

    def shares(self, counts: Mapping[str, Mapping[VerdictName, int]]) -> None:
        """Tells this hour's verdict shares by model."""
        for digest, verdicts in counts.items():
            total = sum(verdicts.values())
            for verdict, count in verdicts.items():
                self._shares.labels(digest[:_DIGEST_SHOWN], verdict).set(count / total if total else 0.0)

    def ready(self, ready: bool) -> None:
        """Tells whether embeddings are read."""
        self._ready.set(ready)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"veristream_drift_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"veristream_drift_{name}", text, labels, registry=self.registry)
