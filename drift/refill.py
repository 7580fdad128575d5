"""After a restart: what an earlier life had read and not yet answered is read back from the embeddings topic."""

import logging

from drift.intake import Intake
from drift.rollups import group
from drift.windows import Key, Window, Windows, read_ends
from stream import messages
from stream.bookmarks import Bookmark, Bookmarks
from stream.errors import ContractError
from stream.events import DriftReport
from stream.records import Partition
from stream.settings import Settings
from stream.snapshot import newest, read_all
from stream.topics import layout

_log = logging.getLogger("veristream.drift")

_REPORTS = 5000


def bookmarks(settings: Settings) -> Bookmarks:
    """Where the service keeps its positions."""
    return Bookmarks(settings.kafka, f"{group(settings)}-windows")


def reported_ends(settings: Settings) -> dict[Key, dict[Partition, int]]:
    """Where the last window of each model and tenant ended, as the newest 5,000 reports tell.

    Reports without a reference tell nothing: their windows were not judged.

    Raises:
        BrokerError: The broker does not answer, or refuses.
    """
    names = layout(settings.topics)
    ends: dict[Key, dict[Partition, int]] = {}
    for record in newest(settings.kafka, names["drift"].name, _REPORTS):
        try:
            report = messages.decode(record, DriftReport)
        except ContractError as error:
            _log.warning("a drift report is passed over: %s", error)
            continue
        if report.kind == "embeddings" and report.reference:
            ends[Key(report.model_digest, report.tenant)] = read_ends(report.window, names["embeddings"].name)
    return ends


def refill(settings: Settings, marks: Bookmarks, windows: Windows, intake: Intake) -> list[Window]:
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
    return _read(settings, topic, windows, intake, starts, until, kept)


def _read(
    settings: Settings,
    topic: str,
    windows: Windows,
    intake: Intake,
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
