from compose import loop_settings
from compose.variables import environment
from stream.settings import load


def test_a_demo_has_smaller_windows_and_shorter_stages():
    plain, demo = load({}), loop_settings.of(load({}))
    assert demo.drift.window < plain.drift.window
    assert demo.retrain.rollout.canary_records < plain.retrain.rollout.canary_records
    assert demo.retrain.rollout.alpha == plain.retrain.rollout.alpha


def test_what_the_environment_sets_stays(monkeypatch):
    monkeypatch.setenv("VERISTREAM_DRIFT__WINDOW", "777")
    monkeypatch.setenv("VERISTREAM_RETRAIN__ROLLOUT__SHARE", "0.5")
    monkeypatch.setenv("VERISTREAM_WORKER__BUNDLE", "/somewhere")
    demo = loop_settings.of(load())
    assert demo.drift.window == 777
    assert demo.retrain.rollout.share == 0.5
    assert demo.worker.bundle == "/somewhere"
    assert demo.drift.cooldown_s == loop_settings.of(load({})).drift.cooldown_s


def test_the_report_says_how_the_loop_was_set():
    demo = loop_settings.of(load({}))
    told = loop_settings.told(demo)
    assert told["drift"]["window"] == demo.drift.window
    assert told["retrain"]["rollout"]["canary_records"] == demo.retrain.rollout.canary_records
    assert told["worker"]["bundle"] == demo.worker.bundle


def test_a_child_process_gets_the_same(monkeypatch):
    demo = loop_settings.of(load({}))
    for name, value in environment(demo).items():
        monkeypatch.setenv(name, value)
    again = load()
    assert again.drift == demo.drift
    assert again.retrain == demo.retrain
