"""The private Redis, and what can be done to it."""

import shutil
from pathlib import Path

import pytest
import redis

from compose.embedded import redis_server as module
from compose.embedded.redis_server import RedisServer, redis_executable
from stream.errors import ConfigurationError, StateUnavailable


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server.url, socket_timeout=0.2, retry=None) as client:
        yield client


def test_keeps_a_value_and_is_bounded_and_memory_only(client):
    client.set("k", "v")
    assert client.get("k") == b"v"
    assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert client.config_get("save") == {"save": ""}
    assert client.config_get("appendonly") == {"appendonly": "no"}


def test_evicts_instead_of_refusing_when_it_is_full():
    with RedisServer(memory_mib=3) as server, redis.Redis.from_url(server.url) as client:
        for number in range(64):
            client.set(f"k{number}", b"x" * 100_000)
        assert client.get("k63") is not None
        # The policy samples, so which of the old ones went is chance.
        assert client.dbsize() < 64


def test_paused_it_hangs_and_resumed_it_answers(redis_server, client):
    client.set("k", "v")
    redis_server.pause()
    with pytest.raises(redis.TimeoutError):
        client.get("k")
    redis_server.resume()
    assert client.get("k") == b"v"


def test_killed_it_refuses_and_started_again_it_is_empty_at_the_same_address(redis_server, client):
    client.set("k", "v")
    redis_server.kill()
    with pytest.raises(redis.ConnectionError):
        client.get("k")
    redis_server.start()
    assert client.get("k") is None


def test_stopped_it_leaves_no_folder():
    with RedisServer() as server:
        folder = Path(server.url.removeprefix("unix://").partition("?")[0]).parent
        assert folder.is_dir()
        assert server.pid > 0
    assert not folder.exists()


def test_one_on_the_path_will_do(monkeypatch, tmp_path):
    bundled = redis_executable()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    (tmp_path / "redis-server").symlink_to(bundled)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert redis_executable() == tmp_path / "redis-server"


def test_none_at_all_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigurationError, match="redis-server"):
        RedisServer()


def test_one_that_does_not_come_up_shows_its_last_words(monkeypatch, tmp_path):
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho no more memory >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: str(broken))
    with pytest.raises(StateUnavailable, match="exit status 3") as caught:
        RedisServer()
    assert "no more memory" in caught.value.remedy
