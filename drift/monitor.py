"""Judges windows: Evidently's figures against the reference's thresholds, then the policy, then a report.

Nothing here reads or writes Kafka; `drift.service` brings windows and takes reports away. One window, one report, with
the same id whenever the same records are judged again.

Alarms are about all tenants together. A tenant's own window is compared with everybody's reference, from which it may
differ without anything having changed, so that it is told as a warning and never as an alarm. When all together alarm,
the tenants of the last windows are judged each by the threshold for its size, and the report names who drifted.
"""

import hashlib
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from drift.evaluator import Evaluator
from drift.judgement import TOGETHER, Judgement, judge
from drift.keeper import InForce, Keeper
from drift.metrics import DriftMetrics
from drift.novelty import Novelty
from drift.policy import Decision, Policy, Rules, State, Status, beyond_in_words
from drift.windows import Key, Sighting, Window, arrays
from stream.errors import VeristreamError
from stream.events import ComponentDrift, DriftReport
from stream.ports import Clock

_log = logging.getLogger("veristream.drift")

T = TypeVar("T")
Floats = npt.NDArray[np.float32]

_ID_CHARACTERS = 32


class Alarm(NamedTuple):
    """What an alarm's pages are made of."""

    report: DriftReport
    window: Window
    inforce: InForce
    judgement: Judgement


class Gallery(Protocol):
    """Makes the pages of an alarm; `drift.pages.Pages`."""

    def publish(self, alarm: Alarm) -> DriftReport:
        """Stores the pages and returns the report with their addresses; what cannot be made is left out."""
        ...


class Monitor:
    """Judges windows one after the other. For one thread.

    Args:
        keeper: The references.
        evaluator: Evidently.
        gallery: Makes pages of alarms.
        rules: When to alarm.
        states: Where an earlier life's policies stood, by model and reference.
        metrics: Who counts.
        clock: Time.
    """

    def __init__(
        self,
        keeper: Keeper,
        evaluator: Evaluator,
        gallery: Gallery,
        *,
        rules: Rules,
        states: Mapping[tuple[str, str], State],
        metrics: DriftMetrics,
        clock: Clock,
    ) -> None:
        self._keeper = keeper
        self._evaluator = evaluator
        self._gallery = gallery
        self._rules = rules
        self._states = states
        self._metrics = metrics
        self._clock = clock
        self._policies: dict[tuple[str, str], Policy] = {}
        self._detectors: dict[str, tuple[str, Novelty]] = {}
        self._last: dict[tuple[str, str], Judgement] = {}
        self._early: set[str] = set()
        self._recent: defaultdict[str, deque[Window]] = defaultdict(lambda: deque(maxlen=TOGETHER))

    def observe(self, sightings: Sequence[Sighting]) -> list[DriftReport]:
        """Bets on uploads as they come; returns a warning for each model that single uploads cast doubt on.

        What fails costs these uploads' part in the early warning, and is counted.
        """
        of_model: defaultdict[str, list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            of_model[sighting.embedding.model_digest].append(sighting)
        found = (self._tried(partial(self._bet, digest, seen)) for digest, seen in of_model.items())
        return [report for report in found if report is not None]

    def judge(self, window: Window) -> list[DriftReport]:
        """Judges a closed window; returns the reports to publish.

        What fails costs the judgement of this window and is told in its report.
        """
        begun = self._clock.monotonic()
        report = self._judged(window)
        if report is None:
            return []
        self._metrics.reported(report, self._clock.monotonic() - begun)
        return [report]

    def _judged(self, window: Window) -> DriftReport | None:
        digest, tenant = window.key
        inforce = self._keeper.reference(digest)
        if inforce is None:
            # Nobody may take an alarm for over because its reference cannot be read.
            status: Status = "warning" if self._keeper.refused(digest) else "ok"
            return None if tenant is not None else self._report(window, status, self._keeper.state(digest))
        try:
            judgement = self._compare(*arrays(window.sightings), inforce, before=self._before(window, inforce))
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error("a window could not be judged: %s", error)
            return self._report(window, "warning", f"This window could not be judged: {error.what}", inforce)
        decision = self._of_tenant(judgement) if tenant is not None else self._decide(window, inforce, judgement)
        report = self._report(window, decision.status, decision.reason, inforce, judgement)
        if decision.status != "alarm":
            return report
        reason = f"{report.reason}; {self._attribution(digest, inforce)}"
        suspects = judgement.suspects(window.upload_ids) or self._detector(digest, inforce).suspects
        report = report.model_copy(update={"reason": reason, "suspects": suspects})
        return self._gallery.publish(Alarm(report, window, inforce, judgement))

    def _before(self, window: Window, inforce: InForce) -> Judgement | None:
        """The judgement of the window before, where it is of all tenants and against the same reference."""
        return self._last.get((window.key.model_digest, inforce.digest)) if window.key.tenant is None else None

    def _compare(self, vectors: Floats, scores: Floats, inforce: InForce, before: Judgement | None = None) -> Judgement:
        reference = inforce.reference
        if reference.thresholds_for(len(vectors)) is None:
            return judge(reference, vectors, scores, before=before)
        divergences = self._evaluator.divergences(inforce.columns, reference.columns(vectors, scores))
        return judge(reference, vectors, scores, divergences=divergences, before=before)

    def _decide(self, window: Window, inforce: InForce, judgement: Judgement) -> Decision:
        digest = window.key.model_digest
        self._recent[digest].append(window)
        # A reference that changes makes a new world; what the policy remembers is of the old one.
        world = (digest, inforce.digest)
        policy = self._policies.get(world)
        if policy is None:
            policy = self._policies[world] = Policy(self._rules, self._clock, self._states.get(world))
        self._last[world] = judgement
        early = digest in self._early
        self._early.discard(digest)
        return policy.see(judgement, early=early)

    def _of_tenant(self, judgement: Judgement) -> Decision:
        if not judgement.judged:
            return Decision("ok", f"{judgement.size} embeddings are too few to judge")
        if judgement.exceeded:
            return Decision("warning", f"unlike all tenants together: {beyond_in_words(judgement)}")
        return Decision("ok", f"nothing in {judgement.size} embeddings is beyond its threshold")

    def _attribution(self, digest: str, inforce: InForce) -> str:
        """Which tenants of the last windows drifted, in words."""
        of_tenant: defaultdict[str, list[Sighting]] = defaultdict(list)
        for window in self._recent[digest]:
            for sighting in window.sightings:
                of_tenant[sighting.embedding.tenant].append(sighting)
        drifted, few = [], 0
        for tenant, seen in sorted(of_tenant.items()):
            judgement = self._tried(partial(self._compare, *arrays(seen), inforce))
            if judgement is None or not judgement.judged:
                few += 1
            elif judgement.exceeded:
                drifted.append(f"{tenant} ({beyond_in_words(judgement)}, {judgement.size} embeddings)")
        who = f"tenants whose uploads drifted: {', '.join(drifted)}" if drifted else "no tenant drifted by itself"
        return f"{who}; {few} of {len(of_tenant)} tenants have too few uploads to judge" if few else who

    def _detector(self, digest: str, inforce: InForce) -> Novelty:
        of, detector = self._detectors.get(digest, ("", None))
        if detector is None or of != inforce.digest:
            detector = Novelty(inforce.reference)
            self._detectors[digest] = inforce.digest, detector
        return detector

    def _bet(self, digest: str, seen: Sequence[Sighting]) -> DriftReport | None:
        inforce = self._keeper.reference(digest)
        if inforce is None:
            return None
        names = [sighting.embedding.upload_id for sighting in seen]
        alert = self._detector(digest, inforce).see_many(*arrays(seen), names)
        self._metrics.evidence(digest, alert.e_value)
        if not alert.fired or digest in self._early:
            return None
        self._early.add(digest)
        words = "early warning: single uploads are unlike anything in the reference; their window is not full yet"
        so_far = Window(Key(digest, None), self._clock.now(), {}, list(seen))
        report = self._report(so_far, "warning", words, inforce)
        report = report.model_copy(update={"report_id": _early_id(report.report_id), "suspects": alert.suspects})
        self._metrics.reported(report)
        return report

    def _tried(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error("a part of an evaluation failed: %s", error)
            return None

    def _report(
        self,
        window: Window,
        status: Status,
        reason: str,
        inforce: InForce | None = None,
        found: Judgement | None = None,
    ) -> DriftReport:
        facts = window.facts()
        return DriftReport(
            report_id=report_id(window.key, facts.id),
            model_digest=window.key.model_digest,
            reference=inforce.digest if inforce is not None else "",
            tenant=window.key.tenant,
            status=status,
            reason=reason,
            components=_told(found) if found is not None else (),
            window=facts,
            at=datetime.fromtimestamp(self._clock.now(), UTC),
        )


def report_id(key: Key, window_id: str) -> str:
    """The id of the report on a window: the same for the same model, tenant and records."""
    text = "\0".join((key.model_digest, key.tenant or "", window_id))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]


def _early_id(name: str) -> str:
    """An early warning may speak of the very records that a window closes with."""
    return f"early-{name}"


def _told(judgement: Judgement) -> tuple[ComponentDrift, ...]:
    """Every figure; the shadow statistic is told and never called alarmed."""
    shadow = judgement.shadow
    return (*judgement.components, *((shadow.model_copy(update={"alarmed": False}),) if shadow is not None else ()))
