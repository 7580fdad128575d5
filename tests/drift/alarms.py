"""Alarms with their pages, as the monitor leaves them, without the minute in which they come about."""

from datetime import UTC, datetime, timedelta

import numpy as np

from drift.facts import Facts
from drift.judgement import judge
from drift.keeper import InForce
from drift.metrics import DriftMetrics
from drift.monitor import Alarm
from drift.pages import Pages
from drift.reference import Reference
from drift.windows import Key, Sighting, Window, arrays
from stream import messages
from stream.blobs import open_store
from stream.embeddings import Embedding
from stream.events import DriftReport
from stream.kafka import KafkaProducer
from stream.records import Partition
from stream.settings import Settings
from tests.drift import worlds

AT = datetime(2026, 1, 1, tzinfo=UTC)
PAGE = b"<html>what Evidently found</html>"


class Printer:
    """Stands for the process that runs Evidently."""

    def page(self, *_: object, **__: object) -> bytes:
        """Returns a page at once."""
        return PAGE


def alarm(
    reference: Reference,
    *windows: tuple[worlds.Floats, worlds.Floats],
    number: int = 0,
    suspects: tuple[str, ...] = (),
) -> Alarm:
    """An alarm on the last of some windows in a row, each given by its embeddings and scores."""
    at, partition, judgement = AT + timedelta(hours=number), Partition("embeddings", 0), None
    for vectors, scores in windows:
        seen = [
            Sighting(
                Embedding(f"u{place}", vector.astype(np.float16), worlds.DIGEST, float(score), "t", at),
                partition,
                place,
            )
            for place, (vector, score) in enumerate(zip(vectors, scores, strict=True))
        ]
        judgement = judge(reference, *arrays(seen), before=judgement)
    window = Window(Key(worlds.DIGEST, None), 0.0, {partition: len(seen)}, seen)
    report = DriftReport(
        report_id=f"{number:032x}", model_digest=worlds.DIGEST, status="alarm", reason="the residual drifted",
        window=window.facts(), suspects=suspects, at=at,
    )  # fmt: skip
    return Alarm(report, window, InForce(reference, reference.digest, reference.own_columns()), judgement)


def publish(settings: Settings, number: int, facts: Facts | None = None, suspects: tuple[str, ...] = ()) -> DriftReport:
    """Makes an alarm's pages, and puts its report on the drift topic."""
    pages = Pages(settings, open_store(settings.blobs), Printer(), facts or Facts(10), DriftMetrics())
    drifted = worlds.contaminated(worlds.WINDOW, seed=number, share=0.4)
    told = pages.publish(alarm(worlds.reference(), drifted, number=number, suspects=suspects))
    producer = KafkaProducer(settings.kafka, client_id="test")
    producer.send(messages.encode(told, topic="drift", key=told.model_digest, source="t", time=told.at))
    producer.flush(10)
    producer.close()
    return told
