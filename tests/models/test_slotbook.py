import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from models.registry import Registry
from models.slotbook import NAME, SLOTS, SlotBook, Slots
from stream import messages
from stream.blobs import open_store
from stream.doubles import ManualClock, MemoryBlobs, MemoryBroker, MemoryProducer
from stream.errors import (
    BlobChanged,
    BlobUnavailable,
    BundleInvalid,
    DeliveryFailed,
    MalformedEvent,
    SlotConflict,
    SlotRefused,
    VeristreamError,
)
from stream.events import SlotChange
from stream.settings import BlobSettings, TopicSettings
from tests.models.tiny import tiny_bundle, tiny_graph

BUNDLES = [tiny_bundle(tiny_graph(scale=1 / (100 + number))) for number in range(4)]
A, B, C, D = (bundle.digest for bundle in BUNDLES)


class Office:
    """A registry with four bundles, a topic, and a book."""

    def __init__(self, store=None) -> None:
        self.store = store or MemoryBlobs()
        self.registry = Registry(self.store)
        for bundle in BUNDLES:
            self.registry.register(bundle)
        self.broker = MemoryBroker()
        self.broker.create("models", 1)
        self.book = self.another()

    def another(self) -> SlotBook:
        return SlotBook(self.registry, MemoryProducer(self.broker), TopicSettings(), ManualClock())

    def told(self) -> list[SlotChange]:
        records = self.broker.records("models")
        assert all(
            record.key == change.slot.encode() for record, change in zip(records, map(_change, records), strict=True)
        )
        return [_change(record) for record in records]

    def compacted(self) -> dict[str, tuple[str | None, float]]:
        """What a worker that reads the topic to its end believes."""
        last = {change.slot: change for change in self.told()}
        return {slot: (change.digest, change.traffic_share) for slot, change in last.items() if change.digest}


def _change(record) -> SlotChange:
    return messages.decode(record, SlotChange)


def believed(slots: Slots) -> dict[str, tuple[str | None, float]]:
    return {slot: (held.digest, held.share) for slot in SLOTS if (held := slots.held(slot))}


@pytest.fixture(params=["memory", "folder"])
def office(request, tmp_path) -> Office:
    if request.param == "memory":
        return Office()
    return Office(open_store(BlobSettings(store=f"file://{tmp_path}/store")))


def test_a_model_goes_from_shadow_by_canary_to_champion_and_back(office):
    book = office.book
    assert book.read() == Slots()
    assert believed(book.promote(A, "the first")) == {"champion": (A, 1.0)}
    assert believed(book.shadow(B, 0.5, reason="on trial")) == {"champion": (A, 1.0), "shadow": (B, 0.5)}
    assert believed(book.canary(B, 0.1, reason="looks good")) == {"champion": (A, 1.0), "challenger": (B, 0.1)}
    assert believed(book.canary(B, 0.3, reason="more")) == {"champion": (A, 1.0), "challenger": (B, 0.3)}
    promoted = book.promote(B, "better")
    assert believed(promoted) == {"champion": (B, 1.0), "previous": (A, 1.0)}
    assert promoted.champion.uri == office.registry.uri(B)
    assert believed(book.rollback("worse after all")) == {"champion": (A, 1.0)}
    assert office.compacted() == believed(book.read()) == {"champion": (A, 1.0)}
    history = book.history()
    assert [change.action for change in history] == ["promote", "shadow", "canary", "canary", "promote", "rollback"]
    assert [change.revision for change in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1] == book.read()
    assert history[-1].reason == "worse after all"


def test_a_promotion_tells_of_the_champion_before_the_challenger_goes(office):
    office.book.promote(A, "")
    office.book.canary(B, 0.1, reason="")
    before = len(office.told())
    office.book.promote(B, "")
    assert [(change.slot, change.digest) for change in office.told()[before:]] == [
        ("champion", B),
        ("challenger", None),
        ("previous", A),
    ]


def test_a_rollback_ends_a_trial_first(office):
    book = office.book
    book.promote(A, "")
    book.promote(B, "")
    book.canary(C, 0.1, reason="")
    assert believed(book.rollback("the trial is bad")) == {"champion": (B, 1.0), "previous": (A, 1.0)}
    assert believed(book.rollback("the champion as well")) == {"champion": (A, 1.0)}
    with pytest.raises(SlotRefused, match="no previous champion"):
        book.rollback("and now")
    book.shadow(C, reason="")
    assert believed(book.clear("never mind")) == {"champion": (A, 1.0)}


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (lambda book: book.promote("f" * 64, ""), BundleInvalid),
        (lambda book: book.shadow("../../x", reason=""), VeristreamError),
        (lambda book: book.shadow(A, reason=""), SlotRefused),
        (lambda book: book.canary(A, 0.1, reason=""), SlotRefused),
        (lambda book: book.canary(B, 1.1, reason=""), SlotRefused),
        (lambda book: book.rollback(""), SlotRefused),
    ],
)
def test_a_step_that_makes_no_sense_changes_nothing(office, step, error):
    office.book.promote(A, "the first")
    before, told = office.book.history(), office.told()
    with pytest.raises(error):
        step(office.book)
    assert office.book.history() == before
    assert office.told() == told


def test_the_same_step_again_is_told_again_and_written_once(office):
    office.book.promote(A, "")
    for _ in range(2):
        assert office.book.shadow(B, reason="").revision == 2
    office.book.promote(B, "")
    again = office.book.promote(B, "")
    assert (again.revision, again.previous.digest) == (3, A)
    assert office.compacted() == believed(again)


def test_of_two_promoters_at_once_one_wins_and_the_other_is_told(office):
    office.book.promote(A, "the first")
    for _ in range(5):
        before = office.book.read()
        begin = threading.Barrier(2)

        def promote(digest: str, seen: Slots = before, begin: threading.Barrier = begin) -> object:
            book = office.another()
            begin.wait()
            try:
                return book.promote(digest, f"for {digest[:6]}", seen=seen)
            except SlotConflict as conflict:
                return conflict

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(promote, [digest for digest in (B, C, D) if digest != before.champion.digest][:2]))
        [won] = [answer for answer in answers if isinstance(answer, Slots)]
        [lost] = [answer for answer in answers if isinstance(answer, SlotConflict)]
        assert office.book.read() == won
        assert won.revision == before.revision + 1
        assert f"somebody else was quicker: change {won.revision}, promote (for" in str(lost)
        assert office.compacted() == believed(won)


class Slow(MemoryBlobs):
    """Lets something happen between reading the book and writing it."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile = lambda: None

    def replace(self, name, data, *, media_type, revision):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().replace(name, data, media_type=media_type, revision=revision)


def test_a_change_between_reading_and_writing_is_a_conflict_without_being_asked():
    office = Office(Slow())
    office.book.promote(A, "")
    office.store.meanwhile = lambda: office.another().promote(C, "quicker")
    with pytest.raises(SlotConflict, match="quicker: change 2, promote"):
        office.book.promote(B, "slower")
    assert office.compacted() == {"champion": (C, 1.0), "previous": (A, 1.0)}


def test_a_put_whose_answer_was_lost_and_that_was_repeated_is_no_conflict():
    office = Office(Slow())
    office.book.promote(A, "")
    store, really = office.store, MemoryBlobs.replace

    def lose_the_answer(name, data, *, media_type, revision):
        really(store, name, data, media_type=media_type, revision=revision)
        return really(store, name, data, media_type=media_type, revision=revision)

    store.replace = lose_the_answer
    with pytest.raises(BlobChanged):
        store.replace("other", b"", media_type="", revision=None)
    assert office.book.promote(B, "").champion.digest == B
    assert office.compacted() == {"champion": (B, 1.0), "previous": (A, 1.0)}


def test_a_crash_between_book_and_topic_is_repaired(office):
    office.book.promote(A, "")
    office.broker.away = True
    with pytest.raises(DeliveryFailed, match="topic was not told"):
        office.book.promote(B, "")
    office.broker.away = False
    assert office.compacted() == {"champion": (A, 1.0)}
    repaired = office.another().republish()
    assert believed(repaired) == office.compacted() == {"champion": (B, 1.0), "previous": (A, 1.0)}


def test_a_book_that_has_moved_on_has_the_topics_last_word(office):
    class Held(MemoryProducer):
        """Sends late: another changes the book first and tells the topic before."""

        def __init__(self, broker, meanwhile) -> None:
            super().__init__(broker)
            self.meanwhile = meanwhile

        def send(self, record, on_delivery=None):
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
            super().send(record, on_delivery)

    office.book.promote(A, "")
    late = SlotBook(
        office.registry, Held(office.broker, lambda: office.book.promote(C, "")), TopicSettings(), ManualClock()
    )
    late.promote(B, "")
    assert believed(office.book.read()) == {"champion": (C, 1.0), "previous": (B, 1.0)}
    assert office.compacted() == believed(office.book.read())


def test_nothing_is_republished_before_the_first_change(office):
    assert office.book.republish() == Slots()
    assert office.told() == []


def test_a_broken_book_and_a_store_that_is_away_are_said():
    office = Office()
    office.book.promote(A, "")
    office.store.away = True
    with pytest.raises(BlobUnavailable):
        office.book.promote(B, "")
    office.store.away = False
    office.store.write(NAME, b"{", media_type="")
    with pytest.raises(MalformedEvent, match="not a valid Book"):
        office.book.read()


class Steps(RuleBasedStateMachine):
    """Any order of steps: book and topic agree, and what the slots promise holds."""

    digests = st.sampled_from([A, B, C, D])

    @initialize()
    def open(self) -> None:
        self.office = Office()
        self.book = self.office.book

    def step(self, call) -> None:
        before = self.book.read()
        try:
            call()
        except SlotRefused:
            assert self.book.read() == before

    @rule(digest=digests)
    def promote(self, digest) -> None:
        before = self.book.read()
        after = self.book.promote(digest, "because")
        assert after.champion.digest == digest
        if before.champion and before.champion.digest != digest:
            assert after.previous == before.champion

    @rule(digest=digests, share=st.floats(0, 1))
    def canary(self, digest, share) -> None:
        self.step(lambda: self.book.canary(digest, share, reason="because"))

    @rule(digest=digests, share=st.floats(0, 1))
    def shadow(self, digest, share) -> None:
        self.step(lambda: self.book.shadow(digest, share, reason="because"))

    @rule()
    def rollback(self) -> None:
        before = self.book.read()
        self.step(lambda: self.book.rollback("because"))
        after = self.book.read()
        if before.challenger or before.shadow:
            assert (after.champion, after.previous) == (before.champion, before.previous)

    @rule()
    def clear(self) -> None:
        self.book.clear("because")

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "book"):
            return
        slots = self.book.read()
        assert self.office.compacted() == believed(slots)
        champion = slots.champion.digest if slots.champion else None
        trials = [held.digest for held in (slots.challenger, slots.shadow) if held]
        assert len(trials) <= 1
        assert champion not in trials
        assert [change.revision for change in self.book.history()] == list(range(1, slots.revision + 1))


TestSteps = Steps.TestCase
TestSteps.settings = hypothesis_settings(max_examples=25, stateful_step_count=12)
