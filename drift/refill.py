"""After a restart: what an earlier life had read and not yet answered is read back from the embeddings topic."""

import contextlib
import logging
from dataclasses import dataclass, field, replace

from drift.facts import Facts
from drift.intake import Intake
from drift.labels import Labels
from drift.policy import State
from drift.rollups import group
from drift.windows import Key, Window, read_ends
from stream import messages
from stream.bookmarks import Bookmark, Bookmarks
from stream.errors import ContractError
from stream.events import DriftReport, Verdict
from stream.records import Partition
from stream.settings import Settings
from stream.snapshot import newest, read_all
from stream.topics import layout

_log = logging.getLogger("veristream.drift")

_REPORTS = 5000
_REMEMBERED = 10


def bookmarks(settings: Settings) -> Bookmarks:
    """Where the service keeps its positions."""
    return Bookmarks(settings.kafka, f"{group(settings)}-windows")


@dataclass(slots=True)
class Past:
    """What an earlier life has said, as the newest 5,000 reports tell.

    Attributes:
        ends: Where the last reported window of each model and tenant ended, whether it could be judged or not.
        states: Where the policy of each model and reference stood.
        labels_alarm_at: When the labels of each model last alarmed, seconds since the epoch.
    """

    ends: dict[Key, dict[Partition, int]] = field(default_factory=dict)
    states: dict[tuple[str, str], State] = field(default_factory=dict)
    labels_alarm_at: dict[str, float] = field(default_factory=dict)


def past(settings: Settings) -> Past:
    """Reads what an earlier life has said.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    names = layout(settings.topics)
    found = Past()
    for record in newest(settings.kafka, names["drift"].name, _REPORTS):
        try:
            report = messages.decode(record, DriftReport)
        except ContractError as error:
            _log.warning("a drift report is passed over: %s", error)
            continue
        if report.kind == "labels":
            if report.status == "alarm":
                found.labels_alarm_at[report.model_digest] = report.at.timestamp()
            continue
        # An early warning has no ends, and is no window.
        if not report.window.ends:
            continue
        found.ends[Key(report.model_digest, report.tenant)] = read_ends(report.window, names["embeddings"].name)
        if report.tenant is None and report.components:
            world = (report.model_digest, report.reference)
            found.states[world] = _after(found.states.get(world, State()), report)
    return found


def _after(state: State, report: DriftReport) -> State:
    """Where a policy stands that has said this."""
    if report.status == "recovered":
        return replace(state, alarmed=False, recent=())
    recent = (*state.recent, any(part.alarmed for part in report.components))[-_REMEMBERED:]
    if report.status == "alarm":
        return State(recent, alarmed=True, alarm_at=report.at.timestamp())
    return replace(state, recent=recent)


def refill(settings: Settings, marks: Bookmarks, intake: Intake) -> list[Window]:
    """Reads back everything between the bookmarks and where the earlier life had come; returns the windows it filled.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    topic = layout(settings.topics)["embeddings"].name
    kept = marks.read([topic])
    committed = Bookmarks(settings.kafka, group(settings))
    try:
        # Faust may have committed a little more than was bookmarked; it will not bring that again.
        passed = committed.read([topic])
    finally:
        committed.close()
    until = {tp: max(mark.unseen, passed.get(tp, mark).needed) for tp, mark in kept.items()}
    until |= {tp: mark.needed for tp, mark in passed.items() if tp not in kept}
    starts = {tp: kept[tp].needed if tp in kept else 0 for tp in until}
    return _read(settings, topic, intake, starts=starts, until=until, kept=kept)


def recall(settings: Settings, facts: Facts, labels: Labels) -> None:
    """Reads back the newest verdicts, and the labels that an earlier life had joined with them.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    names = layout(settings.topics)
    verdicts, feedback = names["verdicts"], names["feedback"]
    for record in newest(settings.kafka, verdicts.name, -(-settings.drift.verdicts // verdicts.partitions)):
        with contextlib.suppress(ContractError):  # told when it was first read
            facts.remember(messages.decode(record, Verdict))
    committed = Bookmarks(settings.kafka, group(settings))
    try:
        taken = committed.read([feedback.name])
    finally:
        committed.close()
    if not taken:
        return
    known = newest(settings.kafka, feedback.name, -(-settings.drift.verdicts // feedback.partitions))
    earlier = [record for record in known if record.tp in taken and record.offset < taken[record.tp].needed]
    for record in sorted(earlier, key=lambda record: record.timestamp_ms):
        labels.recall(record)


def _read(
    settings: Settings,
    topic: str,
    intake: Intake,
    *,
    starts: dict[Partition, int],
    until: dict[Partition, int],
    kept: dict[Partition, Bookmark],
) -> list[Window]:
    behind = {tp for tp, offset in until.items() if offset > starts[tp]}
    closed: list[Window] = []
    count = 0
    if not behind:
        return closed
    for record in read_all(settings.kafka, [topic], after=starts):
        tp = record.tp
        if record.offset >= until.get(tp, 0):
            behind.discard(tp)
            if not behind:
                break
            continue
        count += 1
        closed += intake.refill(record, seen=record.offset < (kept[tp].unseen if tp in kept else 0))
    _log.info("%d embeddings were read back, %d windows were full", count, len(closed))
    return closed
