import math
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retrain.labels import RANKED, WEIGHTS, Opinion, Ruling, rule, standing
from retrain.reliability import Reliability, count_limit, reliabilities, weight_limit

PEOPLE = ("ann", "ben", "cem", "dora")
TRUSTED = dict.fromkeys(PEOPLE, 0.8)

opinions = st.builds(
    Opinion,
    upload_id=st.just("u"),
    label=st.sampled_from(["ai_generated", "authentic"]),
    origin=st.sampled_from(RANKED),
    reviewer=st.sampled_from(PEOPLE),
    at=st.integers(0, 5).map(float),
)
many = st.lists(opinions, max_size=8)
trusts = st.fixed_dictionaries({person: st.floats(0, 0.999) for person in PEOPLE})
owned = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 50))


def said(label: str, reviewer: str = "ann", origin: str = "moderator", at: float = 0.0) -> Opinion:
    return Opinion("u", label, origin, reviewer, at)


@given(many, trusts, st.randoms(use_true_random=False))
def test_order_and_repetition_of_labels_do_not_matter(given: list[Opinion], trust: dict, random) -> None:
    shuffled = [*given, *given[:3]]
    random.shuffle(shuffled)
    assert rule(shuffled, trust) == rule(given, trust)


@given(many, trusts)
def test_a_ruling_weighs_no_more_than_its_origin_and_says_what_somebody_said(given: list[Opinion], trust: dict) -> None:
    ruling = rule(given, trust)
    assume(isinstance(ruling, Ruling))
    assert 0 < ruling.weight <= WEIGHTS[ruling.origin]
    deciding = [one for one in standing(given) if one.origin == ruling.origin and one.label == ruling.label]
    assert set(ruling.label_ids) <= {one.id for one in deciding}
    assert ruling.owner in {None, *(one.reviewer for one in deciding)}


@given(many, trusts)
def test_turning_every_label_around_turns_the_ruling_around(given: list[Opinion], trust: dict) -> None:
    other = {"ai_generated": "authentic", "authentic": "ai_generated"}
    # who says both things at one moment is taken by the name of the label, and so not turned around
    assume(len({(one.reviewer, one.origin, one.at) for one in given}) == len(given))
    here = rule(given, trust)
    there = rule([Opinion("u", other[one.label], one.origin, one.reviewer, one.at) for one in given], trust)
    if isinstance(here, Ruling):
        assert isinstance(there, Ruling)
        assert (there.label, there.weight, there.owner) == (other[here.label], here.weight, here.owner)
    else:
        assert there == here


@given(many, trusts)
def test_a_golden_label_decides_whatever_others_say(given: list[Opinion], trust: dict) -> None:
    others = [one for one in given if one.origin != "golden"]
    ruling = rule([*others, said("authentic", "the lab", "golden")], trust)
    assert isinstance(ruling, Ruling)
    assert (ruling.label, ruling.weight, ruling.owner) == ("authentic", 1.0, None)


@pytest.mark.parametrize(
    ("given", "decided"),
    [
        ([said("authentic", "ann", "appeal"), said("ai_generated", "ben")], "authentic"),
        ([said("ai_generated"), said("authentic", at=1.0)], "authentic"),
        ([said("ai_generated", origin="appeal"), said("authentic", at=1.0)], "ai_generated"),
        ([said("ai_generated", "ann", "user_report"), said("authentic", "ben", "simulated")], "authentic"),
        ([said("ai_generated", person) for person in "ab"] + [said("authentic", "c")], "ai_generated"),
    ],
)
def test_the_higher_origin_the_later_word_and_the_majority_decide(given: Sequence[Opinion], decided: str) -> None:
    ruling = rule(given, dict.fromkeys([*PEOPLE, "a", "b", "c"], 0.8))
    assert isinstance(ruling, Ruling)
    assert ruling.label == decided


def test_a_user_report_counts_once_a_second_person_confirms_it() -> None:
    report = said("ai_generated", "ann", "user_report")
    assert rule([report], TRUSTED) == "unverified"
    assert rule([report, said("ai_generated", "ann", "user_report", 9.0)], TRUSTED) == "unverified"
    ruling = rule([report, said("ai_generated", "ben", "user_report")], TRUSTED)
    assert isinstance(ruling, Ruling)
    assert ruling.owner is None


def test_equals_who_contradict_each_other_decide_nothing() -> None:
    assert rule([said("ai_generated"), said("authentic", "ben")], TRUSTED) == "contradictory"
    assert rule([said("ai_generated")], {"ann": 0.0}) == "untrusted"


def test_who_agrees_with_golden_labels_is_trusted_more_than_who_does_not() -> None:
    uploads = []
    for number in range(20):
        truth, wrong = ("ai_generated", "authentic") if number % 2 else ("authentic", "ai_generated")
        uploads.append([said(truth, "gold", "golden"), said(truth, "ann"), said(wrong, "ben")])
    found = reliabilities(uploads)
    assert set(found) == {"ann", "ben"}
    assert found["ann"].trust > 0.9
    assert found["ben"].trust == 0.0
    assert 0.5 < Reliability().trust < found["ann"].trust


def test_without_golden_labels_people_are_held_against_the_others() -> None:
    uploads = [[said("authentic", person) for person in PEOPLE] + [said("ai_generated", "mallory")]] * 20
    found = reliabilities(uploads)
    assert min(found[person].trust for person in PEOPLE) > found["mallory"].trust


@given(owned, st.integers(0, 50), st.floats(0.01, 1))
def test_nobody_holds_more_labels_than_the_share_and_no_more_are_lost_than_must(
    held: dict[str, int], free: int, share: float
) -> None:
    limit = count_limit(held, free, share)
    kept = free + sum(min(count, limit) for count in held.values())
    assert all(min(count, limit) <= share * kept + 1e-6 for count in held.values())
    more = free + sum(min(count, limit + 1) for count in held.values())
    if more > kept:  # one more each would break the rule
        assert limit + 1 > share * more - 1e-6


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 50)), st.floats(0, 50), st.floats(0.01, 1))
def test_nobody_carries_more_weight_than_the_share(held: dict[str, float], free: float, share: float) -> None:
    limit = weight_limit(held, free, share)
    total = free + math.fsum(min(weight, limit) for weight in held.values())
    assert all(min(weight, limit) <= share * total + 1e-6 for weight in held.values())
    if all(weight <= share * (free + math.fsum(held.values())) for weight in held.values()):
        assert all(weight <= limit + 1e-6 for weight in held.values())


def test_three_people_cannot_share_out_what_four_must() -> None:
    assert count_limit({"ann": 50, "ben": 50, "cem": 50}, 0, 0.25) == 0
    assert count_limit({"ann": 50, "ben": 50, "cem": 50, "dora": 50}, 0, 0.25) == 50
    assert weight_limit({"ann": 9.0, "ben": 9.0, "cem": 9.0}, 0.0, 0.25) == 0.0
