"""Judges windows: Evidently's figures against the reference's thresholds, then the policy, then a report.

Nothing here reads or writes Kafka; `drift.service` brings windows and takes reports away. One window, one report, with
the same id whenever the same records are judged again.
"""

import hashlib
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from drift.divergence import BACKWARD, FORWARD
from drift.evaluator import Evaluator
from drift.keeper import InForce, Keeper
from drift.metrics import DriftMetrics
from drift.thresholds import Thresholds
from drift.windows import Key, Window
from stream.errors import VeristreamError
from stream.events import ComponentDrift, DriftReport
from stream.ports import Clock

_log = logging.getLogger("veristream.drift")

_ID_CHARACTERS = 32
_LOOKED_BACK = 3
_NAMED = 3
_DIRECTIONS = (FORWARD, BACKWARD)

Figures = npt.NDArray[np.float64]


class Judged(NamedTuple):
    """A window, what it was compared with, and how it differs.

    Attributes:
        window: What was judged.
        inforce: What with.
        columns: float32 ``[n, C]``, the window's.
        divergences: float64 ``[2, C]``, Evidently's, forward and backward.
        thresholds: What chance reaches in a window of this size.
    """

    window: Window
    inforce: InForce
    columns: npt.NDArray[np.float32]
    divergences: Figures
    thresholds: Thresholds

    @property
    def components(self) -> tuple[ComponentDrift, ...]:
        """Every figure with its threshold."""
        exceeded = self.thresholds.exceeded(self.divergences)
        return tuple(
            ComponentDrift(
                name=name,
                statistic=statistic,
                value=float(self.divergences[direction, column]),
                threshold=float(self.thresholds.values[direction, column]),
                alarmed=bool(exceeded[direction, column]),
            )
            for column, name in enumerate(self.inforce.reference.names)
            for direction, statistic in enumerate(_DIRECTIONS)
        )


class Gallery(Protocol):
    """Makes the pages of an alarm; `drift.pages.Pages`."""

    def publish(self, report: DriftReport, judged: Judged) -> DriftReport:
        """Stores the pages and returns the report with their addresses; what cannot be made is left out."""
        ...


class Monitor:
    """Judges windows one after the other. For one thread.

    Args:
        keeper: The references.
        evaluator: Evidently.
        gallery: Makes pages of alarms.
        metrics: Who counts.
        clock: Time.
    """

    def __init__(
        self, keeper: Keeper, evaluator: Evaluator, gallery: Gallery, metrics: DriftMetrics, clock: Clock
    ) -> None:
        self._keeper = keeper
        self._evaluator = evaluator
        self._gallery = gallery
        self._metrics = metrics
        self._clock = clock
        self._recent: defaultdict[str, deque[Window]] = defaultdict(lambda: deque(maxlen=_LOOKED_BACK))

    def judge(self, window: Window) -> list[DriftReport]:
        """Judges a closed window; returns the reports to publish, the window's own last.

        What fails costs the judgement of this window and is told in its report.
        """
        begun = self._clock.monotonic()
        reports = self._judged(window)
        for report in reports:
            self._metrics.reported(report, self._clock.monotonic() - begun)
        return reports

    def _judged(self, window: Window) -> list[DriftReport]:
        digest, tenant = window.key
        inforce = self._keeper.reference(digest)
        if inforce is None:
            return [] if tenant is not None else [self._report(window, "ok", self._keeper.state(digest))]
        try:
            judged = self._compare(window, inforce)
        except VeristreamError as error:
            self._metrics.failed(error)
            _log.error("a window could not be judged: %s", error)
            return [self._report(window, "warning", f"This window could not be judged: {error.what}", inforce)]
        if judged is None:
            least = inforce.reference.thresholds[-1].n_current
            return [self._report(window, "ok", f"{len(window)} embeddings are too few to judge, under {least}", inforce)]
        if tenant is not None:
            return [self._of_tenant(judged)]
        self._recent[digest].append(window)
        return self._of_all(judged)

    def _compare(self, window: Window, inforce: InForce) -> Judged | None:
        thresholds = inforce.reference.thresholds_for(len(window))
        if thresholds is None:
            return None
        columns = inforce.reference.columns(window.vectors, window.scores)
        divergences = self._evaluator.divergences(inforce.columns, columns)
        return Judged(window, inforce, columns, divergences, thresholds)

    def _of_tenant(self, judged: Judged) -> DriftReport:
        """One tenant's uploads may differ from everybody's without anything having changed: never an alarm by itself."""
        worst = spoken(judged)
        status, words = ("warning", f"Differs from all tenants' reference: {worst}") if worst else ("ok", "As ever")
        return self._report(judged.window, status, words, judged.inforce, judged.components)

    def _of_all(self, judged: Judged) -> list[DriftReport]:
        worst = spoken(judged)
        if not worst:
            return [self._report(judged.window, "ok", "As ever", judged.inforce, judged.components)]
        report = self._report(judged.window, "alarm", worst, judged.inforce, judged.components)
        return [self._gallery.publish(report, judged)]

    def _report(
        self,
        window: Window,
        status: str,
        reason: str,
        inforce: InForce | None = None,
        components: Sequence[ComponentDrift] = (),
    ) -> DriftReport:
        facts = window.facts()
        return DriftReport.model_validate(
            {
                "report_id": report_id(window.key, facts.id),
                "model_digest": window.key.model_digest,
                "reference": inforce.digest if inforce is not None else "",
                "tenant": window.key.tenant,
                "status": status,
                "reason": reason,
                "components": components,
                "window": facts,
                "at": datetime.fromtimestamp(self._clock.now(), UTC),
            }
        )


def report_id(key: Key, window_id: str) -> str:
    """The id of the report on a window: the same for the same model, tenant and records."""
    text = "\0".join((key.model_digest, key.tenant or "", window_id))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARACTERS]


def spoken(judged: Judged) -> str:
    """The worst columns in words; empty where none exceeds its threshold."""
    alarmed = [part for part in judged.components if part.alarmed]
    alarmed.sort(key=lambda part: part.value / part.threshold, reverse=True)
    words = [f"{part.name} {part.value:.3f} over {part.threshold:.3f} in {part.statistic}" for part in alarmed[:_NAMED]]
    more = f", and {len(alarmed) - _NAMED} more" if len(alarmed) > _NAMED else ""
    return "; ".join(words) + more


