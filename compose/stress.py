"""The stress test: a session held to stated limits, while its worker is killed.

What is measured, and how:

* **Sustained throughput** (``images_per_s``): verdicts over the time from the first upload's event to the last
  verdict's arrival at a read-committed reader, kills and restarts included, a short warm-up before it left out.
* **Latency**: from the event's time of occurrence to that reader, so broker, queue, commit and delivery all count.
* With ``rate`` 0 the next upload is sent when fewer than ``outstanding`` are without a verdict: the rate is then what
  the worker takes, and latency says how deep that queue is. With a rate, arrivals are Poisson; they are held back only
  where 256 are outstanding, which is well under what an embedded broker keeps.
* **Lost, duplicated**: uploads with neither verdict nor dead letter by the deadline; verdicts beyond an upload's first.

Client, broker and worker share this machine, so the client does little: pictures are rendered beforehand, and every
upload costs one small change of its bytes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compose.memory import MemoryCourse
from compose.meter import Meter
from compose.prepared import PreparedPictures
from compose.report import Limits, breaches, report
from compose.services import EMBEDDED
from compose.session import Session, Traffic
from producers.traffic.plan import Plan, Planned
from producers.traffic.scenario import Phase, Scenario
from producers.traffic.supply import open_pictures
from stream.settings import Settings

_PICTURES = 64
_WARM_UP = 64
_MOST_OUTSTANDING = 256
_TICK_S = 0.05
_SAMPLE_S = 0.5
_LATE_S = 2.0
_WARM_UP_S = 60.0
_NOT_PROMISED = (
    "Duplicates were counted and not judged: the embedded broker does not isolate transactions, and at-least-once "
    "delivery may repeat after a kill. Judge exactly-once with --broker kafka."
)


@dataclass(frozen=True, slots=True)
class StressPlan:
    """What to send and what to break.

    Attributes:
        broker: ``embedded``, ``kafka`` or ``HOST:PORT``.
        rate: Mean uploads per second; 0 for as fast as the worker takes them.
        events: Uploads measured.
        kills: How often the worker gets SIGKILL, spread evenly over the uploads.
        seed: Same seed, same pictures and arrivals.
        size: Side of the pictures, pixels.
        outstanding: With rate 0, uploads on their way at any time.
        deadline_s: How long the last verdicts may take after the last upload.
        images: One's own pictures, in place of the built-in scenes.
    """

    broker: str
    rate: float
    events: int
    kills: int
    seed: int
    size: int
    outstanding: int
    deadline_s: float
    images: Path | None


def run(plan: StressPlan, limits: Limits, settings: Settings, *, on_step: Callable[[str], None]) -> dict[str, Any]:
    """Runs the test and returns the report, with ``ok`` and ``breaches``.

    Raises:
        VeristreamError: Something did not come up, or the worker or the traffic ended early.
    """
    on_step("rendering pictures")
    with open_pictures(plan.images, settings.blobs) as supply:
        pictures = PreparedPictures(supply, size=plan.size, count=_PICTURES, seed=plan.seed)
    inline = settings.blobs.inline_limit
    with Session(plan.broker, settings, inline_limit=inline, on_step=on_step) as session:
        on_step("warming up")
        _warm_up(session, pictures, plan)
        session.meter, session.memory = Meter(), MemoryCourse()
        bound = _MOST_OUTSTANDING if plan.rate else plan.outstanding
        traffic = session.play(_uploads(plan, pictures, plan.events), pictures, seed=plan.seed, outstanding=bound)
        try:
            _watch(session, traffic, plan, on_step)
        finally:
            traffic.stop()
        sent = traffic.finish().report()
        found = report(session, broker=plan.broker, seed=plan.seed, sending=sent)
    notes = []
    if plan.kills and not _promises_once(plan, settings):
        limits, notes = replace(limits, max_duplicated=None), [_NOT_PROMISED]
    broken = breaches(found, limits)
    pictured = {"size": plan.size, "different": _PICTURES, "mean_bytes": round(pictures.mean_bytes)}
    return {"ok": not broken, "breaches": broken, "kills": plan.kills, **found, "pictures": pictured, "notes": notes}


def _promises_once(plan: StressPlan, settings: Settings) -> bool:
    return plan.broker != EMBEDDED and settings.worker.delivery == "exactly_once"


def _warm_up(session: Session, pictures: PreparedPictures, plan: StressPlan) -> None:
    """The worker learns its batch costs, joins its group and fills its caches before anything counts."""
    uploads = _uploads(plan, pictures, _WARM_UP)
    traffic = session.play(
        (planned._replace(at_s=0.0) for planned in uploads), pictures, seed=-1, outstanding=plan.outstanding
    )
    traffic.finish()
    session.meter.wait_outstanding(0, _WARM_UP_S)
    session.check()


def _watch(session: Session, traffic: Traffic, plan: StressPlan, on_step: Callable[[str], None]) -> None:
    """Kills, samples memory and waits: for the end of sending, then for the last verdict or the deadline."""
    due = [plan.events * (number + 1) // (plan.kills + 1) for number in range(plan.kills)]
    sampled_at = give_up = None
    while True:
        session.check()
        now = time.monotonic()
        sent = session.meter.uploads
        if due and sent >= due[0]:
            due.pop(0)
            on_step(f"killing the worker after {sent:,} uploads")
            session.kill_worker()
        if sampled_at is None or now - sampled_at >= _SAMPLE_S:
            session.memory.sample(session.worker_pid)
            sampled_at = now
            on_step(f"{sent - session.meter.outstanding:,} of {plan.events:,} uploads settled")
        if not traffic.playing:
            give_up = give_up or now + plan.deadline_s
            if now > give_up or (not due and session.meter.wait_outstanding(0, _TICK_S)):
                break
        time.sleep(_TICK_S)
    # A worker that came back late may still write what another one wrote before it.
    time.sleep(_LATE_S if plan.kills else _TICK_S)
    session.memory.sample(session.worker_pid)


def _uploads(plan: StressPlan, pictures: PreparedPictures, events: int) -> Iterable[Planned]:
    phase = Phase(
        name="stress", events=events, rate=plan.rate or 1.0, fake_share=0.5, tiers={"clean": 1}, personas={"casual": 1}
    )
    planned = Plan(Scenario(name="stress", phases=(phase,)), pictures.families(), seed=plan.seed, endless=False)
    return _fresh(planned, at_once=not plan.rate)


def _fresh(plan: Iterable[Planned], *, at_once: bool) -> Iterator[Planned]:
    """The plan without reposts, which the verdict cache would answer."""
    for planned in plan:
        post = replace(planned.post, repeat="fresh")
        yield planned._replace(post=post, at_s=0.0 if at_once else planned.at_s)
