import itertools
from collections import Counter
from random import Random

import pytest
from scipy import stats

from producers.traffic import scenario
from producers.traffic.personas import PERSONAS, Crowd
from producers.traffic.plan import Plan
from producers.traffic.scenes import families
from stream.errors import ConfigurationError

FAMILIES = {
    **{family: (family,) for family in ("gan", "diffusion", "novel", *families())},
    "trained": ("gan", "diffusion"),
    "unseen": ("novel",),
}
ALPHA = 0.001


def plan(name, *, seed=1, endless=False):
    return Plan(scenario.load(name), FAMILIES, seed=seed, endless=endless)


def phase_of(text, events, seed=1):
    play = scenario.parse(f"name: m\nphases: [{{name: a, events: {events}, {text}}}]", where="")
    return list(Plan(play, FAMILIES, seed=seed, endless=False))


@pytest.mark.parametrize("name", scenario.builtin_names())
def test_a_plan_follows_from_its_seed_and_keeps_its_order(name):
    first = list(plan(name))
    assert first == list(plan(name))
    assert first != list(plan(name, seed=2))
    assert all(before.at_s < after.at_s for before, after in itertools.pairwise(first))
    order = [phase.name for phase in scenario.load(name).phases]
    assert list(dict.fromkeys(planned.phase for planned in first)) == order


def test_phases_last_for_their_events_or_their_time():
    counted = Counter(planned.phase for planned in plan("new-generator"))
    assert counted == {"known": 3000, "entering": 2000, "established": 3000}
    timed = list(plan("burst"))
    assert all(20 <= planned.at_s < 100 for planned in timed if planned.phase == "bursts")
    assert max(planned.at_s for planned in timed) < 120


def test_an_endless_plan_goes_on_in_its_last_phase():
    more = list(itertools.islice(plan("calm", endless=True), 20_000))
    assert len(more) == 20_000
    assert {planned.phase for planned in more} == {"steady"}
    assert len(list(plan("calm"))) < 10_000


def test_the_mix_of_labels_holds_whoever_posts():
    for personas in ("{casual: 1}", "{misinformation: 1, casual: 1}", "{spam: 1, hobbyist: 3}"):
        found = phase_of(f"fake_share: 0.3, personas: {personas}", 5000)
        fakes = sum(planned.label == "ai_generated" for planned in found)
        assert stats.binomtest(fakes, 5000, 0.3).pvalue > ALPHA


def test_families_and_tiers_follow_their_weights():
    found = phase_of("fake_share: 1, families: {trained: 1, novel: 1}, tiers: {clean: 1, hard: 3}", 6000)
    counts = Counter(planned.family for planned in found)
    assert stats.chisquare([counts["gan"], counts["diffusion"], counts["novel"]], [1500, 1500, 3000]).pvalue > ALPHA
    tiers = Counter(planned.tier for planned in found)
    assert stats.binomtest(tiers["hard"], 6000, 0.75).pvalue > ALPHA
    assert {planned.family for planned in phase_of("fake_share: 0", 50)} == {None}


def test_families_that_the_pictures_lack_are_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"phase “a” asks.*“other”.*These pictures have .*diffusion"):
        phase_of("families: {other: 1}", 1)
    with pytest.raises(ConfigurationError, match="unseen"):
        Plan(
            scenario.load("new-generator"), {"gan": ("gan",), "trained": ("gan",), "unseen": ()}, seed=1, endless=False
        )


def test_the_default_mix_repeats_few_pictures():
    repeats = Counter(planned.post.repeat for planned in plan("calm"))
    total = repeats.total()
    assert 0.005 < repeats["copy"] / total < 0.1
    assert 0.005 < repeats["again"] / total < 0.1


def test_spam_is_long_runs_of_one_account():
    found = phase_of("personas: {spam: 1}, fake_share: 0", 2000)
    runs = [len(list(run)) for _, run in itertools.groupby(found, key=lambda planned: planned.post.uploader)]
    assert sum(runs) / len(runs) > 10
    assert Counter(planned.post.repeat for planned in found)["again"] > 1500


def test_a_campaign_repeats_over_many_accounts_and_is_mostly_machine_made():
    found = phase_of("personas: {misinformation: 1}, fake_share: 1", 500)
    assert len({planned.post.uploader for planned in found}) > 50
    assert sum(planned.post.repeat != "fresh" for planned in found) > 400


def test_an_enthusiast_keeps_to_one_family():
    found = phase_of("personas: {hobbyist: 1}, fake_share: 1, families: {gan: 1, diffusion: 1, novel: 1}", 3000)
    by_account = {}
    for planned in found:
        by_account.setdefault(planned.post.uploader, set()).add(planned.family)
    assert all(len(families) == 1 for families in by_account.values())
    assert len({family for families in by_account.values() for family in families}) == 3


def test_account_ids_tell_nothing_of_the_persona_and_differ_between_seeds():
    accounts = {seed: {planned.post.uploader for planned in phase_of("rate: 50", 300, seed)} for seed in (1, 2)}
    assert not accounts[1] & accounts[2]
    assert not [account for account in accounts[1] for persona in PERSONAS if persona in account]


def test_personas_lean_as_they_say():
    crowd = Crowd(Random(1), 1)
    both = {"casual": 1.0, "misinformation": 1.0}
    fakes = Counter(crowd.post("ai_generated", both).persona for _ in range(2000))
    reals = Counter(crowd.post("authentic", both).persona for _ in range(2000))
    assert fakes["misinformation"] > 5 * reals["misinformation"]
