"""A loop played by script: every event that the real processes would publish, in order."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

from compose.loop_view import LoopView, ProcessView
from compose.story import Story
from stream.events import (
    ComponentDrift,
    DriftReport,
    Event,
    Label,
    ModelRef,
    RetrainStep,
    SlotChange,
    Window,
)
from tests.compose.events import truth, verdict

START = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = "aa11bb22" * 8, "cc33dd44" * 8
FAMILY = "grain"
GATE = {
    "golden_fpr_champion": 0.03,
    "golden_fpr_challenger": 0.011,
    "slice_balanced_accuracy_champion": 0.64,
    "slice_balanced_accuracy_challenger": 0.962,
}
ENTERS_S, PROMOTED_S = 60.0, 150.0


def at(seconds: float) -> datetime:
    """A moment of the script."""
    return START + timedelta(seconds=seconds)


def report(seconds: float, status: str, *values: float, digest: str = OLD, **more: object) -> DriftReport:
    """An evaluation of components 1, 2, …, the residual norm and the score, in that order, against 0.1 each."""
    names = [*(f"component {number + 1}" for number in range(len(values) - 2)), "residual", "score"]
    names = names[-len(values) :] if values else []
    parts = tuple(
        ComponentDrift(name=name, statistic="kl_div", value=value, threshold=0.1, alarmed=value > 0.1)
        for name, value in zip(names, values, strict=True)
    )
    facts = {"report_id": f"r{seconds}", "model_digest": digest, "status": status, "components": parts}
    return DriftReport(**facts, window=Window(size=300), at=at(seconds), **more)


def step(seconds: float, kind: str, **more: object) -> RetrainStep:
    """A step of the one job."""
    return RetrainStep(job_id="4f" * 8, step=kind, parent=OLD, at=at(seconds), **more)


def slot(seconds: float, name: str, digest: str | None, share: float = 1.0) -> SlotChange:
    """A slot change."""
    uri = f"file:///bundles/{digest}/bundle.tar" if digest else None
    return SlotChange(slot=name, uri=uri, digest=digest, traffic_share=share, at=at(seconds))


def label(seconds: float, number: int) -> Label:
    """A simulated moderator's label."""
    what = "ai_generated" if number % 2 else "authentic"
    return Label(upload_id=f"u{number}", label=what, origin="simulated", reviewer="moderator-3", at=at(seconds))


def loop_events(*, refused: bool = False) -> Iterator[tuple[float, Event]]:
    """What the loop's processes publish, each with its second."""
    quiet = (0.03, 0.02, 0.05, 0.04, 0.01)
    for second in (20.0, 35.0, 50.0):
        yield second, report(second, "ok", *quiet)
    yield 68.0, report(68, "warning", 0.14, 0.05, 0.09, 0.06, 0.12)
    yield 74.0, report(74, "alarm", 0.31, 0.08, 0.12, 0.19, 0.22, suspects=("u1", "u2"))
    yield from ((75.0 + 0.1 * number, label(75 + 0.1 * number, number)) for number in range(40))
    yield 80.0, step(80, "requested", trigger="drift", reason="component 1, score and residual drifted")
    yield 84.0, step(84, "dataset_built", figures={"labels": 412, "replay": 800, "held_out": 103})
    yield 93.0, step(93, "trained", model_digest=NEW, figures={"auc_slice_before": 0.716, "auc_slice": 0.981})
    yield (
        97.0,
        step(97, "evaluated", model_digest=NEW, reason="the gate let it pass" if not refused else "", figures=GATE),
    )
    if refused:
        reasons = (
            "false-positive rate on the golden set rose from 1.1 % to 9.8 %",
            "slice photographs lost 6.2 points",
        )
        yield 98.0, step(98, "refused", model_digest=NEW, reasons=reasons)
        return
    yield 98.0, step(98, "registered", model_digest=NEW)
    yield 99.0, slot(99, "shadow", NEW)
    yield 99.1, step(99.1, "shadow", model_digest=NEW)
    yield 120.0, slot(120, "shadow", None)
    yield 120.1, slot(120.1, "challenger", NEW, 0.2)
    yield 120.2, step(120.2, "canary", model_digest=NEW, reason="1,050 uploads in shadow, no harm seen")
    yield PROMOTED_S, slot(PROMOTED_S, "champion", NEW)
    yield PROMOTED_S, slot(PROMOTED_S, "challenger", None)
    yield PROMOTED_S, slot(PROMOTED_S, "previous", OLD)
    yield PROMOTED_S + 0.1, step(PROMOTED_S + 0.1, "promoted", model_digest=NEW)
    yield 200.0, report(200, "ok", *quiet, digest=NEW)


def traffic(seconds: float = 240.0, rate: float = 10.0) -> Iterator[tuple[float, tuple[object, object]]]:
    """Truths and verdicts: the old model sees one in three of the new family, the new one all but one in twenty."""
    for number in range(int(seconds * rate)):
        second = number / rate
        entered, promoted = second >= ENTERS_S, second >= PROMOTED_S
        kind = number % 4
        family = FAMILY if entered and kind == 0 else ("nearest" if kind in (0, 1) else "camera")
        what = truth(
            f"u{number}", at=at(second), family=family, label="authentic" if family == "camera" else "ai_generated"
        )
        canary = 120.2 <= second < PROMOTED_S and number % 5 == 0
        digest = NEW if promoted or canary else OLD
        right = number // 4 % 20 != 0 if digest == NEW else number // 4 % 3 == 0
        if family == "camera":
            says = "ai_generated" if number % 100 == 2 else "authentic"
        elif family == FAMILY:
            says = "ai_generated" if right else "uncertain"
        else:
            says = "ai_generated"
        said = verdict(f"u{number}", at=at(second), decided=at(second + 0.03), says=says)
        model = ModelRef(name="tiny", version="1", digest=digest, provider="CPUExecutionProvider", precision="fp32")
        yield second, (what, said.model_copy(update={"model": model, "arm": "challenger" if canary else "champion"}))


@cache
def _everything(refused: bool) -> list[tuple[float, object]]:
    return sorted([*traffic(), *loop_events(refused=refused)], key=lambda entry: entry[0])


def told(until_s: float = 240.0, *, refused: bool = False) -> Story:
    """A story that has heard everything up to a second."""
    story = Story([FAMILY])
    story.begin(OLD)
    for second, what in _everything(refused):
        if second > until_s:
            break
        tell(story, what)
    return story


def tell(story: Story, what: object) -> None:
    """Gives one thing to whoever takes it."""
    if isinstance(what, tuple):
        story.sent(what[0])
        story.judged(*what)
    else:
        takers = {
            DriftReport: story.drifted, RetrainStep: story.stepped, SlotChange: story.slotted, Label: story.labelled
        }  # fmt: skip
        takers[type(what)](what)


def view(until_s: float = 240.0, *, refused: bool = False) -> LoopView:
    """The same as a view, with the loop's processes."""
    processes = (ProcessView("drift", "ready", 12, 412.0), ProcessView("retrain", "ready", 13, 180.2))
    return replace(told(until_s, refused=refused).view(), processes=processes)
