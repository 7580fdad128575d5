"""When a new model is wanted: drift, a proven fall on labels, a schedule, a quota of labels. Pure: no clock, no topics.

A trigger names a window, and model, reference and window name the job. So the same cause asks for the same job,
whoever notices it and however often, and a job that was refused is not asked for again by the window that asked first.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from retrain.champion import Champion
from retrain.history import History
from retrain.jobs import JobRequest
from stream.events import DriftReport
from stream.settings import RetrainSettings

_Key = tuple[str | None, str]


class Triggers:
    """Remembers which alarms stand, and says when a job is due.

    Args:
        settings: Cool-down, schedule, quota, and what kind of job is started.
    """

    def __init__(self, settings: RetrainSettings) -> None:
        self._settings = settings
        self._standing: dict[str, dict[_Key, DriftReport]] = {}

    def see(self, report: DriftReport) -> None:
        """Takes a drift report. An alarm stands until its model and tenant are reported well again."""
        standing = self._standing.setdefault(report.model_digest, {})
        if report.status == "alarm":
            standing[report.tenant, report.kind] = report
        elif report.status in ("ok", "recovered"):
            standing.pop((report.tenant, report.kind), None)

    def standing(self, champion: str) -> tuple[DriftReport, ...]:
        """Alarms of a model that stand; those over all tenants first, then the oldest."""
        found = self._standing.get(champion, {}).values()
        return tuple(sorted(found, key=lambda report: (report.tenant is not None, report.at, report.report_id)))

    def due(self, champion: Champion, history: History, now: datetime, *, fresh_labels: int = 0) -> JobRequest | None:
        """The job that is to be started now, if any.

        Args:
            champion: The model in force.
            history: Every job so far.
            now: The time.
            fresh_labels: Labelled uploads since `quota_since`.
        """
        ended = history.ended_at
        if history.open is not None or (
            ended is not None and now < ended + timedelta(seconds=self._settings.cooldown_s)
        ):
            return None
        wanted = self._wanted(champion, self.quota_since(champion, history), now, fresh_labels)
        return next((request for request in wanted if request.job_id not in history.jobs), None)

    def quota_since(self, champion: Champion, history: History) -> datetime:
        """From when the schedule and the quota count: the last job's end, or since the champion speaks."""
        ended = history.ended_at
        return champion.since if ended is None else max(champion.since, ended)

    def _wanted(self, champion: Champion, base: datetime, now: datetime, fresh_labels: int) -> Iterator[JobRequest]:
        """Every cause that there is, the most urgent first."""
        for report in self.standing(champion.digest):
            yield self._of_alarm(champion, report, now)
        if self._settings.quota and fresh_labels >= self._settings.quota:
            trigger = f"labels: {fresh_labels} labelled uploads since {base:%Y-%m-%d %H:%M}, of {self._settings.quota}"
            yield _request(champion, f"labels since {base.isoformat()}", now, trigger, self._settings)
        waited = (now - base).total_seconds()
        if self._settings.every_s and waited >= self._settings.every_s:
            trigger = f"schedule: nothing was retrained for {waited / 86_400:.1f} days"
            yield _request(champion, f"schedule since {base.isoformat()}", now, trigger, self._settings)

    def _of_alarm(self, champion: Champion, report: DriftReport, now: datetime) -> JobRequest:
        cause = "drift" if report.kind == "embeddings" else "degradation"
        whose = f" of tenant {report.tenant}" if report.tenant else ""
        why = report.reason or ", ".join(part.name for part in report.components if part.alarmed) or "alarm"
        return JobRequest(
            model_digest=champion.digest,
            model_uri=champion.uri,
            reference=report.reference,
            window=report.window.id or report.report_id,
            kind=self._settings.kind,
            trigger=f"{cause}{whose}: {why}",
            # A window of labels reaches back to before the fall; what is to be learned is what came since.
            since=report.window.first_at if report.kind == "embeddings" else report.window.last_at,
            at=now,
        )


def by_person(champion: Champion, name: str, now: datetime, *, settings: RetrainSettings) -> JobRequest:
    """The job that a person asks for; every asking is one of its own.

    Args:
        champion: The model in force.
        name: Who asks, or why.
        now: The time.
        settings: What kind of job is started.
    """
    return _request(champion, f"person {now.astimezone(UTC).isoformat()}", now, f"person: {name}", settings)


def _request(champion: Champion, window: str, now: datetime, trigger: str, settings: RetrainSettings) -> JobRequest:
    return JobRequest(
        model_digest=champion.digest, model_uri=champion.uri, window=window, kind=settings.kind,
        trigger=trigger, at=now,
    )  # fmt: skip
