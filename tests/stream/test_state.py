import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stream.errors import StateUnavailable
from stream.settings import RedisSettings
from stream.state import NoCache, RedisVerdictCache, open_cache
from stream.telemetry import Metrics


def at(url: str, **changes) -> RedisSettings:
    return RedisSettings(url=SecretStr(url), **changes)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def cache(redis_server, metrics):
    cache = RedisVerdictCache(at(redis_server.url), metrics, leave_alone_s=0.05)
    yield cache
    cache.close()


def lookups(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("veristream_cache_lookups_total", {"result": result}) or 0.0


@given(entries=st.dictionaries(st.text(max_size=20), st.binary(max_size=50), max_size=5), others=st.lists(st.text()))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_put_is_got_in_order(cache, entries, others):
    cache._redis.flushall()
    cache.put_many(entries)
    keys = [*entries, *others, *entries]
    assert cache.get_many(keys) == [entries.get(key) for key in keys]


def test_entries_live_under_their_own_names_and_expire(cache, redis_server):
    cache.put_many({"image:model": b"verdict"})
    (key,) = cache._redis.keys()
    assert key == b"veristream:verdict:image:model"
    assert 86_000 < cache._redis.ttl(key) <= 86_400


def test_hits_and_misses_are_counted(cache, metrics):
    cache.put_many({"a": b"1"})
    cache.get_many(["a", "b", "c"])
    assert (lookups(metrics, "hit"), lookups(metrics, "miss"), lookups(metrics, "error")) == (1, 2, 0)


def test_a_killed_redis_costs_misses_one_log_line_and_comes_back(cache, metrics, redis_server, caplog, eventually):
    caplog.set_level(logging.INFO, "veristream.state")
    cache.put_many({"a": b"1"})
    redis_server.kill()
    assert cache.get_many(["a"]) == [None]
    cache.put_many({"a": b"2"})
    eventually(lambda: cache.get_many(["a"]) == [None] and lookups(metrics, "error") >= 3)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "going on without it" in caplog.text
    redis_server.start()

    def back() -> bool:
        cache.put_many({"b": b"3"})
        return cache.get_many(["b"]) == [b"3"]

    eventually(back)
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert "is back after" in caplog.text


def test_a_frozen_redis_costs_one_time_out_an_interval(redis_server, metrics):
    cache = RedisVerdictCache(at(redis_server.url, timeout_ms=50), metrics, leave_alone_s=3600)
    cache.put_many({"a": b"1"})
    redis_server.pause()
    for _ in range(200):
        assert cache.get_many(["a", "b"]) == [None, None]
        cache.put_many({"c": b"1"})
    assert lookups(metrics, "error") == 1
    redis_server.resume()
    cache.close()


def test_an_answer_that_came_too_late_is_never_taken_for_the_next(redis_server, metrics, eventually):
    cache = RedisVerdictCache(at(redis_server.url, timeout_ms=20), metrics, leave_alone_s=0.0)
    cache.put_many({"a": b"1", "b": b"2"})
    redis_server.pause()
    assert cache.get_many(["a"]) == [None]
    redis_server.resume()
    eventually(lambda: cache.get_many(["b"]) == [b"2"])
    cache.close()


def test_check_says_where_and_what_to_do(redis_server, cache):
    cache.check()
    redis_server.kill()
    with pytest.raises(StateUnavailable, match=r"redis.sock.*VERISTREAM_REDIS__URL") as caught:
        cache.check()
    assert caught.value.retryable
    away = RedisVerdictCache(at("redis://user:hunter2@127.0.0.1:1/0"), Metrics())
    with pytest.raises(StateUnavailable, match=r"127.0.0.1:1") as caught:
        away.check()
    assert "hunter2" not in str(caught.value)


def test_nothing_is_asked_for_nothing(metrics):
    cache = RedisVerdictCache(at("redis://127.0.0.1:1/0"), metrics)
    assert cache.get_many([]) == []
    cache.put_many({})
    assert lookups(metrics, "error") == 0


def test_the_settings_choose_the_cache(metrics):
    assert isinstance(open_cache(RedisSettings(), metrics), RedisVerdictCache)
    off = open_cache(RedisSettings(enabled=False), metrics)
    assert isinstance(off, NoCache)
    off.put_many({"a": b"1"})
    assert off.get_many(["a", "b"]) == [None, None]
