from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.baselines import Baselines
from drift.intake import Intake
from drift.metrics import DriftMetrics
from drift.slots import KnownModels
from drift.windows import Windows
from stream import embeddings, messages
from stream.embeddings import Embedding
from stream.events import SlotChange
from stream.records import Outgoing, Record

AT = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN, UNKNOWN = "a" * 64, "b" * 64


class Site:
    def __init__(self, configured: str = KNOWN, models=()):
        self.rejected: list[tuple[Record, Exception]] = []
        self.metrics = DriftMetrics()
        self.windows = Windows(4, 60.0, 10)
        self.baselines = Baselines(100)
        self.looks = 0
        self.models = KnownModels(configured, lambda: self.look(models))
        self.intake = Intake(
            self.windows, self.baselines, self.models, self.metrics, lambda *found: self.rejected.append(found)
        )
        self.offset = 0

    def look(self, models):
        self.looks += 1
        return models

    def take(self, out: Outgoing):
        self.offset += 1
        return self.intake.take(Record("embeddings", 0, self.offset, 1, out.key, out.value, out.headers), 0.0)

    def why(self) -> list[str]:
        return [error.what for _, error in self.rejected]


def sent(number: int, *, length: int = 3, digest: str = KNOWN) -> Outgoing:
    seen = Embedding(f"u{number}", np.ones(length, np.float16), digest, 0.5, "t", AT)
    return embeddings.encode(seen, topic="embeddings", source="w")


@given(st.binary(max_size=40) | st.none(), st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=8)), max_size=6))
def test_whatever_comes_is_rejected_and_nothing_raises(value, headers):
    site = Site()
    good = sent(1)
    for out in (Outgoing("embeddings", b"k", value, tuple(headers)), Outgoing("embeddings", None, value, good.headers)):
        assert site.take(out) == []
    assert len(site.rejected) == 2
    assert len(site.windows.due(1e9)) == 0


def test_an_unknown_model_is_rejected_until_a_slot_names_it():
    models: list[Record] = []
    site = Site(models=models)
    site.take(sent(1, digest=UNKNOWN))
    site.take(sent(2, digest=UNKNOWN))
    assert site.looks == 1
    assert ["no slot has ever held" in what for what in site.why()] == [True, True]
    change = SlotChange(slot="shadow", uri="file:///x", digest=UNKNOWN, at=AT)
    out = messages.encode(change, topic="models", key="shadow", source="s", time=AT)
    site.models.apply(Record("models", 0, 0, 1, out.key, out.value, out.headers))
    site.take(sent(3, digest=UNKNOWN))
    assert len(site.rejected) == 2


def test_where_nothing_is_known_every_model_is_taken():
    site = Site(configured="")
    site.take(sent(1, digest=UNKNOWN))
    assert site.rejected == []


def test_another_length_is_rejected():
    site = Site()
    site.take(sent(1))
    site.take(sent(2, length=4))
    assert site.why() == [f"4 numbers where model {KNOWN[:12]} gives 3"]


def test_a_first_embedding_of_a_wrong_length_does_not_shut_the_door():
    site = Site()
    site.take(sent(0, length=7))
    filled = [window for number in range(1, 40) for window in site.take(sent(number))]
    assert filled
    assert {len(seen.embedding.vector) for window in filled for seen in window.sightings} == {3}
    assert len(site.rejected) == 19


def test_a_reference_says_the_length_for_certain():
    site = Site()
    site.take(sent(0, length=7))
    site.intake.expect(KNOWN, 3)
    assert site.baselines.count(KNOWN) == 0
    for number in range(1, 40):
        site.take(sent(number, length=7))
    assert len(site.rejected) == 39


@pytest.mark.parametrize("seen", [True, False])
def test_what_an_earlier_life_rejected_is_not_rejected_again(seen):
    site = Site()
    site.intake.refill(Record("embeddings", 0, 1, 1, b"k", None, ()), seen=seen)
    assert len(site.rejected) == (0 if seen else 1)
