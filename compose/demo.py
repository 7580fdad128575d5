"""The demo: a session played to a person, on a dashboard, or to a script, as one report."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from compose.dashboard import Dashboard
from compose.observation import observe
from compose.report import report
from compose.scrape import WorkerMetrics
from compose.session import Session, Traffic
from compose.snapshot import Setting, Snapshot
from producers.traffic import scenario as scenarios
from producers.traffic.generator import limited
from producers.traffic.plan import Plan
from producers.traffic.scenario import Scenario
from producers.traffic.supply import open_pictures
from stream.settings import Settings

_FRAME_S = 0.25
_LOOK_S = 1.0
_LAST_VERDICT_S = 60.0
# Whoever writes a verdict twice does it within a transaction's time or two.
_LATE_S = 0.5

Shown = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to play.

    Attributes:
        broker: ``embedded``, ``kafka`` or ``HOST:PORT``.
        scenario: Name of a built-in scenario, or a .yaml file.
        rate: Mean uploads per second, in place of the scenario's own.
        events: Uploads after which it ends; None for until it is interrupted.
        images: One's own pictures, in place of the built-in scenes.
        seed: Same seed, same traffic.
    """

    broker: str
    scenario: str
    rate: float | None
    events: int | None
    images: Path | None
    seed: int


def run(
    plan: DemoPlan, settings: Settings, *, on_step: Callable[[str], None], on_snapshot: Shown | None
) -> dict[str, Any]:
    """Plays the demo and returns its report.

    With ``events`` it ends by itself once every upload is settled, or a minute after the last upload was sent. Without,
    it goes on until it is interrupted, and the report is of what was there until then.

    Args:
        plan: What to play.
        settings: What the session does not decide for itself.
        on_step: Told in words what is being started.
        on_snapshot: Given a snapshot four times a second; None where nobody looks.

    Raises:
        VeristreamError: Something did not come up, or the worker or the traffic ended early.
    """
    with (
        open_pictures(plan.images, settings.blobs) as pictures,
        # Pictures go as claim checks: an embedded partition holds 5 MiB.
        Session(plan.broker, settings, inline_limit=0, on_step=on_step) as session,
    ):
        play = _scenario(plan)
        planned = Plan(play, pictures.families(), seed=plan.seed, endless=True)
        traffic = session.play(limited(planned, events=plan.events), pictures, seed=plan.seed)
        try:
            watch(session, traffic, _setting(plan, session), on_snapshot)
        except KeyboardInterrupt:
            if plan.events is not None:
                raise
        finally:
            traffic.stop()
        # An interrupted demo has uploads under way; they are given a moment and are not called lost.
        session.meter.wait_outstanding(0, _LATE_S if plan.events is None else 0.0)
        sent = traffic.finish()
        return report(session, broker=plan.broker, seed=plan.seed, sending={"scenario": play.name, **sent.report()})


def watch(session: Session, traffic: Traffic, setting: Setting, on_snapshot: Shown | None) -> None:
    """Looks at a session until all that was sent is settled, or a minute after the last upload."""
    metrics: WorkerMetrics | None = None
    looked_at = -math.inf
    give_up = math.inf
    for frame in itertools.count():
        session.check()
        now = time.monotonic()
        if now - looked_at >= _LOOK_S:
            session.memory.sample(session.worker_pid)
            metrics, looked_at = session.worker_metrics() or metrics, now
        if on_snapshot is not None:
            on_snapshot(observe(session, setting, metrics))
        if not traffic.playing:
            give_up = min(give_up, now + _LAST_VERDICT_S)
            if now > give_up or session.meter.wait_outstanding(0, _FRAME_S):
                time.sleep(_LATE_S)
                return
        del frame
        time.sleep(_FRAME_S)


def _scenario(plan: DemoPlan) -> Scenario:
    play = scenarios.load(plan.scenario)
    return play if plan.rate is None else play.at_rate(plan.rate)


def _setting(plan: DemoPlan, session: Session) -> Setting:
    services = session.services
    cache = "" if services.redis else "no Redis, no verdict cache"
    return Setting(
        broker=services.broker,
        pictures="simulated scenes, not real photographs" if plan.images is None else f"pictures from {plan.images}",
        bundle_name=session.ready.bundle_name,
        bundle_digest=session.ready.bundle_digest,
        delivery=session.settings.worker.delivery,
        limits=" · ".join(part for part in (services.limits, cache, "one worker, this machine's figures") if part),
    )


class Screen:
    """The terminal as the dashboard's screen, for as long as the ``with`` block lasts."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Shown:
        self._live.__enter__()
        return lambda snapshot: self._live.update(Dashboard(snapshot), refresh=True)

    def __exit__(self, *failure: Any) -> None:
        self._live.__exit__(*failure)
