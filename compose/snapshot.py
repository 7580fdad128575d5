"""One moment of a running session, frozen: all that the dashboard shows and nothing it could change."""

from dataclasses import dataclass
from typing import Literal

from compose.loop_view import LoopView
from compose.share import Share
from stream.events import TruthName, VerdictName

WorkerState = Literal["starting", "ready", "restarting", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Latency from the event's time to the verdict in a read-committed reader's hands, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class FamilyLine:
    """How pictures made in one way were judged.

    Attributes:
        name: Such as ``camera`` or a decoder family.
        truth: What they really are.
        right: Verdicts that said so.
        wrong: Verdicts that said the opposite.
        uncertain: Verdicts that said neither.
    """

    name: str
    truth: TruthName
    right: int
    wrong: int
    uncertain: int

    @property
    def judged(self) -> int:
        """All verdicts on this family."""
        return self.right + self.wrong + self.uncertain


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One of the last verdicts, beside the truth that only the generator knows."""

    upload_id: str
    verdict: VerdictName
    p_ai: float
    truth: TruthName | None
    family: str
    latency_ms: float


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """The classify worker's process, as the session sees it.

    Attributes:
        state: Where it is in its life.
        pid: Its process, None while there is none.
        restarts: How often it was started again.
        provider: ONNX Runtime execution provider the verdicts name, empty before the first.
        memory_mib: Resident memory, None where it cannot be read.
        batches: Batches by size: (largest size of the bucket, count), smallest first; the last may be infinite.
        lag: Uploads in the topic that the worker has not read yet, None while unknown.
    """

    state: WorkerState = "starting"
    pid: int | None = None
    restarts: int = 0
    provider: str = ""
    memory_mib: float | None = None
    batches: tuple[tuple[float, int], ...] = ()
    batch_mean: float | None = None
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What does not change while a session runs."""

    broker: str
    pictures: str
    bundle_name: str
    bundle_digest: str
    delivery: str
    limits: str
    target: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the dashboard shows.

    Attributes:
        setting: What does not change.
        elapsed_s: Since the first upload was sent.
        phase: The scenario's phase.
        uploads: Uploads sent.
        verdicts: Uploads with a verdict.
        outstanding: Uploads with neither verdict nor dead letter yet.
        duplicated: Verdicts beyond the first of their upload.
        dlq: Dead letters.
        uploads_per_s: One number for each of the last whole seconds, oldest first.
        verdicts_per_s: The same for verdicts.
        median_ms: Median latency in each of the last whole seconds, oldest first; 0 where there was no verdict.
        latency: Over the last thousand verdicts.
        loop: Drift, retraining and rollout; None where the session runs without them.
    """

    setting: Setting
    elapsed_s: float
    phase: str
    uploads: int
    verdicts: int
    outstanding: int
    duplicated: int
    dlq: int
    uploads_per_s: tuple[float, ...]
    verdicts_per_s: tuple[float, ...]
    median_ms: tuple[float, ...]
    latency: Percentiles | None
    accuracy: Share
    fpr: Share
    coverage: Share
    families: tuple[FamilyLine, ...]
    recent: tuple[VerdictLine, ...]
    worker: WorkerLine
    loop: LoopView | None = None
