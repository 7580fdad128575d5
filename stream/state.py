"""The verdict cache in Redis. Losing Redis costs speed, never a verdict.

After a failure Redis is left alone for a while: an outage then costs one time-out every few seconds instead of one for
every batch, and it is logged when it begins and when it ends.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.errors import StateUnavailable
from stream.ports import VerdictCache
from stream.settings import RedisSettings
from stream.telemetry import Metrics

log = logging.getLogger("veristream.state")

_NAMESPACE = "veristream:verdict:"
_LEAVE_ALONE_S = 2.0

T = TypeVar("T")


class RedisVerdictCache:
    """A `stream.ports.VerdictCache` in Redis. Thread-safe; connects with the first call.

    Args:
        settings: Address, time-out and time to live.
        metrics: Counts hits, misses and errors.
        leave_alone_s: Seconds without any attempt after a failure.
    """

    def __init__(self, settings: RedisSettings, metrics: Metrics, *, leave_alone_s: float = _LEAVE_ALONE_S) -> None:
        self._ttl_s = settings.ttl_s
        self._metrics = metrics
        self._leave_alone_s = leave_alone_s
        self._changing = threading.Lock()
        self._away_since: float | None = None
        self._quiet_until = 0.0
        timeout_s = settings.timeout_ms / 1000
        self._redis = redis.Redis.from_url(
            settings.url.get_secret_value(),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # A second attempt would make the batch wait a second time-out.
            retry=Retry(NoBackoff(), 0),
        )

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Looks keys up in one round trip; every answer is None while Redis is away."""
        if not keys:
            return []
        nothing: list[bytes | None] = [None] * len(keys)
        found = self._attempt(lambda: self._get(keys), nothing)
        hits = sum(value is not None for value in found)
        self._metrics.cache(hits=hits, misses=len(keys) - hits)
        return found

    def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Stores entries in one round trip with the configured time to live; does nothing while Redis is away."""
        if entries:
            self._attempt(lambda: self._put(entries), None)

    def check(self) -> None:
        """Asks Redis for a sign of life.

        Raises:
            StateUnavailable: It does not answer.
        """
        try:
            self._redis.ping()
        except redis.RedisError as error:
            remedy = "Check VERISTREAM_REDIS__URL; verdicts are given without the cache meanwhile"
            raise StateUnavailable(f"Redis does not answer: {error}", where=self._address, remedy=remedy) from error

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()

    @property
    def _address(self) -> str:
        parts = self._redis.get_connection_kwargs()
        return str(parts.get("path") or f"{parts.get('host')}:{parts.get('port')}")

    def _get(self, keys: Sequence[str]) -> list[bytes | None]:
        # The client's types allow for decoded answers, which we did not ask for.
        answer: Any = self._redis.mget([_NAMESPACE + key for key in keys])
        return list(answer)

    def _put(self, entries: Mapping[str, bytes]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for key, value in entries.items():
                pipeline.set(_NAMESPACE + key, value, ex=self._ttl_s)
            pipeline.execute()

    def _attempt(self, call: Callable[[], T], otherwise: T) -> T:
        if monotonic() < self._quiet_until:
            return otherwise
        try:
            answer = call()
        except redis.RedisError as error:
            self._failed(error)
            return otherwise
        self._answered()
        return answer

    def _failed(self, error: redis.RedisError) -> None:
        self._metrics.cache_failed()
        with self._changing:
            self._quiet_until = monotonic() + self._leave_alone_s
            if self._away_since is None:
                self._away_since = monotonic()
                log.warning("the verdict cache is away, going on without it: %s (%s)", error, self._address)

    def _answered(self) -> None:
        if self._away_since is None:
            return
        with self._changing:
            if self._away_since is not None:
                log.info("the verdict cache is back after %.1f s", monotonic() - self._away_since)
                self._away_since = None


class NoCache:
    """The `stream.ports.VerdictCache` of a deployment that switched Redis off: every lookup misses."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Finds nothing."""
        return [None] * len(keys)

    def put_many(self, entries: Mapping[str, bytes]) -> None:
        """Keeps nothing."""


def open_cache(settings: RedisSettings, metrics: Metrics) -> VerdictCache:
    """The verdict cache that the settings ask for; connects with the first call."""
    return RedisVerdictCache(settings, metrics) if settings.enabled else NoCache()
