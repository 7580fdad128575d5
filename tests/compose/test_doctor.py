import json

import pytest

from compose.cli import main
from stream.settings import TopicSettings, names
from stream.topics import layout


@pytest.fixture
def healthy(broker, redis_server, small_bundle, tmp_path, monkeypatch):
    for topic in layout(TopicSettings()).values():
        broker.create_topic(topic.name, topic.partitions)
    store = tmp_path / "blobs"
    store.mkdir()
    monkeypatch.setenv("VERISTREAM_KAFKA__BOOTSTRAP", broker.bootstrap)
    monkeypatch.setenv("VERISTREAM_REDIS__URL", redis_server.url)
    monkeypatch.setenv("VERISTREAM_BLOBS__STORE", store.as_uri())
    return monkeypatch


def examined(capsys):
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0)
    return code, {finding["name"]: finding for finding in found["findings"]}


@pytest.mark.usefixtures("healthy")
class TestHealthy:
    def test_everything_is_found(self, capsys):
        code, found = examined(capsys)
        assert code == 0
        states = {name: finding["state"] for name, finding in found.items()}
        assert states | {"KAFKA_HOME": "", "redis-server": ""} == dict.fromkeys(states, "ok") | {
            "KAFKA_HOME": "", "redis-server": "",
        }  # fmt: skip
        assert "tiny 1" in found["bundle"]["found"]
        assert "really load: CPU" in found["providers"]["found"]
        assert "Redis" in found["redis"]["found"]

    def test_in_words(self, capsys):
        assert main(["doctor"]) == 0
        said = capsys.readouterr().out
        assert "✓ kafka: 1 broker" in said
        assert "✓ bundle: tiny 1" in said


class TestIll:
    def test_no_broker(self, healthy, capsys):
        healthy.setenv("VERISTREAM_KAFKA__BOOTSTRAP", "127.0.0.1:1")
        code, found = examined(capsys)
        assert code == 1
        assert found["kafka"]["state"] == found["topics"]["state"] == "wrong"
        assert "VERISTREAM_KAFKA__BOOTSTRAP" in found["kafka"]["remedy"]

    def test_topics_that_are_missing_or_differ(self, healthy, capsys):
        healthy.setenv("VERISTREAM_TOPICS__PREFIX", "other.")
        code, found = examined(capsys)
        assert code == 1
        assert "missing: other.uploads" in found["topics"]["found"]
        assert "veristream topics ensure" in found["topics"]["remedy"]
        healthy.setenv("VERISTREAM_TOPICS__PREFIX", "")
        healthy.setenv("VERISTREAM_TOPICS__PARTITIONS", "3")
        code, found = examined(capsys)
        assert code == 0
        assert "uploads has 8 partitions instead of 3" in found["topics"]["found"]

    def test_redis_away_costs_the_cache_only(self, healthy, capsys):
        healthy.setenv("VERISTREAM_REDIS__URL", "redis://user:hush@127.0.0.1:1/0")
        code, found = examined(capsys)
        assert code == 0
        assert found["redis"]["state"] == "warning"
        assert "redis://127.0.0.1:1/0" in found["redis"]["found"]
        assert "hush" not in json.dumps(found)

    def test_no_redis_wanted(self, healthy, capsys):
        healthy.setenv("VERISTREAM_REDIS__ENABLED", "false")
        _, found = examined(capsys)
        assert found["redis"]["state"] == "off"

    def test_blobs(self, healthy, tmp_path, capsys):
        healthy.setenv("VERISTREAM_BLOBS__ALLOWED_ROOTS", json.dumps([str(tmp_path / "absent")]))
        healthy.setenv("VERISTREAM_BLOBS__STORE", "")
        code, found = examined(capsys)
        assert code == 1
        assert found["blobs"]["state"] == "off"
        healthy.setenv("VERISTREAM_BLOBS__STORE", "ftp://somewhere")
        code, found = examined(capsys)
        assert code == 1
        assert "is no blob store" in found["blobs"]["found"]

    def test_a_bundle_that_is_not_there(self, healthy, capsys):
        healthy.setenv("VERISTREAM_WORKER__BUNDLE", "/nowhere")
        code, found = examined(capsys)
        assert code == 1
        assert "/nowhere" in found["bundle"]["found"]

    def test_a_provider_that_does_not_load(self, healthy, capsys):
        healthy.setenv("VERISTREAM_WORKER__PROVIDER", "tensorrt")
        code, found = examined(capsys)
        if "Tensorrt" in found["providers"]["found"].partition("really load")[2]:
            pytest.skip("TensorRT loads on this machine")
        assert code == 1
        assert "asks for tensorrt" in found["providers"]["remedy"]

    def test_no_kafka_home(self, healthy, capsys):
        healthy.delenv("KAFKA_HOME", raising=False)
        _, found = examined(capsys)
        assert found["KAFKA_HOME"]["state"] == "off"


class TestSettings:
    def test_as_json(self, monkeypatch, capsys):
        monkeypatch.setenv("VERISTREAM_KAFKA__SASL_PASSWORD", "hush")
        assert main(["doctor", "--settings", "--json"]) == 0
        said = capsys.readouterr().out
        listed = json.loads(said)
        assert list(listed) == list(names())
        assert listed["VERISTREAM_KAFKA__SASL_PASSWORD"]["value"] == "***"
        assert "hush" not in said

    def test_as_a_table(self, capsys):
        assert main(["doctor", "--settings"]) == 0
        assert "Settings" in capsys.readouterr().out
