"""Joins truths with verdicts by upload id while both stream past, in whatever order, and keeps score.

Memory is bounded: at most ``window`` truths wait for their verdict, at most ``window`` verdicts for their truth, and
duplicates are recognised among the last ``window`` joined uploads. A truth that is pushed out counts as lost, a verdict
as of unknown truth, and the report says how many were pushed out; choose the window larger than what can be in flight.
"""

from collections import OrderedDict, defaultdict
from datetime import datetime
from typing import Any, NamedTuple

from producers.traffic.latencies import Latencies
from producers.traffic.scores import Tally
from stream.events import Truth, TruthName, Verdict, VerdictName

_WINDOW = 200_000


class _Known(NamedTuple):
    label: TruthName
    family: str
    persona: str
    tier: str
    phase: str


class _Said(NamedTuple):
    verdict: VerdictName
    p_ai: float
    latency_ms: float


class Evaluation:
    """The running score.

    The first verdict of an upload counts; later ones are counted as duplicated and change nothing else. Truths may come
    twice, as at-least-once readers bring them. For one thread.

    Args:
        window: How many uploads to remember, per kind; see the module.
    """

    def __init__(self, window: int = _WINDOW) -> None:
        self._window = window
        self._truths: OrderedDict[str, _Known] = OrderedDict()
        self._verdicts: OrderedDict[str, _Said] = OrderedDict()
        self._joined: OrderedDict[str, None] = OrderedDict()
        self._uploads = 0
        self._verdicts_seen = 0
        self._duplicated = 0
        self._truths_dropped = 0
        self._verdicts_dropped = 0
        self._all = Tally()
        self._slices: dict[str, defaultdict[str, Tally]] = {
            by: defaultdict(Tally) for by in ("family", "persona", "tier", "phase")
        }
        self._latencies = Latencies()

    def truth(self, truth: Truth) -> None:
        """Takes what the generator says about one upload."""
        if truth.upload_id in self._joined or truth.upload_id in self._truths:
            return
        self._uploads += 1
        known = _Known(truth.label, truth.family, truth.persona, truth.tier, truth.phase)
        said = self._verdicts.pop(truth.upload_id, None)
        if said is not None:
            self._join(truth.upload_id, known, said)
            return
        self._truths[truth.upload_id] = known
        if len(self._truths) > self._window:
            self._truths.popitem(last=False)
            self._truths_dropped += 1

    def verdict(self, verdict: Verdict, *, seen_at: datetime | None = None) -> None:
        """Takes one verdict.

        Args:
            verdict: What the detector says.
            seen_at: When a reader had it; without it latency ends at the decision, before the verdict was committed.
        """
        self._verdicts_seen += 1
        if verdict.upload_id in self._joined or verdict.upload_id in self._verdicts:
            self._duplicated += 1
            return
        latency = ((seen_at or verdict.decided_at) - verdict.occurred_at).total_seconds() * 1000.0
        said = _Said(verdict.verdict, verdict.p_ai, latency)
        known = self._truths.pop(verdict.upload_id, None)
        if known is not None:
            self._join(verdict.upload_id, known, said)
            return
        self._verdicts[verdict.upload_id] = said
        if len(self._verdicts) > self._window:
            self._verdicts.popitem(last=False)
            self._verdicts_dropped += 1

    @property
    def waiting(self) -> int:
        """Uploads without a verdict so far."""
        return len(self._truths) + self._truths_dropped

    def snapshot(self) -> dict[str, Any]:
        """The numbers a dashboard shows, without slices: cheap enough for every frame."""
        return {
            "uploads": self._uploads,
            "verdicts": self._verdicts_seen,
            "waiting": self.waiting,
            "duplicated": self._duplicated,
            **{name: value for name, value in self._all.report().items() if name != "uploads"},
            "latency_ms": self._latencies.report(),
        }

    def report(self) -> dict[str, Any]:
        """Everything, for JSON; ask at the end, when whoever still waits is lost."""
        score = self.snapshot()
        score["lost"] = score.pop("waiting")
        return {
            **score,
            "joined": self._all.total,
            "verdicts_without_truth": len(self._verdicts) + self._verdicts_dropped,
            "beyond_window": {"truths": self._truths_dropped, "verdicts": self._verdicts_dropped},
            **{
                f"by_{by}": {name: tally.report() for name, tally in sorted(tallies.items())}
                for by, tallies in self._slices.items()
            },
        }

    def _join(self, upload_id: str, known: _Known, said: _Said) -> None:
        self._joined[upload_id] = None
        if len(self._joined) > self._window:
            self._joined.popitem(last=False)
        self._latencies.add(said.latency_ms)
        self._all.add(known.label, said.verdict, said.p_ai)
        for by, tallies in self._slices.items():
            tallies[getattr(known, by)].add(known.label, said.verdict, said.p_ai)
