from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.intake import Intake
from retrain.labels import Opinion
from retrain.ledger import Ledger
from stream import messages
from stream.errors import ConfigurationError
from stream.events import Label, Position, Verdict
from stream.kafka import KafkaProducer
from stream.records import Outgoing, Record
from tests.retrain.world import DIGEST, START, World, label, verdict

SECOND = START.timestamp()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "deep" / "ledger.db", retention_s=3600)
    yield ledger
    ledger.close()


def outgoing(event: Verdict | Label) -> Outgoing:
    topic = "verdicts" if isinstance(event, Verdict) else "feedback"
    return messages.encode(event, topic=topic, key=event.upload_id, source="test", time=START)


def record(event: Verdict | Label, offset: int) -> Record:
    out = outgoing(event)
    return Record(out.topic, 0, offset, 0, out.key, out.value, out.headers)


def test_a_labelled_upload_has_its_verdict_and_every_label(ledger: Ledger) -> None:
    place = Position(topic="uploads", partition=2, offset=7)
    ledger.add([verdict("u1", place=place), verdict("u2")], [label("u1"), label("u1", "authentic", "ben")])
    (case,) = ledger.labelled(DIGEST)
    assert (case.upload_id, case.tenant, case.upload_at, case.p_ai, case.arm) == ("u1", "acme", place, 0.25, "champion")
    at = (START + timedelta(minutes=1)).timestamp()
    assert case.opinions == (
        Opinion("u1", "ai_generated", "moderator", "ann", at),
        Opinion("u1", "authentic", "moderator", "ben", at),
    )


def test_a_label_waits_for_its_verdict(ledger: Ledger) -> None:
    ledger.add(labels=[label("u1")])
    assert (ledger.waiting(), list(ledger.labelled())) == (1, [])
    ledger.add([verdict("u1")])
    assert (ledger.waiting(), [case.upload_id for case in ledger.labelled()]) == (0, ["u1"])


def test_labelled_uploads_are_asked_for_by_model_and_time_and_come_newest_first(ledger: Ledger) -> None:
    ids = ["u0", "u1", "u2", "u3"]
    ledger.add(
        [verdict(upload_id, at=START + timedelta(minutes=number)) for number, upload_id in enumerate(ids)],
        [label(upload_id) for upload_id in ids],
    )
    assert [case.upload_id for case in ledger.labelled(since=SECOND + 60, until=SECOND + 180)] == ["u2", "u1"]
    assert not list(ledger.labelled("c" * 64))


def test_counts_are_by_label_origin_and_reviewer(ledger: Ledger) -> None:
    ledger.add(
        [verdict("u1"), verdict("u2")],
        [label("u1"), label("u2", "authentic", "ben"), label("u2", "authentic", "gold", origin="golden")],
    )
    counts = ledger.counts()
    assert counts.uploads == 2
    assert counts.by_label == {"ai_generated": 1, "authentic": 2}
    assert counts.by_origin == {"moderator": 2, "golden": 1}
    assert counts.by_reviewer == {"ann": 1, "ben": 1, "gold": 1}


def test_what_is_neither_verdict_nor_label_is_counted_and_handed_back(ledger: Ledger) -> None:
    bad = Record("feedback", 0, 4, 0, b"u9", b"{}", (("ce_type", messages.TYPES[Label].encode()),))
    tombstone = Record("verdicts", 0, 9, 0, b"u9", None, ())
    refused = ledger.take([record(verdict("u1"), 0), bad, tombstone, record(label("u1"), 5)])
    assert [one for one, _ in refused] == [bad, tombstone]
    assert ledger.refused == {"MalformedEvent": 2}
    assert len(list(ledger.labelled())) == 1
    assert {tp.topic: end for tp, end in ledger.positions().items()} == {"verdicts": 10, "feedback": 6}


def test_what_is_older_than_the_retention_is_forgotten(ledger: Ledger) -> None:
    late = START + timedelta(hours=2)
    ledger.add(
        [verdict("old"), verdict("new", at=late)],
        [label("old"), label("new"), label("never judged"), label("not yet judged", at=late)],
    )
    ledger.forget(late.timestamp())
    assert [case.upload_id for case in ledger.labelled()] == ["new"]
    assert ledger.waiting() == 1


def test_a_file_that_is_no_ledger_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigurationError, match="ledger cannot be opened"):
        Ledger.open(path, retention_s=1)


EVENTS = [
    verdict("u1"),
    verdict("u2"),
    label("u1"),
    label("u1", "authentic"),
    label("u1", "authentic", "ben"),
    label("u2", at=START),
    label("u3"),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=20), st.permutations(EVENTS))
def test_order_and_repetition_do_not_matter(repeated: list[Verdict | Label], order: list[Verdict | Label]) -> None:
    found = []
    for events in (EVENTS, [*order, *repeated]):
        ledger = Ledger.open(Path(":memory:"), retention_s=1)
        ledger.take([record(event, offset) for offset, event in enumerate(events)])
        found.append((list(ledger.labelled()), ledger.counts(), ledger.waiting()))
        ledger.close()
    assert found[0] == found[1]


def test_the_ledger_follows_its_topics_and_goes_on_where_it_was(any_broker, tmp_path: Path, eventually) -> None:
    world = World(any_broker, tmp_path)
    names = (world.topics["verdicts"], world.topics["feedback"])

    def send(*events: Verdict | Label) -> None:
        producer = KafkaProducer(world.settings.kafka, client_id="test")
        for event in events:
            out = outgoing(event)
            producer.send(Outgoing(names[isinstance(event, Label)], out.key, out.value, out.headers))
        producer.close()

    def followed(uploads: int) -> int:
        """Opens the ledger, follows until so many uploads are labelled, and says how many records that took."""
        ledger = Ledger.open(tmp_path / "ledger.db", retention_s=1e9)
        intake = Intake(world.settings.kafka, ledger, names, client_id="test")
        before = sum(ledger.positions().values())

        def there() -> bool:
            intake.poll(0.05)
            return intake.caught_up and len(list(ledger.labelled())) == uploads

        eventually(there)
        taken = sum(ledger.positions().values()) - before
        intake.close()
        ledger.close()
        return taken

    send(*(verdict(f"u{number}") for number in range(20)), *(label(f"u{number}") for number in range(20)))
    assert followed(20) == 40
    send(verdict("more"), label("more"))
    assert followed(21) == 2
