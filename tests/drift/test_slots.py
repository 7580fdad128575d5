from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from drift.slots import won
from models.slotbook import Held, Slots

AT = datetime(2026, 1, 1, tzinfo=UTC)


def book(*steps: str) -> list[Slots]:
    """Changes of slots, a minute apart: ``A`` reigns, ``A/b`` with b in the shadow, ``A+b`` with b in the canary."""
    changes = []
    for number, step in enumerate(steps):
        reigning, mark, tried = step[:1], step[1:2], step[2:]
        changes.append(
            Slots(
                champion=_held(reigning),
                shadow=_held(tried) if mark == "/" else None,
                challenger=_held(tried) if mark == "+" else None,
                at=AT + timedelta(minutes=number),
            )
        )
    return changes


def _held(name: str) -> Held | None:
    return Held(digest=name.lower(), uri=f"memory://{name}") if name.strip("-") else None


def minute(number: int) -> datetime:
    return AT + timedelta(minutes=number)


def test_who_won_a_trial_did_so_when_its_reign_began():
    assert won(book("A", "A/b", "A+b", "B"), "b") == minute(3)
    assert won(book("A", "A/b", "B", "B/c", "B"), "b") == minute(2)
    assert won(book("A", "A+b", "A", "B"), "b") == minute(3)


def test_who_was_put_there_by_hand_or_only_tried_did_not():
    changes = book("A", "A/b", "A+b", "B")
    assert won(changes, "a") is None
    assert won(changes[:3], "b") is None
    assert won(book("A", "A/c", "B"), "b") is None
    assert won([], "a") is None


def test_who_reigned_before_keeps_what_it_had():
    assert won(book("A", "A/b", "B", "A"), "b") is None
    assert won(book("A", "A/b", "B", "A", "A/b", "B"), "b") is None
    assert won(book("A", "A/b", "B", "A"), "a") is None
    assert won(book("A", "A/b", "B", "B/a", "A"), "a") is None


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["", "/a", "+b", "/c"])), max_size=8))
def test_only_the_reigning_can_have_won_and_saying_it_again_changes_nothing(steps):
    changes = book(*("".join(step) for step in steps))
    for name in "abc":
        at = won(changes, name)
        assert won([*changes, *changes[-1:]], name) == at
        if at is not None:
            assert changes[-1].champion.digest == name
            reigns = [change.at for change in changes if change.champion.digest == name]
            assert reigns == [change.at for change in changes if change.at >= at]
