import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.traffic import scenario
from stream.errors import ConfigurationError

MINIMAL = "name: mine\nphases:\n  - {name: only, duration_s: 10}\n"
MIXED = "name: m\nphases: [{name: a, duration_s: 10, rate: 10}, {name: b, events: 900, rate: 30}]"


def refused(text):
    with pytest.raises(ConfigurationError) as caught:
        scenario.parse(text, where="mine.yaml")
    assert caught.value.where == "mine.yaml"
    return str(caught.value)


@pytest.mark.parametrize("name", scenario.builtin_names())
def test_built_in_scenarios_load_under_their_own_name(name):
    loaded = scenario.load(name)
    assert loaded.name == name
    assert loaded.about


def test_the_promised_scenarios_are_there():
    assert set(scenario.builtin_names()) >= {"calm", "burst", "new-generator", "spam", "mixed-tiers"}
    assert any(scenario.UNSEEN in phase.families for phase in scenario.load("new-generator").phases)


def test_a_new_family_enters_after_a_calm_in_which_it_is_not_there_and_is_labelled():
    loaded = {name: scenario.load(name) for name in ("new-family", "poisoned-labels")}
    for one in loaded.values():
        calm, entering = one.phases
        (new,) = set(entering.families) - set(calm.families)
        share = entering.fake_share * entering.families[new] / sum(entering.families.values())
        assert share >= 0.1
        assert one.moderators.share * share * entering.rate * 60 >= 100, "labels of it within a minute"
    assert loaded["new-family"].moderators.poisoned == 0
    assert loaded["poisoned-labels"].moderators.poisoned >= 0.5


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    loaded = scenario.load(str(path))
    assert (loaded.phases[0].rate, loaded.phases[0].fake_share) == (50.0, 0.5)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        scenario.load(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match="There are burst, calm"):
        scenario.load("clam")


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        ("name: a, duration_s: 1, rates: 3", "phases.“a”.rates: there is no such key; did you mean rate"),
        ("name: a, duration_s: 1, burst: {fctor: 3}", "burst.fctor: there is no such key; did you mean factor"),
        ("name: a, duration_s: 1, zzz: 3", "the keys are name, duration_s, events, rate"),
        ("duration_s: 1", "phases.0.name: Field required"),
        ("name: a", "give exactly one of duration_s and events"),
        ("name: a, duration_s: 1, events: 1", "give exactly one of duration_s and events"),
        ("name: a, duration_s: 1, fake_share: 2", "phases.“a”.fake_share: "),
        ("name: a, duration_s: 1, tiers: {dirty: 1}", "there is no tier “dirty”; there are clean, web, hard"),
        ("name: a, duration_s: 1, personas: {spammer: 1}", "there is no persona “spammer”; there are casual"),
        ("name: a, duration_s: 1, tiers: {web: 0}", "at least one weight must be above 0"),
        ("name: a, duration_s: 1, burst: {every_s: 1, mean_s: 2}", "every_s must be longer than mean_s"),
    ],
)
def test_what_is_wrong_with_a_phase_is_named_by_its_key(phase, said):
    assert said in refused(f"name: m\nphases: [{{{phase}}}]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINIMAL + "phase: []", "phase: there is no such key; did you mean phases"),
        ("name: m\nphases: []", "phases: "),
        ("phases: [{name: a, duration_s: 1}]", "name: Field required"),
        ("[1, 2]", "a scenario is a YAML mapping"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_named(text, said):
    assert said in refused(text)


def test_the_mean_rate_weighs_phases_by_their_length():
    loaded = scenario.parse(MIXED, where="")
    assert loaded.mean_rate == pytest.approx((100 + 900) / 40)


@given(rate=st.floats(0.01, 10_000))
@pytest.mark.parametrize("text", [MIXED, MIXED.replace("duration_s: 10", "events: 70"), MINIMAL])
def test_another_rate_is_the_mean_whether_phases_are_timed_or_counted(text, rate):
    loaded = scenario.parse(text, where="")
    scaled = loaded.at_rate(rate)
    assert scaled.mean_rate == pytest.approx(rate)
    factors = [new.rate / old.rate for new, old in zip(scaled.phases, loaded.phases, strict=True)]
    assert factors == pytest.approx([factors[0]] * len(factors))
