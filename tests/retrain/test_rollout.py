"""The rollout on simulated traffic: what is promoted, what is rolled back, and how often it errs."""

from dataclasses import replace
from datetime import timedelta
from itertools import islice
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.rollout import Exposure, Limits, Plan, Trial
from retrain.rollout.betting import ArmsBet, PairedBet, RateBet
from tests.retrain.traffic import CHALLENGER, CHAMPION, START, Worth, label, shadow, takes, uploads, verdict

PLAN = Plan(shadow=Exposure(50, 20, 3600), canary=Exposure(50, 60, 3600), share=0.1)
# Right on 95 of 100 uploads the one, on 90 the other; where one errs the other often does.
BAD = Worth(challenger=0.065, champion=0.015, both=0.035)
EQUAL = Worth(challenger=0.04, champion=0.04, both=0.03)
BETTER = Worth(challenger=0.02, champion=0.12, both=0.03)


def in_canary(plan: Plan = PLAN) -> Trial:
    return Trial(plan, CHALLENGER, since=START, canary_since=START)


def labelled(trial: Trial, worth: Worth, seed: int, events: int, *, paired: bool = True) -> int | None:
    """Runs a canary in which every upload is labelled; returns after how many it was rolled back.

    With ``paired`` the shadow goes on beside the canary and every labelled upload counts; without, only those that the
    challenger spoke for count.
    """
    seen = 0
    for upload_id, truth, champion, challenger, at in uploads(worth, seed):
        if seen >= events:
            return None
        speaks = takes(upload_id, trial.plan.share)
        if paired and not speaks:
            trial.see_shadow(shadow(upload_id, champion, challenger, at))
        trial.see_verdict(
            verdict(upload_id, CHALLENGER if speaks else CHAMPION, challenger if speaks else champion, at)
        )
        trial.see_label(label(upload_id, truth))
        seen += 1 if paired or speaks else 0
        if trial.evidence.proven:
            return seen
    raise AssertionError


def rolled_back(worth: Worth, runs: int, events: int, **how: bool) -> float:
    found = [labelled(in_canary(), worth, seed, events, **how) for seed in range(runs)]
    return sum(after is not None for after in found) / runs


def test_a_bad_canary_is_rolled_back_within_500_labelled_events():
    assert rolled_back(BAD, 60, 500) >= 0.95


def test_a_bad_canary_is_found_in_time_where_both_models_err_more_often():
    assert rolled_back(Worth(challenger=0.085, champion=0.035, both=0.065), 40, 500) >= 0.85


def test_a_canary_that_turns_bad_late_is_found_all_the_same():
    bet = PairedBet(16.7, 500)
    for number in range(600):
        bet.see(champion_wrong=number % 20 == 0, challenger_wrong=number % 20 == 1)
    assert bet.wealth < 1
    for number in range(300):
        bet.see(champion_wrong=number % 20 == 0, challenger_wrong=number % 5 == 1)
    assert bet.wealth > 16.7


def test_gross_harm_is_proven_long_before_the_deadline():
    bet = PairedBet(16.7, 500)
    seen = 0
    while bet.wealth < 16.7:
        seen += 1
        bet.see(champion_wrong=False, challenger_wrong=seen % 4 == 0)
    assert seen <= 50


def test_a_bad_canary_is_found_by_what_the_arms_say_alone():
    assert rolled_back(BAD, 20, 500, paired=False) >= 0.75


def test_a_harmless_challenger_is_rolled_back_in_no_more_than_alpha_of_the_runs():
    assert rolled_back(EQUAL, 60, 1500) <= PLAN.limits.alpha
    assert rolled_back(BETTER, 20, 500) == 0


def test_a_better_challenger_goes_all_the_way():
    trial = Trial(PLAN, CHALLENGER, since=START)
    stages = []
    for upload_id, truth, champion, challenger, at in islice(uploads(BETTER, 1), 5000):
        speaks = trial.stage == "canary" and takes(upload_id, PLAN.share)
        if not speaks:
            trial.see_shadow(shadow(upload_id, champion, challenger, at))
        trial.see_verdict(
            verdict(upload_id, CHALLENGER if speaks else CHAMPION, challenger if speaks else champion, at)
        )
        trial.see_label(label(upload_id, truth))
        decision = trial.decide(at)
        if decision.action == "canary":
            trial.begin_canary(at)
        if decision.action != "stay":
            stages.append(decision.action)
            assert "no proof of harm" in decision.reason
        if decision.action == "promote":
            break
    assert stages == ["canary", "promote"]
    assert trial.figures["accuracy_challenger"] > trial.figures["accuracy_champion"]
    assert trial.figures["records_canary"] >= PLAN.canary.records


def test_a_stage_waits_for_records_and_labels():
    trial = Trial(PLAN, CHALLENGER, since=START)
    assert trial.decide(START + timedelta(days=99)).action == "stay"
    for number in range(50):
        trial.see_shadow(shadow(f"u{number}", 0.9, 0.9))
    waits = trial.decide(START)
    assert waits.action == "stay"
    assert "20 labels are asked for" in waits.reason
    late = trial.decide(START + timedelta(hours=1))
    assert late.action == "canary"
    assert "its longest time of 3600 s is over" in late.reason
    for number in range(20):
        trial.see_label(label(f"u{number}", "ai_generated"))
    assert trial.decide(START).action == "canary"


def test_no_traffic_never_promotes():
    trial = in_canary()
    assert trial.decide(START + timedelta(days=365)).action == "stay"


def test_in_doubt_it_waits_for_more_labels_until_its_time_is_over():
    plan = replace(PLAN, doubt=1.0)
    trial = Trial(plan, CHALLENGER, since=START)
    for number in range(60):
        trial.see_shadow(shadow(f"u{number}", 0.9, 0.4 if number < 4 else 0.9))
        trial.see_label(label(f"u{number}", "ai_generated"))
    doubtful = trial.decide(START)
    assert doubtful.action == "stay"
    assert "in doubt: accuracy on the same labelled uploads: 93.3% against the champion's 100.0%" in doubtful.reason
    assert trial.decide(START + timedelta(hours=2)).action == "canary"


@pytest.mark.parametrize("sign", ["disagreement", "latency", "errors", "false positives"])
def test_each_sign_of_harm_rolls_back_and_is_named(sign):
    trial = in_canary()
    for number in range(400):
        at = START + timedelta(seconds=60 + number)
        upload_id = f"u{number}"
        if sign == "errors":
            trial.see_verdict(verdict(upload_id, CHAMPION, 0.9, at))
        elif sign == "false positives":
            trial.see_shadow(shadow(upload_id, 0.1, 0.9 if number % 8 == 0 else 0.1, at))
            trial.see_label(label(upload_id, "authentic"))
        else:
            parted, infer = (0.4, 0.0) if sign == "disagreement" and number % 2 else (0.9, 0.0)
            if sign == "latency":
                infer = 30.0 + number
            trial.see_shadow(shadow(upload_id, 0.9, parted, at, infer=infer))
    decision = trial.decide(START)
    assert decision.action == "roll_back"
    assert (sign if sign != "false positives" else "accuracy on the same") in decision.reason


def test_the_time_of_one_batch_counts_once():
    trial = in_canary()
    for number in range(500):
        trial.see_shadow(shadow(f"u{number}", 0.9, 0.9, infer=35.0))
    assert trial.decide(START).action == "stay"
    assert trial.figures["latency_ratio"] == 3.5


def test_a_canary_that_is_slow_in_its_own_arm_is_found():
    trial = in_canary()
    for number in range(60):
        trial.see_verdict(verdict(f"a{number}", CHAMPION, 0.9, infer=10.0 + number % 7))
        trial.see_verdict(verdict(f"b{number}", CHALLENGER, 0.9, infer=50.0 + number))
    assert "latency" in trial.decide(START).reason


def test_what_is_not_the_trials_is_passed_over():
    trial = Trial(PLAN, CHALLENGER, since=START)
    trial.see_shadow(shadow("u", 0.9, 0.1, by="e" * 64))
    trial.see_shadow(shadow("v", 0.9, 0.1, START - timedelta(seconds=1)))
    trial.see_verdict(verdict("u", CHAMPION, 0.9))
    for origin in ("appeal", "user_report"):
        trial.see_label(label("w", "authentic", origin=origin))
    trial.see_shadow(shadow("w", 0.9, 0.1))
    trial.see_label(label("w", "ai_generated"))
    trial.see_label(label("w", "authentic"))
    trial.see_shadow(shadow("w", 0.9, 0.1))
    assert trial.figures["records_shadow"] == 1
    assert trial.figures["labels_seen"] == 1
    assert trial.figures["accuracy_champion"] == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_order_of_verdict_shadow_and_label_changes_no_count(kinds, random):
    """What meets whom does not hang on which topic is read first."""
    events = []
    for number, kind in enumerate(kinds):
        upload_id, truth = f"u{number}", "authentic" if kind % 2 else "ai_generated"
        events.append(("shadow", shadow(upload_id, 0.9, 0.9 if kind < 3 else 0.1)))
        events.append(("verdict", verdict(upload_id, CHALLENGER if kind == 4 else CHAMPION, 0.9)))
        events.append(("label", label(upload_id, truth)))
    shuffled = list(events)
    random.shuffle(shuffled)
    counts = []
    for order in (events, shuffled):
        trial = in_canary()
        for kind, event in order:
            getattr(trial, f"see_{kind}")(event)
        counts.append({name: value for name, value in trial.figures.items() if name != "evidence"})
    assert counts[0] == counts[1]


@given(st.floats(0.0, 0.5), st.integers(1, 9), st.floats(0.02, 0.3))
def test_a_block_of_the_arms_is_worth_one_on_average_at_most_where_the_rates_are_equal(rate, ratio, harm):
    """The expectation over everything one block can show, computed exactly."""
    total = 0.0
    for errors in range(ratio + 1):
        chance = comb(ratio, errors) * rate**errors * (1 - rate) ** (ratio - errors)
        for wrong in (True, False):
            bet = ArmsBet(harm, ratio)
            for number in range(ratio):
                bet.see(challenger=False, wrong=number < errors)
            bet.see(challenger=True, wrong=wrong)
            total += chance * (rate if wrong else 1 - rate) * bet.wealth
    assert total <= 1 + 1e-9


@given(st.floats(0.01, 0.9), st.floats(0.0, 1.0))
def test_a_rate_below_its_limit_wins_nothing_on_average(limit, part):
    found = limit + (1 - limit) / 2
    bad, fine = RateBet(limit, found), RateBet(limit, found)
    bad.see(bad=True)
    fine.see(bad=False)
    rate = limit * part
    assert rate * bad.wealth + (1 - rate) * fine.wealth <= 1 + 1e-9


@given(st.lists(st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1)]), max_size=60))
def test_a_pair_wins_nothing_on_average_whatever_was_seen_before(history):
    wealth = []
    for champion, challenger in ((False, True), (True, False)):
        bet = PairedBet(16.7, 500)
        for before in history:
            bet.see(champion_wrong=bool(before[0]), challenger_wrong=bool(before[1]))
        start = bet.wealth
        bet.see(champion_wrong=champion, challenger_wrong=challenger)
        wealth.append(bet.wealth / start)
    assert sum(wealth) / 2 == pytest.approx(1)


def test_weights_of_the_bets_are_one_stake():
    trial = Trial(replace(PLAN, limits=Limits(alpha=0.05)), CHALLENGER, since=START)
    assert trial.evidence.wealth == pytest.approx(1.0)
    assert trial.figures["evidence_needed"] == 20
