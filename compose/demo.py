"""The demo: a session played to a person, on a dashboard, or to a script, as one report."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from compose import loop_settings
from compose.dashboard import Dashboard
from compose.golden import GoldenSet
from compose.loop import Loop
from compose.loop_report import loop_report
from compose.loop_view import Beat
from compose.observation import observe
from compose.report import report
from compose.scrape import WorkerMetrics
from compose.session import Session, Traffic
from compose.snapshot import Setting, Snapshot
from compose.story import Story
from compose.telling import moment
from compose.until import Until, missed, out_of_reach, reached
from producers.traffic import scenario as scenarios
from producers.traffic.generator import limited
from producers.traffic.plan import Plan
from producers.traffic.scenario import Scenario
from producers.traffic.supply import open_pictures
from stream.errors import ConfigurationError
from stream.settings import Settings

log = logging.getLogger("veristream.demo")

_FRAME_S = 0.25
_LOOK_S = 1.0
_LAST_VERDICT_S = 60.0
# Where the machine cannot keep up, the traffic slows down. What waits for a minute would be told as lost.
_MOST_OUTSTANDING = 256
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
        until: Point in the loop at which it ends; None where it does not wait for any.
        timeout_s: How long it may take to get there, from the start of everything.
    """

    broker: str
    scenario: str
    rate: float | None
    events: int | None
    images: Path | None
    seed: int
    until: Until | None = None
    timeout_s: float = 600.0

    @property
    def counted(self) -> bool:
        """Whether it ends by itself, so that whatever is not settled then is lost."""
        return self.events is not None or self.until is not None


def run(
    plan: DemoPlan, settings: Settings, *, on_step: Callable[[str], None], on_snapshot: Shown | None
) -> dict[str, Any]:
    """Plays the demo and returns its report.

    A scenario that says who labels its uploads is played with the whole loop: the drift monitor and the retraining
    coordinator run beside the worker, set as `compose.loop_settings` says.

    With ``events`` it ends by itself once every upload is settled, or a minute after the last upload was sent; with
    ``until`` at that point of the loop or when its time is over, and then likewise. With neither, it goes on until it
    is interrupted, and the report is of what was there until then.

    Args:
        plan: What to play.
        settings: What the session does not decide for itself.
        on_step: Told in words what is being started.
        on_snapshot: Given a snapshot four times a second; None where nobody looks.

    Raises:
        ConfigurationError: ``until`` asks for the loop and the scenario has none.
        VeristreamError: Something did not come up, or a process or the traffic ended early.
    """
    begun = time.monotonic()
    play = _scenario(plan)
    looped = play.moderators is not None
    if plan.until is not None and not looped:
        remedy = "Use --scenario new-family or poisoned-labels, or give yours moderators"
        what = f"nobody labels anything in scenario {play.name}, so it never comes to “{plan.until}”"
        raise ConfigurationError(what, where="--until", remedy=remedy)
    settings = loop_settings.of(settings) if looped else settings
    with ExitStack() as stack:
        # The gate of one's own pictures needs a golden set of one's own.
        render = looped and plan.images is None and not settings.retrain.golden
        golden = stack.enter_context(GoldenSet()) if render else None
        on_step("rendering scenes" if plan.images is None else "reading pictures")
        pictures = stack.enter_context(open_pictures(plan.images, settings.blobs))
        if golden is not None:
            settings = loop_settings.judged_by(settings, golden.wait())
        planned = Plan(play, pictures.families(), seed=plan.seed, endless=True)
        story = Story(planned.newcomers, _say) if looped else None
        # Pictures go as claim checks: an embedded partition holds 5 MiB.
        with Session(plan.broker, settings, inline_limit=0, on_step=on_step, story=story) as session:
            traffic = session.play(
                limited(planned, events=plan.events),
                pictures,
                seed=plan.seed,
                outstanding=_MOST_OUTSTANDING,
                moderation=play.moderators,
            )
            ending = Ending(plan.until, begun + plan.timeout_s) if plan.until is not None else None
            try:
                watch(session, traffic, _setting(plan, session), on_snapshot, ending)
            except KeyboardInterrupt:
                if plan.counted:
                    raise
            finally:
                traffic.stop()
            # An interrupted demo has uploads under way; they are given a moment and are not called lost.
            session.meter.wait_outstanding(0, 0.0 if plan.counted else _LATE_S)
            sent = traffic.finish()
            sending = {"scenario": play.name, **sent.report()}
            return {
                **report(session, broker=plan.broker, seed=plan.seed, sending=sending),
                **(_told(session.loop, session.settings, plan, ending) if session.loop is not None else {}),
            }


@dataclass(slots=True)
class Ending:
    """The point in the loop at which a run ends, and whether it was reached in time.

    Attributes:
        until: The point.
        deadline: Monotonic time by which it must be reached.
        reached: Whether it was.
        seen_at: Monotonic time at which waiting ended; None while it goes on.
    """

    until: Until
    deadline: float
    reached: bool = False
    seen_at: float | None = None

    def over(self, session: Session, now: float) -> bool:
        """Looks at the loop; whether there is nothing more to wait for."""
        if self.seen_at is None and session.loop is not None:
            view = session.loop.view()
            self.reached = now <= self.deadline and reached(view, self.until)
            if self.reached or now > self.deadline or out_of_reach(view, self.until):
                self.seen_at = now
        return self.seen_at is not None


def watch(
    session: Session, traffic: Traffic, setting: Setting, on_snapshot: Shown | None, ending: Ending | None = None
) -> None:
    """Looks at a session until all that was sent is settled, or a minute after the last upload."""
    metrics: WorkerMetrics | None = None
    looked_at = -math.inf
    give_up = math.inf
    while True:
        session.check()
        now = time.monotonic()
        if now - looked_at >= _LOOK_S:
            session.sample_memory()
            metrics, looked_at = session.worker_metrics() or metrics, now
        if on_snapshot is not None:
            on_snapshot(observe(session, setting, metrics))
        if ending is not None and traffic.playing and ending.over(session, now):
            traffic.stop()
        if not traffic.playing:
            give_up = min(give_up, now + _LAST_VERDICT_S)
            if now > give_up or session.meter.wait_outstanding(0, _FRAME_S):
                time.sleep(_LATE_S)
                return
        time.sleep(_FRAME_S)


def _told(loop: Loop, settings: Settings, plan: DemoPlan, ending: Ending | None) -> dict[str, Any]:
    view = loop.view()
    told = {**loop_report(view), **loop.report(), "loop_settings": loop_settings.told(settings)}
    if ending is not None:
        why = "" if ending.reached else missed(view, ending.until, plan.timeout_s)
        told["until"] = {"point": ending.until, "timeout_s": plan.timeout_s, "reached": ending.reached, "missed": why}
    return told


def _say(beat: Beat) -> None:
    log.info("%s  %s: %s", moment(beat.seconds), beat.step.replace("_", " "), beat.text)


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
