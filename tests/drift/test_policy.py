import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from drift import shift
from drift.judgement import Judgement, judge
from drift.policy import Policy, Rules, State
from stream.doubles import ManualClock
from stream.events import ComponentDrift
from tests.drift.worlds import WINDOW, contaminated, reference, usual

RULES = Rules(minimum=100, cooldown_s=60.0)


def window(*, beyond: bool, size: int = 500) -> Judgement:
    value = 0.5 if beyond else 0.01
    component = ComponentDrift(name="residual", statistic="kl", value=value, threshold=0.1, alarmed=beyond)
    return Judgement(size, (component,))


def shifted(*, windows: int) -> Judgement:
    """A shift beyond its threshold, judged over so many windows together."""
    component = ComponentDrift(name=shift.COLUMNS[0], statistic=shift.NAME, value=9.0, threshold=4.0, alarmed=True)
    return Judgement(500, (component,), movements=((shift.Movement(500, np.ones(2)),),) * windows)


def statuses(policy: Policy, windows: str) -> str:
    """Plays windows, ``x`` beyond, ``.`` quiet, and returns the first letters of what is said."""
    return "".join(policy.see(window(beyond=letter == "x")).status[0] for letter in windows)


@pytest.fixture
def policy() -> Policy:
    return Policy(RULES, ManualClock())


class TestSequences:
    @pytest.mark.parametrize(
        ("windows", "said"),
        [
            ("......", "oooooo"),
            ("x.....", "wooooo"),
            ("xx", "wa"),
            ("x.x", "woa"),
            ("x..x", "woow"),
            ("xxxx", "waww"),
            ("xx...x", "wawwrw"),
            ("xx..x...", "wawwwwwr"),
        ],
    )
    def test_what_is_said(self, policy, windows, said):
        assert statuses(policy, windows) == said

    def test_a_drift_that_lasts_is_said_again_after_the_cool_down(self):
        clock = ManualClock()
        policy = Policy(RULES, clock)
        assert statuses(policy, "xxx") == "waw"
        clock.advance(61)
        assert statuses(policy, "xx") == "aw"

    def test_within_the_cool_down_no_second_alarm_is_said(self):
        clock = ManualClock()
        policy = Policy(RULES, clock)
        assert statuses(policy, "xx...xx") == "wawwrww"
        clock.advance(61)
        assert statuses(policy, "x") == "a"

    def test_a_shift_of_several_windows_together_alarms_at_once_and_one_of_a_single_window_does_not(self):
        said = [Policy(RULES, ManualClock()).see(shifted(windows=windows)) for windows in (1, 2, 3)]
        assert [decision.status for decision in said] == ["warning", "alarm", "alarm"]
        assert said[2].reason == "all directions (Hotelling's T²) 9 > 4 in the last 3 windows"


class TestWords:
    def test_an_alarm_names_what_is_beyond_and_how_often(self, policy):
        policy.see(window(beyond=True))
        assert policy.see(window(beyond=True)).reason == "residual (kl) 0.5 > 0.1 in 2 of the last 3 windows"

    def test_a_small_window_is_not_judged(self, policy):
        decision = policy.see(window(beyond=True, size=99))
        assert (decision.status, decision.reason) == ("ok", "99 embeddings are too few to judge")
        assert policy.state == State()

    def test_an_early_warning_warns_without_a_window_and_confirms_only_where_told(self):
        careful, eager = (Policy(Rules(early_counts=counts), ManualClock()) for counts in (False, True))
        assert careful.see(window(beyond=False), early=True).status == "warning"
        assert careful.see(window(beyond=True)).status == "warning"
        eager.see(window(beyond=False), early=True)
        assert eager.see(window(beyond=True)).status == "alarm"
        assert careful.see(Judgement(10, ()), early=True).status == "warning"


def test_state_can_be_kept_and_taken_up_again():
    clock = ManualClock()
    first = Policy(RULES, clock)
    statuses(first, "xx.")
    second = Policy(RULES, clock, first.state)
    assert statuses(first, "..x") == statuses(second, "..x") == "wrw"


def test_windows_of_a_world_that_changed_alarm_and_of_one_that_did_not_do_not():
    frozen = reference()
    calm, changed = Policy(RULES, ManualClock()), Policy(RULES, ManualClock())
    said = [calm.see(judge(frozen, *usual(WINDOW, seed=40 + turn))).status for turn in range(6)]
    assert "alarm" not in said
    said = [changed.see(judge(frozen, *contaminated(WINDOW, seed=60 + turn, share=0.2))).status for turn in range(3)]
    assert said == ["warning", "alarm", "warning"]


class PolicyMachine(RuleBasedStateMachine):
    """Whatever windows come: alarms are confirmed, apart, and each ends once."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.policy = Policy(RULES, self.clock)
        self.windows: list[bool] = []
        self.alarms: list[float] = []
        self.open = False

    @rule(beyond=st.booleans(), early=st.booleans())
    def see(self, beyond: bool, early: bool) -> None:
        decision = self.policy.see(window(beyond=beyond), early=early)
        self.windows.append(beyond)
        assert decision.reason
        if decision.status == "alarm":
            assert beyond
            assert sum(self.windows[-3:]) >= 2
            assert all(self.clock.now() - at >= RULES.cooldown_s for at in self.alarms)
            self.alarms.append(self.clock.now())
            self.open = True
        if decision.status == "recovered":
            assert self.open
            assert not any(self.windows[-RULES.quiet :])
            self.open = False
        if decision.status == "ok":
            assert not self.open
            assert not beyond

    @rule(size=st.integers(0, 99), early=st.booleans())
    def too_small(self, size: int, early: bool) -> None:
        before = self.policy.state
        assert self.policy.see(window(beyond=True, size=size), early=early).status in {"ok", "warning"}
        assert self.policy.state == before

    @rule(seconds=st.floats(0, 200))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def agrees(self) -> None:
        assert self.policy.state.alarmed == self.open


TestPolicyMachine = PolicyMachine.TestCase


@given(st.lists(st.booleans(), max_size=30))
def test_no_alarm_without_two_windows_beyond_near_each_other(windows):
    policy = Policy(RULES, ManualClock())
    near = any(sum(windows[at : at + 3]) >= 2 for at in range(len(windows)))
    said = [policy.see(window(beyond=beyond)).status for beyond in windows]
    assert ("alarm" in said) == near
