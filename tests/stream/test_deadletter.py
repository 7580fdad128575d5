from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import deadletter
from stream.errors import (
    BlobNotFound,
    BreakerOpen,
    ImageTooLarge,
    InferenceFailed,
    MalformedEvent,
    TruncatedImage,
    VeristreamError,
)
from stream.records import Outgoing, Record
from stream.settings import BreakerSettings

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

records = st.builds(
    Record,
    topic=st.sampled_from(["uploads", "uploads.backfill", "münchen"]),
    partition=st.integers(0, 999),
    offset=st.integers(0, 2**62),
    timestamp_ms=st.integers(0, 2**41),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
    headers=st.lists(
        st.tuples(st.text(max_size=12).filter(lambda n: not n.startswith("dlq_")), st.binary(max_size=20)), max_size=6
    ).map(tuple),
)
words = st.text(max_size=60)
errors = st.builds(
    lambda kind, what, where, remedy: kind(what, where=where, remedy=remedy),
    st.sampled_from([TruncatedImage, BlobNotFound, InferenceFailed, MalformedEvent]),
    words,
    words,
    words,
)


def died(record: Record, error: VeristreamError, **changes) -> Outgoing:
    given = {"stage": "decode", "attempts": 2, "model_digest": "abc", "topic": f"{record.topic}.dlq", "at": AT}
    return deadletter.letter(record, error, **{**given, **changes})


def arrived(sent: Outgoing, partition: int = 0, offset: int = 0) -> Record:
    return Record(sent.topic, partition, offset, 0, sent.key, sent.value, sent.headers)


@given(record=records, error=errors, attempts=st.integers(1, 9), digest=st.none() | st.just("d" * 64))
def test_a_letter_keeps_the_record_whole_and_says_why(record, error, attempts, digest):
    sent = died(record, error, attempts=attempts, model_digest=digest)
    assert (sent.key, sent.value) == (record.key, record.value)
    assert sent.headers[: len(record.headers)] == record.headers
    letter = deadletter.read(arrived(sent))
    assert letter.error == type(error).__name__
    assert (letter.what, letter.remedy) == (error.what, error.remedy)
    assert letter.where == (error.where or record.place)
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, record.partition, record.offset)
    assert (letter.stage, letter.attempts, letter.model_digest, letter.at) == ("decode", attempts, digest, AT)


@given(record=records, error=errors, rounds=st.integers(1, 4))
def test_replaying_restores_the_record_and_counts(record, error, rounds):
    current = record
    for times in range(1, rounds + 1):
        letter = deadletter.read(arrived(died(current, error)))
        assert letter.replays == times - 1
        again = deadletter.replay(letter)
        assert again.topic == record.topic
        assert (again.key, again.value) == (record.key, record.value)
        assert again.headers == (*record.headers, ("dlq_replays", str(times).encode()))
        current = arrived(again)


def test_why_names_the_meaning_and_the_underlying_error():
    error = TruncatedImage("the picture ends at row 7")
    error.__cause__ = OSError("image file is truncated")
    letter = deadletter.read(arrived(died(Record("uploads", 0, 1, 0, b"k", b"v", ()), error)))
    assert letter.why == "The file ends or breaks before its picture does. OSError: image file is truncated"


def test_reserved_headers_of_a_producer_do_not_survive_and_long_words_are_cut():
    forged = Record("uploads", 0, 1, 0, b"k", b"v", (("dlq_error", b"Nothing"), ("dlq_replays", b"x"), ("a", b"b")))
    sent = died(forged, ImageTooLarge("w" * 9000, where="\udcff"))
    assert [name for name, _ in sent.headers].count("dlq_error") == 1
    letter = deadletter.read(arrived(sent))
    assert (letter.error, letter.replays) == ("ImageTooLarge", 0)
    assert len(letter.what) == 2000
    assert letter.where == "?"
    assert deadletter.replay(letter).headers == (("a", b"b"), ("dlq_replays", b"1"))


def test_a_letter_without_a_time_is_dated_now():
    before = datetime.now(UTC)
    letter = deadletter.read(arrived(died(Record("uploads", 0, 1, 0, b"k", b"v", ()), TruncatedImage("t"), at=None)))
    assert before <= letter.at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("header", "value", "complaint"),
    [
        ("dlq_error", None, "dlq_error is missing"),
        ("dlq_offset", b"many", "invalid literal"),
        ("dlq_what", b"\xff", "can't decode"),
        ("dlq_at", b"yesterday", "RFC 3339"),
    ],
)
def test_what_is_no_letter_is_said_in_words(header, value, complaint):
    good = arrived(died(Record("uploads", 0, 1, 0, b"k", b"v", ()), TruncatedImage("t")))
    bad = tuple((name, value if name == header else old) for name, old in good.headers)
    with pytest.raises(MalformedEvent, match=complaint):
        deadletter.read(replace(good, headers=tuple((n, v) for n, v in bad if v is not None)))


def run(breaker: deadletter.Breaker, outcomes: list[bool]) -> int | None:
    """Feeds outcomes (True: dead) and returns after how many the breaker opened."""
    for count, dead in enumerate(outcomes, 1):
        try:
            breaker.dead() if dead else breaker.ok()
        except BreakerOpen:
            return count
    return None


@given(
    outcomes=st.lists(st.booleans(), max_size=120),
    consecutive=st.integers(1, 30),
    share=st.floats(0.05, 1.0),
    window=st.integers(1, 60),
)
def test_the_breaker_opens_exactly_when_its_words_say(outcomes, consecutive, share, window):
    fewest = min(window, max(20, window // 5))

    def should_open(upto: int) -> bool:
        seen = outcomes[max(0, upto - window) : upto]
        row = outcomes[max(0, upto - consecutive) : upto]
        in_a_row = len(row) == consecutive and all(row)
        return outcomes[upto - 1] and (in_a_row or (len(seen) >= fewest and sum(seen) >= share * len(seen)))

    expected = next((upto for upto in range(1, len(outcomes) + 1) if should_open(upto)), None)
    limits = BreakerSettings(consecutive=consecutive, share=share, window=window)
    assert run(deadletter.Breaker(limits), outcomes) == expected


def test_the_breaker_tells_the_person_on_call_what_to_do():
    breaker = deadletter.Breaker(BreakerSettings(consecutive=2))
    breaker.dead()
    with pytest.raises(BreakerOpen, match=r"2 records in a row .* `veristream dlq list`"):
        breaker.dead()


def test_one_bad_upload_after_a_start_stops_nobody():
    assert run(deadletter.Breaker(BreakerSettings()), [True, False] * 9) is None
