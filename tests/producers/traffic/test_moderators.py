from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from producers.traffic import scenario
from producers.traffic.moderators import GOLDEN_REVIEWER, Moderation, Moderators
from stream import messages
from stream.doubles import ManualClock, MemoryBroker, MemoryProducer
from stream.errors import ConfigurationError, DeliveryFailed
from stream.events import Label
from tests.producers.traffic.events import truth

FAKE, REAL = "ai_generated", "authentic"


class Desk:
    """Moderators, what they said, and a clock that moves a tenth of a second for every upload."""

    def __init__(self, *, seed=1, **options):
        self.memory, self.clock = MemoryBroker(), ManualClock()
        self.moderators = Moderators(
            Moderation(**options), MemoryProducer(self.memory), topic="feedback", seed=seed, clock=self.clock
        )

    def see(self, count):
        self.truths = {str(number): truth(str(number), (REAL, FAKE)[number % 2]) for number in range(count)}
        for one in self.truths.values():
            self.moderators.see(one)
            self.clock.advance(0.1)
        return self

    def labels(self):
        return [messages.decode(record, Label) for record in self.memory.records("feedback")]

    def closed(self):
        self.moderators.close()
        return self.labels()

    def wrong(self, labels):
        return [label for label in labels if label.label != self.truths[label.upload_id].label]


def test_a_share_is_labelled_by_several_people_who_mostly_know():
    desk = Desk(share=0.25, error=0.05, reviewers=4).see(4000)
    labels = desk.closed()
    assert 850 < len(labels) < 1150
    assert len({label.upload_id for label in labels}) == len(labels)
    assert Counter(label.origin for label in labels) == {"simulated": len(labels)}
    by = Counter(label.reviewer for label in labels)
    assert set(by) == {f"moderator-{number}" for number in (1, 2, 3, 4)}
    mistakes = Counter(label.reviewer for label in desk.wrong(labels))
    assert mistakes["moderator-1"] == 0
    assert 0.05 < mistakes["moderator-4"] / by["moderator-4"] < 0.15
    assert desk.moderators.report() == {"given": len(labels), "wrong": mistakes.total(), "reviewers": by}


def test_labels_come_after_their_upload_and_no_later_than_promised():
    desk = Desk(share=1.0, delay_s=4.0)
    first = truth("first")
    desk.moderators.see(first)
    begun = desk.clock.now()
    assert not desk.labels()
    desk.clock.advance(6.0)
    desk.moderators.see(truth("second"))
    (label,) = desk.labels()
    assert label.upload_id == "first"
    assert 2.0 <= label.at.timestamp() - begun <= 6.0


def test_what_is_still_to_come_is_given_at_the_end():
    desk = Desk(share=1.0, delay_s=1000.0).see(20)
    assert not desk.labels()
    assert len(desk.closed()) == 20


def test_poison_turns_a_share_of_the_labels_round_and_spares_golden_ones():
    desk = Desk(share=1.0, error=0.0, poisoned=0.8, golden=0.2).see(2000)
    labels = desk.closed()
    golden = [label for label in labels if label.origin == "golden"]
    others = [label for label in labels if label.origin != "golden"]
    assert {label.reviewer for label in golden} == {GOLDEN_REVIEWER}
    assert 300 < len(golden) < 500
    assert not desk.wrong(golden)
    assert 0.75 < len(desk.wrong(others)) / len(others) < 0.85


def test_all_poison_leaves_no_label_as_it_was():
    desk = Desk(share=1.0, error=0.0, poisoned=1.0).see(50)
    assert len(desk.wrong(desk.closed())) == 50


def test_people_may_sign_as_moderators():
    assert {label.origin for label in Desk(share=1.0, origin="moderator").see(5).closed()} == {"moderator"}


@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_the_same_seed_labels_the_same_uploads_the_same_way_whoever_is_poisoned(seed, share):
    honest, again, poisoned = (
        [
            (label.upload_id, label.reviewer, label.label)
            for label in Desk(seed=seed, share=share, **more).see(30).closed()
        ]
        for more in ({}, {}, {"poisoned": 1.0})
    )
    assert honest == again
    assert [said[:2] for said in honest] == [said[:2] for said in poisoned]
    assert all(one[2] != other[2] for one, other in zip(honest, poisoned, strict=True))


def test_a_label_that_is_not_delivered_is_an_error():
    desk = Desk(share=1.0, delay_s=0.0)
    desk.memory.refuse_next_send(DeliveryFailed("disk full"))
    desk.moderators.see(truth("1"))
    with pytest.raises(DeliveryFailed, match=r"1 label not delivered: 1 \(.*disk full"):
        desk.moderators.close()


@pytest.mark.parametrize(
    "wrong", [{"share": 1.5}, {"error": 0.6}, {"reviewers": 0}, {"delay_s": -1.0}, {"origin": "appeal"}]
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Moderation(**wrong)


def test_a_scenario_names_its_moderators_and_their_faults():
    text = "name: m\nphases: [{name: a, duration_s: 1}]\nmoderators: {share: 0.3, poisoned: 0.9}"
    assert scenario.parse(text, where="").moderators == Moderation(share=0.3, poisoned=0.9)
    assert scenario.parse(text, where="").at_rate(7).moderators == Moderation(share=0.3, poisoned=0.9)
    for key, said in (("shre: 1", "there is no such key; did you mean share"), ("share: 3", "moderators.share: ")):
        with pytest.raises(ConfigurationError, match=said):
            scenario.parse(text.replace("share: 0.3", key), where="")
