import pytest
from pydantic import ValidationError

from stream.errors import ConfigurationError
from stream.settings import PREFIX, Settings, load, names


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in names():
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_need_nothing():
    settings = load()
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.worker.delivery == "exactly_once"


def test_variables_are_read_by_their_nested_names(monkeypatch):
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", "a:1,b:2")
    monkeypatch.setenv("VERISTREAM_WORKER__BREAKER__CONSECUTIVE", "7")
    monkeypatch.setenv("VERISTREAM_BLOBS__ALLOWED_BUCKETS", '["one", "two"]')
    monkeypatch.setenv("VERISTREAM_REDIS__URL", "")
    settings = load()
    assert settings.kafka.bootstrap == "a:1,b:2"
    assert settings.worker.breaker.consecutive == 7
    assert settings.blobs.allowed_buckets == ("one", "two")
    assert settings.redis.url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_every_name_is_listed_once_and_sets_something():
    listed = list(names())
    assert len(listed) == len(set(listed))
    assert all(name.startswith(PREFIX) for name in listed)
    assert "VERISTREAM_WORKER__BREAKER__SHARE" in listed


@pytest.mark.parametrize(
    ("variable", "near"),
    [("VERISTREAM_KAFKA__BOOTSTRAPS", "VERISTREAM_KAFKA__BOOTSTRAP"), ("VERISTREAM_BOOTSTRAP", "BOOTSTRAP")],
)
def test_an_unknown_name_is_refused_with_the_nearest(monkeypatch, variable, near):
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError, match=rf"no setting {variable}.*Did you mean .*{near}"):
        load()


def test_a_name_like_no_other_is_refused_with_a_way_to_find_them():
    with pytest.raises(ConfigurationError, match="lists all names"):
        load({"VERISTREAM_" + 60 * "Q": "x"})


def test_what_the_tests_are_told_keeps_no_command_from_starting(monkeypatch):
    monkeypatch.setenv("VERISTREAM_TEST_DATA", "/pictures")
    assert load() == Settings()
    with pytest.raises(ConfigurationError, match="no setting VERISTREAM_TESTS"):
        load({"VERISTREAM_TESTS": "x"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VERISTREAM_TOPICS__PARTITIONS", "0"),
        ("VERISTREAM_WORKER__DELIVERY", "maybe"),
        ("VERISTREAM_TOPICS__PREFIX", "with space"),
    ],
)
def test_a_value_that_does_not_fit_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=f"^{variable}: ") as caught:
        load()
    assert caught.value.where == "environment"


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("VERISTREAM_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("VERISTREAM_REDIS__URL", "redis://:hunter2@host/0")
    monkeypatch.setenv("VERISTREAM_BLOBS__S3_SECRET_KEY", "hunter2")
    settings = load()
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().kafka.bootstrap = "x"
