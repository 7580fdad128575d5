"""A running session as a snapshot for the dashboard."""

from collections.abc import Mapping
from typing import Any

from compose.scrape import WorkerMetrics
from compose.session import Session
from compose.share import Share
from compose.snapshot import FamilyLine, Setting, Snapshot, WorkerLine
from stream.events import TruthName


def observe(session: Session, setting: Setting, metrics: WorkerMetrics | None) -> Snapshot:
    """Takes a snapshot.

    Args:
        session: What is shown.
        setting: What does not change about it.
        metrics: What the worker last said of itself; None before its first word.
    """
    meter = session.meter
    score, histories, model = meter.score(), meter.histories(), meter.model
    return Snapshot(
        setting=setting,
        elapsed_s=meter.elapsed_s,
        phase=meter.phase,
        uploads=score["uploads"],
        verdicts=score["verdicts"],
        outstanding=score["lost"],
        duplicated=score["duplicated"],
        dlq=score["dlq"],
        uploads_per_s=histories.uploads,
        verdicts_per_s=histories.verdicts,
        median_ms=histories.median_ms,
        latency=meter.recent_latency(),
        accuracy=_share(score, "accuracy", score["joined"] - score["uncertain"]),
        fpr=_share(score, "fpr", score["joined"]),
        coverage=_share(score, "coverage", score["joined"]),
        families=tuple(_family(name, tally) for name, tally in score["by_family"].items()),
        recent=meter.last_verdicts(),
        worker=WorkerLine(
            state=session.state,
            pid=session.worker_pid,
            restarts=session.restarts,
            provider=model.provider if model else session.ready.provider,
            memory_mib=session.worker_memory_mib,
            batches=metrics.batches if metrics else (),
            batch_mean=metrics.batch_mean if metrics else None,
            lag=metrics.lag if metrics else None,
        ),
        loop=session.loop.view() if session.loop else None,
    )


def _share(score: Mapping[str, Any], name: str, of: int) -> Share:
    low, high = score[f"{name}_ci95"] or (None, None)
    return Share(score[name], low, high, of)


def _family(name: str, tally: Mapping[str, Any]) -> FamilyLine:
    # A family is all photographs or all machine-made, so only one kind of it can have raised a false alarm.
    decided = tally["uploads"] - tally["uncertain"]
    right = round((tally["accuracy"] or 0.0) * decided)
    truth: TruthName = "ai_generated" if tally["fpr"] is None else "authentic"
    return FamilyLine(name, truth, right, decided - right, tally["uncertain"])
